//! Tokens: taken when all of them is right at the time of asking, and refused for each thing that can be wrong.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway::auth::{AuthError, Authenticator, Keys, KeysError, Rules, TokenRequest, sign_hs256};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use protocol::id::{Tenant, UserId};
use serde_json::{Value, json};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW_S: u64 = 1_900_000_000;
const NOW_MS: u64 = NOW_S * 1_000;

fn with(keys: Keys, rules: Rules) -> Authenticator {
    Authenticator::new(keys, rules, b"ticket secret of this test")
}

fn hs256() -> Authenticator {
    let mut keys = Keys::new();
    keys.add_hs256_secret(SECRET).unwrap();
    with(keys, Rules::default())
}

fn signed(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

#[test]
fn claims_are_checked_one_by_one() {
    let good = json!({"sub": "alice", "exp": NOW_S + 60});
    let cases = [
        (json!({}), Ok("alice")),
        (json!({"nbf": NOW_S}), Ok("alice")),
        (json!({"nbf": NOW_S + 2}), Ok("alice")),
        (json!({"nbf": NOW_S + 3}), Err(AuthError::NotYet)),
        (json!({"nbf": "soon"}), Err(AuthError::Claim)),
        (json!({"exp": NOW_S}), Err(AuthError::Expired)),
        (json!({"exp": NOW_S as f64 + 0.5}), Ok("alice")),
        (json!({"exp": 0}), Err(AuthError::Expired)),
        (json!({"exp": -1}), Err(AuthError::Expired)),
        (json!({"exp": 1e300}), Ok("alice")),
        (json!({"exp": "tomorrow"}), Err(AuthError::NoExpiry)),
        (json!({"exp": null}), Err(AuthError::NoExpiry)),
        (json!({"sub": null}), Err(AuthError::Subject)),
        (json!({"sub": 7}), Err(AuthError::Subject)),
        (json!({"sub": ""}), Err(AuthError::Subject)),
        (json!({"sub": "two words"}), Err(AuthError::Subject)),
        (json!({"sub": "x".repeat(65)}), Err(AuthError::Subject)),
        (json!({"tenant": "acme"}), Ok("alice")),
        (json!({"tenant": ""}), Err(AuthError::Tenant)),
        (json!({"tenant": 1}), Err(AuthError::Tenant)),
        (json!({"admin": true}), Ok("alice")),
        (json!({"admin": "yes"}), Err(AuthError::Claim)),
        (json!({"aud": "anything", "iss": "anybody", "unknown": [1]}), Ok("alice")),
    ];
    for (change, expected) in cases {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let found = hs256().verify(&signed(&claims), NOW_MS);
        let found = found.as_ref().map(|identity| identity.user.as_str()).map_err(|error| *error);
        assert_eq!(found, expected, "{change}");
    }
}

#[test]
fn an_identity_is_what_the_claims_say() {
    let request = TokenRequest {
        user: UserId::parse("alice").unwrap(),
        tenant: Tenant::parse("acme").unwrap(),
        admin: true,
        expires_s: NOW_S + 9,
        audience: Some("chat".to_owned()),
        issuer: Some("us".to_owned()),
    };
    let mut keys = Keys::new();
    keys.add_hs256_secret(SECRET).unwrap();
    let rules = Rules { audience: Some("chat".to_owned()), issuer: Some("us".to_owned()) };
    let identity = with(keys, rules).verify(&sign_hs256(SECRET, &request), NOW_MS).unwrap();
    assert_eq!((identity.tenant, identity.user), (request.tenant, request.user));
    assert!(identity.admin && identity.expires_ms == (NOW_S + 9) * 1_000);
    let plain = hs256().verify(&signed(&json!({"sub": "a", "exp": NOW_S + 1})), NOW_MS).unwrap();
    assert!(!plain.admin && plain.tenant.as_str() == "default");
}

#[test]
fn audience_and_issuer_are_asked_for_when_configured() {
    let mut keys = Keys::new();
    keys.add_hs256_secret(SECRET).unwrap();
    let rules = Rules { audience: Some("chat".to_owned()), issuer: Some("us".to_owned()) };
    let authenticator = with(keys, rules);
    for (aud, iss, expected) in [
        (json!("chat"), json!("us"), Ok(())),
        (json!(["other", "chat"]), json!("us"), Ok(())),
        (json!("other"), json!("us"), Err(AuthError::Audience)),
        (json!([]), json!("us"), Err(AuthError::Audience)),
        (json!(null), json!("us"), Err(AuthError::Audience)),
        (json!("chat"), json!("them"), Err(AuthError::Issuer)),
        (json!("chat"), json!(null), Err(AuthError::Issuer)),
    ] {
        let token = signed(&json!({"sub": "a", "exp": NOW_S + 1, "aud": aud, "iss": iss}));
        assert_eq!(authenticator.verify(&token, NOW_MS).map(|_| ()), expected, "{aud} {iss}");
    }
}

#[test]
fn no_token_chooses_how_it_is_checked() {
    let claims = URL_SAFE_NO_PAD.encode(json!({"sub": "a", "exp": NOW_S + 1}).to_string());
    let with_header = |header: Value, signature: &str| {
        format!("{}.{claims}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()))
    };
    let authenticator = hs256();
    for (token, expected) in [
        (with_header(json!({"alg": "none"}), ""), AuthError::Algorithm),
        (with_header(json!({"alg": "None", "typ": "JWT"}), ""), AuthError::Algorithm),
        (with_header(json!({"alg": "HS256"}), ""), AuthError::Signature),
        (with_header(json!({"alg": "HS512"}), "AAAA"), AuthError::Algorithm),
        (with_header(json!({"alg": "RS256"}), "AAAA"), AuthError::Algorithm),
        (with_header(json!({"alg": "HS256", "crit": ["x"]}), "AAAA"), AuthError::Malformed),
        (with_header(json!({}), ""), AuthError::Malformed),
        ("nonsense".to_owned(), AuthError::Malformed),
        ("a.b.c".to_owned(), AuthError::Malformed),
        ("a.b.c.d".to_owned(), AuthError::Malformed),
        (String::new(), AuthError::Malformed),
        ("x".repeat(5_000), AuthError::Malformed),
    ] {
        assert_eq!(authenticator.verify(&token, NOW_MS), Err(expected), "{token:.60}");
    }
    // A public key used as an HMAC secret: the classical confusion.
    let public = include_str!("keys/rsa_public.pem");
    let mut keys = Keys::new();
    keys.add_public_pem(public).unwrap();
    let claims = json!({"sub": "a", "exp": NOW_S + 1});
    let forged =
        encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(public.as_bytes()));
    assert_eq!(with(keys, Rules::default()).verify(&forged.unwrap(), NOW_MS), Err(AuthError::Algorithm));
}

#[test]
fn another_secret_and_every_changed_byte_is_refused() {
    let authenticator = hs256();
    let claims = json!({"sub": "a", "exp": NOW_S + 1});
    let other = encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(b"other")).unwrap();
    assert_eq!(authenticator.verify(&other, NOW_MS), Err(AuthError::Signature));
    let token = signed(&claims);
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(authenticator.verify(&changed, NOW_MS).is_err(), "byte {at}");
    }
}

