//! Calls to the HTTP API, as an operator: what the commands that manage a server have in common.

use std::time::Duration;

use protocol::id::{Tenant, UserId};
use serde_json::Value;

use super::Failure;
use super::token::{self, User};
use crate::config::Config;
use crate::serve::reachable;

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Life of the token that is signed for one call.
const TOKEN_TTL: Duration = Duration::from_secs(60);
/// Whom an operator's token names.
const OPERATOR: &str = "operator";

/// What the API answered.
pub(super) struct Answer {
    /// Its status.
    pub(super) status: u16,
    /// Its JSON; null when it was none.
    pub(super) body: Value,
}

impl Answer {
    /// The refusal that it is, in words.
    pub(super) fn refusal(&self) -> String {
        let word = |name: &str| self.body[name].as_str().unwrap_or("no reason given").to_owned();
        format!("refused with status {}: {} ({})", self.status, word("message"), word("code"))
    }
}

/// Asks for something.
pub(super) fn get(config: &Config, tenant: &Tenant, path: &str) -> Result<Answer, Failure> {
    call(config, tenant, path, |url, token, tenant| {
        agent().get(url).header("Authorization", token).header("Murmuring-Tenant", tenant).call()
    })
}

/// Asks for something to be done.
pub(super) fn post(config: &Config, tenant: &Tenant, path: &str, body: &Value) -> Result<Answer, Failure> {
    call(config, tenant, path, |url, token, tenant| {
        let request = agent().post(url).header("Authorization", token).header("Murmuring-Tenant", tenant);
        request.header("Content-Type", "application/json").send(body.to_string())
    })
}

fn agent() -> ureq::Agent {
    let settings = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
    settings.build().into()
}

fn call(
    config: &Config,
    tenant: &Tenant,
    path: &str,
    send: impl FnOnce(&str, &str, &str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Answer, Failure> {
    let url = format!("http://{}{path}", reachable(config.listen.api));
    let token = format!("Bearer {}", authorization(config, tenant)?);
    let mut answer = send(&url, &token, tenant.as_str()).map_err(|error| unreachable(&url, &error))?;
    let text = answer.body_mut().read_to_string().map_err(|error| unreachable(&url, &error))?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Answer { status: answer.status().as_u16(), body })
}

fn unreachable(url: &str, error: &ureq::Error) -> Failure {
    let why = match error {
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    };
    Failure::failed(format!("{url}: {why}; does `murmuring serve` run there?"))
}

/// An API key where there is one, an operator's token otherwise.
fn authorization(config: &Config, tenant: &Tenant) -> Result<String, Failure> {
    if let Some(key) = config.auth.api_keys.first() {
        return Ok(key.reveal().to_owned());
    }
    let user = UserId::parse(OPERATOR).expect("a valid id");
    Ok(token::sign(config, &User { user, tenant: *tenant }, TOKEN_TTL, true)?)
}
