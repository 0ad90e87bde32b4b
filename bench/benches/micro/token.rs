//! Who a client is: resume tickets made and checked, tokens checked.

use std::hint::black_box;
use std::sync::Arc;

use gateway::auth::{Authenticator, Identity, Keys, Rules, TokenRequest, sign_hs256};

use crate::path::Path;
use crate::sample;

const SECRET: &[u8] = b"a secret of the benches, 32 bytes and more";

pub(crate) fn authenticator() -> Arc<Authenticator> {
    let mut keys = Keys::new();
    keys.add_hs256_secret(SECRET).expect("a long secret");
    Arc::new(Authenticator::new(keys, Rules::default(), b"the secret of tickets"))
}

/// A token that outlives every path.
pub(crate) fn token(user: &str) -> String {
    let key = sample::user(user);
    sign_hs256(
        SECRET,
        &TokenRequest {
            user: key.user,
            tenant: key.tenant,
            admin: false,
            expires_s: 2 * sample::UNIX_MS / 1_000,
            audience: None,
            issuer: None,
        },
    )
}

/// The ticket of a session that `token` opened.
pub(crate) fn ticket(authenticator: &Authenticator, user: &str) -> String {
    let ticket = authenticator.issue_ticket(&identity(user), &sample::device(), sample::UNIX_MS, 86_400_000);
    ticket.as_str().to_owned()
}

fn identity(user: &str) -> Identity {
    let key = sample::user(user);
    Identity { tenant: key.tenant, user: key.user, admin: false, expires_ms: 2 * sample::UNIX_MS }
}

pub(crate) fn paths() -> Vec<Path> {
    vec![
        Path::new("token/hs256-verify", || {
            let (authenticator, token) = (authenticator(), token(sample::SENDER));
            move || {
                let identity = authenticator.verify(black_box(&token), sample::UNIX_MS);
                black_box(identity.expect("a good token"));
            }
        }),
        Path::new("token/ticket-verify", || {
            let authenticator = authenticator();
            let (ticket, device) = (ticket(&authenticator, sample::SENDER), sample::device());
            move || {
                let identity = authenticator.verify_ticket(black_box(&ticket), &device, sample::UNIX_MS);
                black_box(identity.expect("a good ticket"));
            }
        }),
        Path::new("token/ticket-issue", || {
            let (authenticator, device) = (authenticator(), sample::device());
            let identity = identity(sample::SENDER);
            move || {
                let ticket =
                    authenticator.issue_ticket(black_box(&identity), &device, sample::UNIX_MS, 86_400_000);
                black_box(ticket.as_str());
            }
        }),
    ]
}
