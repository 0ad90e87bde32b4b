//! `conversation create`: through the HTTP API, as an operator.

use std::time::Duration;

use clap::{Args, Subcommand};
use protocol::id::{ConversationId, InvalidId, Tenant, UserId};
use serde_json::{Value, json};

use super::token::{self, User, tenant, user_id};
use super::{Failure, print};
use crate::config::Config;
use crate::serve::reachable;

const HELP: &str = "\
Examples:
  murmuring conversation create general --members alice,bob
  murmuring conversation create news --kind public --title 'What is new' --members editor";

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Life of the token that is signed for one call.
const TOKEN_TTL: Duration = Duration::from_secs(60);
/// Whom an operator's token names.
const OPERATOR: &str = "operator";

/// Manage conversations through the HTTP API.
#[derive(Debug, Subcommand)]
pub(super) enum Conversation {
    /// Create a conversation; one that is there already stays as it is
    #[command(after_help = HELP)]
    Create(Create),
}

/// Create a conversation.
#[derive(Args, Debug)]
pub(super) struct Create {
    /// Id of the conversation
    #[arg(value_name = "CONVERSATION", value_parser = conversation_id)]
    conversation: ConversationId,
    /// User ids, separated by commas
    #[arg(long, value_name = "USERS", value_delimiter = ',', required = true, value_parser = user_id)]
    members: Vec<UserId>,
    /// group (members only) or public (anyone of the tenant may join and read)
    #[arg(long, value_name = "KIND", value_parser = ["group", "public"], default_value = "group")]
    kind: String,
    /// A title for people
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Tenant of the conversation
    #[arg(long, value_name = "TENANT", value_parser = tenant, default_value = "default")]
    tenant: Tenant,
}

pub(super) fn conversation_id(text: &str) -> Result<ConversationId, &'static str> {
    ConversationId::parse(text).map_err(InvalidId::message)
}

impl Conversation {
    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(config),
        }
    }
}

impl Create {
    fn run(&self, config: &Config) -> Result<(), Failure> {
        let members: Vec<&str> = self.members.iter().map(UserId::as_str).collect();
        let mut request =
            json!({ "conversation": self.conversation.as_str(), "kind": self.kind, "members": members });
        if let Some(title) = &self.title {
            request["title"] = json!(title);
        }
        let (status, answer) = post(config, &self.tenant, "/v1/conversations", &request)?;
        let name = self.conversation;
        match status {
            201 => print(&format!("{name} is created\n")),
            200 => print(&format!("{name} was there already; its members are as they were\n")),
            _ => Err(Failure::failed(refusal(status, &answer))),
        }
    }
}

/// One call to the HTTP API: the status and the answer's JSON.
fn post(config: &Config, tenant: &Tenant, path: &str, body: &Value) -> Result<(u16, Value), Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .build()
        .into();
    let url = format!("http://{}{path}", reachable(config.listen.api));
    let mut answer = agent
        .post(&url)
        .header("Authorization", format!("Bearer {}", authorization(config, tenant)?))
        .header("Murmuring-Tenant", tenant.as_str())
        .header("Content-Type", "application/json")
        .send(body.to_string())
        .map_err(|error| unreachable(&url, &error))?;
    let text = answer.body_mut().read_to_string().map_err(|error| unreachable(&url, &error))?;
    Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null)))
}

fn unreachable(url: &str, error: &ureq::Error) -> Failure {
    let why = match error {
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    };
    Failure::failed(format!("{url}: {why}; does `murmuring serve` run there?"))
}

/// An operator's token when there is a secret to sign it with, an API key otherwise.
fn authorization(config: &Config, tenant: &Tenant) -> Result<String, Failure> {
    let user = UserId::parse(OPERATOR).expect("a valid id");
    match (
        token::sign(config, &User { user, tenant: *tenant }, TOKEN_TTL, true),
        config.auth.api_keys.first(),
    ) {
        (Ok(token), _) => Ok(token),
        (Err(_), Some(key)) => Ok(key.reveal().to_owned()),
        (Err(error), None) => Err(error.into()),
    }
}

fn refusal(status: u16, answer: &Value) -> String {
    let word = |name: &str| answer[name].as_str().unwrap_or("no reason given").to_owned();
    format!("refused with status {status}: {} ({})", word("message"), word("code"))
}