fn of_algorithm(algorithm: Algorithm, key: &EncodingKey, kid: Option<&str>) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, &json!({"sub": "a", "exp": NOW_S + 1}), key).unwrap()
}

#[test]
fn public_keys_of_each_sort_check_their_own_algorithm() {
    let rsa = EncodingKey::from_rsa_pem(include_bytes!("keys/rsa_private.pem")).unwrap();
    let ec = EncodingKey::from_ec_pem(include_bytes!("keys/ec_private.pem")).unwrap();
    let ed = EncodingKey::from_ed_pem(include_bytes!("keys/ed_private.pem")).unwrap();
    let tokens = [
        of_algorithm(Algorithm::RS256, &rsa, None),
        of_algorithm(Algorithm::ES256, &ec, None),
        of_algorithm(Algorithm::EdDSA, &ed, None),
    ];
    let publics = [
        include_str!("keys/rsa_public.pem"),
        include_str!("keys/ec_public.pem"),
        include_str!("keys/ed_public.pem"),
    ];
    for (own, public) in publics.iter().enumerate() {
        let mut keys = Keys::new();
        keys.add_public_pem(public).unwrap();
        let authenticator = with(keys, Rules::default());
        for (at, token) in tokens.iter().enumerate() {
            let expected = if at == own { Ok(()) } else { Err(AuthError::Algorithm) };
            assert_eq!(authenticator.verify(token, NOW_MS).map(|_| ()), expected, "{own} {at}");
        }
    }
    let mut keys = Keys::new();
    keys.add_public_pem(&publics.concat()).unwrap();
    assert_eq!(keys.len(), 3);
    let all = with(keys, Rules::default());
    assert!(tokens.iter().all(|token| all.verify(token, NOW_MS).is_ok()));
}

