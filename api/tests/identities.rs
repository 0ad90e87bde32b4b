//! Promise: nobody asks in another's name or in another's tenant.

mod support;

use std::sync::{Arc, Mutex};

use protocol::envelope::{Actor, Authority, ToGateway, ToRouter};
use protocol::error::{ErrorCode, Refusal};
use support::{CALLS, KEY, Routers, World, caller_of, settings};

/// Who asked: tenant, user, authority.
type Asked = Arc<Mutex<Vec<(String, String, Authority)>>>;

/// Router shards that note in whose name they are asked, and refuse.
fn noting(asked: &Asked) -> Arc<Routers> {
    let asked = Arc::clone(asked);
    Arc::new(move |envelope| {
        if let Some(actor) = actor_of(&envelope).filter(|actor| !actor.key.tenant.as_str().is_empty()) {
            let (tenant, user) = (actor.key.tenant.to_string(), actor.key.user.to_string());
            asked.lock().unwrap().push((tenant, user, actor.authority));
        }
        let refusal = Refusal::new(ErrorCode::Conflict, "noted");
        let refused = |caller| ToGateway::Refused { caller, id: None, refusal };
        caller_of(&envelope).map(refused).into_iter().collect()
    })
}

fn actor_of(envelope: &ToRouter) -> Option<Actor> {
    match envelope {
        ToRouter::Append { actor, .. }
        | ToRouter::Signal { actor, .. }
        | ToRouter::History { actor, .. }
        | ToRouter::Create { actor, .. }
        | ToRouter::Show { actor, .. }
        | ToRouter::Change { actor, .. }
        | ToRouter::Remove { actor, .. }
        | ToRouter::Members { actor, .. } => Some(*actor),
        _ => None,
    }
}

#[test]
fn without_a_valid_credential_nothing_is_asked() {
    let asked = Asked::default();
    let world = World::start(settings(), noting(&asked));
    let basic = ("authorization", "Basic YWxpY2U6eA==".to_owned());
    let bad_key = ("x-api-key", "not-the-key".to_owned());
    let good_token = ("authorization", "Bearer alice".to_owned());
    let credentials: [Vec<(&str, String)>; 7] = [
        vec![],
        vec![("authorization", "Bearer bad".into())],
        vec![("authorization", "Bearer".into())],
        vec![("authorization", format!("bearer{KEY}"))],
        vec![basic],
        vec![bad_key.clone()],
        vec![bad_key, good_token],
    ];
    for (method, path, body) in CALLS {
        for headers in &credentials {
            let answer = world.call_with(method, path, headers, body);
            assert_eq!(answer.status, 401, "{method} {path} {headers:?}: {}", answer.text);
            assert_eq!(answer.json()["code"], "unauthorized");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
        let blocked = world.call(method, path, "blocked", body);
        assert_eq!(blocked.status, 403);
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn each_credential_asks_in_its_own_name_and_tenant() {
    let asked = Asked::default();
    let world = World::start(settings(), noting(&asked));
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let in_acme = || ("murmuring-tenant", "acme".to_owned());
    let key = || ("x-api-key", KEY.to_owned());
    let cases = [
        (vec![bearer("alice")], ("default", "alice", Authority::User)),
        (vec![bearer("alice@acme")], ("acme", "alice", Authority::User)),
        (vec![bearer("alice@acme"), in_acme()], ("acme", "alice", Authority::User)),
        (vec![bearer("root!")], ("default", "root", Authority::Server)),
        (vec![bearer(KEY)], ("default", "system", Authority::Server)),
        (vec![bearer(KEY), in_acme()], ("acme", "system", Authority::Server)),
        (vec![key()], ("default", "system", Authority::Server)),
        (vec![key(), in_acme()], ("acme", "system", Authority::Server)),
    ];
    for (headers, (tenant, user, authority)) in cases {
        for (method, path, body) in CALLS.iter().filter(|(_, path, _)| path.starts_with("/v1/conv")) {
            asked.lock().unwrap().clear();
            assert_eq!(world.call_with(method, path, &headers, body).status, 409);
            let expected = vec![(tenant.to_owned(), user.to_owned(), authority)];
            assert_eq!(*asked.lock().unwrap(), expected, "{method} {path} {headers:?}");
        }
    }
}

#[test]
fn a_token_opens_no_other_tenant_and_no_key_the_servers_own() {
    let asked = Asked::default();
    let world = World::start(settings(), noting(&asked));
    let in_tenant = |credential: &str, tenant: &str| {
        let headers =
            [("authorization", format!("Bearer {credential}")), ("murmuring-tenant", tenant.to_owned())];
        world.call_with("GET", "/v1/conversations/c", &headers, "").status
    };
    assert_eq!(in_tenant("alice", "acme"), 403);
    assert_eq!(in_tenant("root!", "acme"), 403);
    assert_eq!(in_tenant(KEY, ""), 400);
    assert_eq!(in_tenant(KEY, "no spaces"), 400);
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn only_a_server_sends_in_anothers_name() {
    let asked = Asked::default();
    let world = World::start(settings(), noting(&asked));
    let send = |credential: &str, sender: &str| {
        let body = format!(r#"{{"id":"1","body":"x","sender":{sender}}}"#);
        world.call("POST", "/v1/conversations/c/messages", credential, &body).status
    };
    assert_eq!(send("alice", r#""bob""#), 403);
    assert_eq!(send("alice", r#""system""#), 403);
    assert_eq!(send("alice", r#""no spaces""#), 400);
    assert!(asked.lock().unwrap().is_empty());
    let cases = [
        ("alice", r#""alice""#, ("alice", Authority::User)),
        ("alice", "null", ("alice", Authority::User)),
        (KEY, r#""bob""#, ("bob", Authority::Server)),
        (KEY, "null", ("system", Authority::Server)),
        ("root!", r#""bob""#, ("bob", Authority::Server)),
        ("root!", "null", ("root", Authority::Server)),
    ];
    for (credential, sender, (user, authority)) in cases {
        asked.lock().unwrap().clear();
        assert_eq!(send(credential, sender), 409);
        assert_eq!(*asked.lock().unwrap(), vec![("default".into(), user.into(), authority)]);
    }
}

#[test]
fn a_chat_list_is_its_users_own() {
    let world = World::start(settings(), noting(&Asked::default()));
    let list = |credential: &str, user: &str| {
        world.call("GET", &format!("/v1/users/{user}/conversations"), credential, "").status
    };
    assert_eq!(list("alice", "alice"), 409);
    assert_eq!(list("alice", "bob"), 403);
    assert_eq!(list(KEY, "bob"), 409);
    assert_eq!(list("root!", "bob"), 409);
}
