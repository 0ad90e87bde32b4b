//! `conversation create`: through the HTTP API, as an operator.

use clap::{Args, Subcommand};
use protocol::id::{ConversationId, InvalidId, Tenant, UserId};
use serde_json::json;

use super::token::{tenant, user_id};
use super::{Failure, http, print};
use crate::config::Config;

const HELP: &str = "\
Examples:
  murmuring conversation create general --members alice,bob
  murmuring conversation create news --kind public --title 'What is new' --members editor";

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
        let answer = http::post(config, &self.tenant, "/v1/conversations", &request)?;
        let name = self.conversation;
        match answer.status {
            201 => print(&format!("{name} is created\n")),
            200 => print(&format!("{name} was there already; its members are as they were\n")),
            _ => Err(Failure::failed(answer.refusal())),
        }
    }
}