#[test]
fn a_jwks_gives_keys_by_kid_and_can_be_replaced() {
    let jwks = include_bytes!("keys/jwks.json");
    let ec = EncodingKey::from_ec_pem(include_bytes!("keys/ec_private.pem")).unwrap();
    let ed = EncodingKey::from_ed_pem(include_bytes!("keys/ed_private.pem")).unwrap();
    let mut keys = Keys::new();
    keys.add_jwks(jwks).unwrap();
    let authenticator = with(keys, Rules::default());
    let verify = |token: &str| authenticator.verify(token, NOW_MS).map(|_| ());
    assert_eq!(verify(&of_algorithm(Algorithm::ES256, &ec, Some("ec-1"))), Ok(()));
    assert_eq!(verify(&of_algorithm(Algorithm::ES256, &ec, None)), Ok(()));
    assert_eq!(verify(&of_algorithm(Algorithm::ES256, &ec, Some("ec-2"))), Err(AuthError::UnknownKey));
    assert_eq!(verify(&of_algorithm(Algorithm::EdDSA, &ed, Some("ed-1"))), Ok(()));
    let hmac = encode(
        &Header { kid: Some("oct-1".to_owned()), ..Header::new(Algorithm::HS256) },
        &json!({"sub": "a", "exp": NOW_S + 1}),
        &EncodingKey::from_secret(b"published"),
    );
    assert_eq!(verify(&hmac.unwrap()), Err(AuthError::Algorithm), "a published secret is none");
    authenticator.replace_keys(Keys::new());
    assert_eq!(verify(&of_algorithm(Algorithm::ES256, &ec, Some("ec-1"))), Err(AuthError::Algorithm));
}

#[test]
fn keys_that_can_not_be_used_say_why() {
    let mut keys = Keys::new();
    assert_eq!(keys.add_hs256_secret(b""), Err(KeysError::EmptySecret));
    assert_eq!(keys.add_public_pem(""), Err(KeysError::NoPublicKey));
    assert_eq!(keys.add_public_pem("no pem"), Err(KeysError::NoPublicKey));
    assert_eq!(keys.add_public_pem(include_str!("keys/rsa_private.pem")), Err(KeysError::PrivateKey));
    assert_eq!(keys.add_public_pem(include_str!("keys/p384_public.pem")), Err(KeysError::UnsupportedPem));
    let broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_eq!(keys.add_public_pem(broken), Err(KeysError::UnsupportedPem));
    assert!(matches!(keys.add_jwks(b"{"), Err(KeysError::Jwks(_))));
    assert_eq!(keys.add_jwks(br#"{"keys":[]}"#), Err(KeysError::NoUsableKey));
    assert!(keys.is_empty());
}
