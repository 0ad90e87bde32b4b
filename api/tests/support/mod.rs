//! A server on a free port, with router shards that are one closure, and a client that nobody here wrote.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::metrics::Registry;
use api::{Claims, Handle, Port, Server, Settings};
use protocol::envelope::{ToGateway, ToRouter};
use protocol::error::{ErrorCode, Refusal};
use protocol::id::{Tenant, UserId};
use protocol::placement::{Epoch, NodeId, Table};
use serde_json::Value;
use tokio::sync::mpsc;

pub(crate) const KEY: &str = "key-of-the-tests";

/// What the router shards answer to an envelope: nothing, or envelopes to the API.
pub(crate) type Routers = dyn Fn(ToRouter) -> Vec<ToGateway> + Send + Sync;

pub(crate) struct World {
    pub(crate) handle: Handle,
    pub(crate) metrics: Arc<Registry>,
    agent: ureq::Agent,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

pub(crate) fn settings() -> Settings {
    let mut settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    settings.api_keys = vec![KEY.into()];
    settings.call_timeout = Duration::from_millis(300);
    settings.canary_timeout = Duration::from_millis(200);
    settings.shutdown_timeout = Duration::from_millis(500);
    settings
}

/// A token of the tests is `user`, `user@tenant` or `user!` (an admin); all else is refused.
fn authenticate(token: &str, now: u64) -> Result<Claims, Refusal> {
    assert!(now > 1_700_000_000_000, "milliseconds since the Unix epoch");
    let refusal = Refusal::new(ErrorCode::Unauthorized, "the token is bad");
    let (name, admin) = token.strip_suffix('!').map_or((token, false), |name| (name, true));
    let (user, tenant) = name.split_once('@').unwrap_or((name, "default"));
    if user == "bad" {
        return Err(refusal);
    }
    if user == "blocked" {
        return Err(Refusal::new(ErrorCode::Forbidden, "the user is blocked"));
    }
    let tenant = Tenant::parse(tenant).map_err(|_| refusal)?;
    Ok(Claims { tenant, user: UserId::parse(user).map_err(|_| refusal)?, admin })
}

impl World {
    pub(crate) fn start(settings: Settings, routers: Arc<Routers>) -> Self {
        let (replies, inbox) = mpsc::channel(1_024);
        let push = move |envelope| {
            for reply in routers(envelope) {
                replies.try_send(reply).expect("the inbox has room");
            }
            Ok(())
        };
        let metrics = Arc::new(Registry::default());
        let port = Port {
            push: Arc::new(push),
            table: Arc::new(|| (NodeId::ALONE, Arc::new(Table::alone(2, Epoch(1))))),
            name: String::new(),
            give_order: Arc::new(|_| None),
            inbox,
        };
        let handle =
            Server::start(settings, port, Arc::new(authenticate), Arc::clone(&metrics)).expect("starts");
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(10)))
            .build();
        Self { handle, metrics, agent: agent.into() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.local_addr()
    }

    pub(crate) fn call(&self, method: &str, path: &str, credential: &str, body: &str) -> Answer {
        let headers = if credential.is_empty() {
            Vec::new()
        } else {
            vec![("authorization", format!("Bearer {credential}"))]
        };
        self.call_with(method, path, &headers, body)
    }

    pub(crate) fn call_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> Answer {
        let uri = format!("http://{}{path}", self.address());
        let mut request = ureq::http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let result = self.agent.run(request.body(body.to_owned()).unwrap());
        let mut response = result.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = response.body_mut().read_to_string().unwrap();
        Answer { status: response.status().as_u16(), headers: response.headers().clone(), text }
    }
}

/// Router shards that refuse everything with one refusal.
pub(crate) fn refusing(refusal: Refusal) -> Arc<Routers> {
    Arc::new(move |envelope| {
        caller_of(&envelope)
            .map(|caller| ToGateway::Refused { caller, id: None, refusal })
            .into_iter()
            .collect()
    })
}

pub(crate) fn caller_of(envelope: &ToRouter) -> Option<protocol::envelope::Caller> {
    match envelope {
        ToRouter::Append { caller, .. }
        | ToRouter::Signal { caller, .. }
        | ToRouter::History { caller, .. }
        | ToRouter::Attach { caller, .. }
        | ToRouter::Create { caller, .. }
        | ToRouter::Show { caller, .. }
        | ToRouter::Change { caller, .. }
        | ToRouter::Remove { caller, .. }
        | ToRouter::Members { caller, .. }
        | ToRouter::PresenceOf { caller, .. }
        | ToRouter::Conversations { caller, .. } => Some(*caller),
        _ => None,
    }
}

/// Every call that needs a token: method, path, a good body.
pub(crate) const CALLS: &[(&str, &str, &str)] = &[
    ("POST", "/v1/conversations", r#"{"conversation":"c","kind":"group","members":["bob"]}"#),
    ("GET", "/v1/conversations/c", ""),
    ("PATCH", "/v1/conversations/c", r#"{"title":"T"}"#),
    ("DELETE", "/v1/conversations/c", ""),
    ("GET", "/v1/conversations/c/members", ""),
    ("POST", "/v1/conversations/c/members", r#"{"user":"carol"}"#),
    ("PATCH", "/v1/conversations/c/members/bob", r#"{"role":"moderator"}"#),
    ("DELETE", "/v1/conversations/c/members/bob", ""),
    ("GET", "/v1/conversations/c/messages", ""),
    ("POST", "/v1/conversations/c/messages", r#"{"id":"1","body":"hello"}"#),
    ("GET", "/v1/users/alice/conversations", ""),
    ("GET", "/v1/users/alice/presence", ""),
];
