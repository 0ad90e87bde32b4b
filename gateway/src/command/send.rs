//! `send`: one message from a terminal, acknowledged when it is durable.

use std::time::Duration;

use clap::Args;
use protocol::id::ConversationId;
use serde_json::{Value, json};

use super::conversation::conversation_id;
use super::socket::{Socket, hello};
use super::token::{self, User};
use super::{Failure, print};
use crate::config::Config;
use crate::serve::reachable;

pub(super) const HELP: &str = "\
Prints the message's place once it is stored. The user must be a member of the conversation.

Example:
  murmuring send --user alice general 'hello, everybody'";

/// Life of the token that is signed for one message.
const TOKEN_TTL: Duration = Duration::from_secs(60);
/// How long the server may take for each answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Send a message.
#[derive(Args, Debug)]
pub(super) struct Send {
    #[command(flatten)]
    user: User,
    /// Use this token in place of a signed one
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Id of the conversation
    #[arg(value_name = "CONVERSATION", value_parser = conversation_id)]
    conversation: ConversationId,
    /// The message
    #[arg(value_name = "TEXT")]
    text: String,
}

impl Send {
    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => token::sign(config, &self.user, TOKEN_TTL, false)?,
        };
        let mut socket = Socket::connect(reachable(config.listen.client), &token).map_err(Failure::failed)?;
        let answer = self.exchange(&mut socket);
        socket.close();
        let answer = answer?;
        match (answer["op"].as_str(), answer["seq"].as_u64()) {
            (Some("ack"), Some(seq)) => print(&format!("{} #{seq}\n", self.conversation)),
            _ => Err(Failure::failed(refusal(&answer))),
        }
    }

    fn exchange(&self, socket: &mut Socket) -> Result<Value, Failure> {
        let unique = unique().map_err(Failure::failed)?;
        socket.send(&hello(&format!("send-{unique}"), None, &[])).map_err(Failure::failed)?;
        let greeting = socket.receive_until(PATIENCE, |frame| is(frame, &["welcome", "error"]), drop);
        let greeting = greeting.map_err(Failure::failed)?;
        if is(&greeting, &["error"]) {
            return Ok(greeting);
        }
        let message = json!({
            "op": "send", "id": unique, "conversation": self.conversation.as_str(), "body": self.text,
        });
        socket.send(&message).map_err(Failure::failed)?;
        let ours = |frame: &Value| is(frame, &["ack", "error"]) && frame["id"] == unique.as_str();
        socket.receive_until(PATIENCE, ours, drop).map_err(Failure::failed)
    }
}

pub(super) fn is(frame: &Value, operations: &[&str]) -> bool {
    frame["op"].as_str().is_some_and(|op| operations.contains(&op))
}

/// 128 random bits as text: an id that no one else has.
pub(super) fn unique() -> std::io::Result<String> {
    let bytes = ring::random::bytes::<16>()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What an `error` frame says, for a person.
pub(super) fn refusal(frame: &Value) -> String {
    let word = |name: &str| frame[name].as_str().unwrap_or("no reason given").to_owned();
    match frame["retry_after_ms"].as_u64() {
        Some(wait) => format!("{} ({}); try again in {wait} ms", word("message"), word("code")),
        None => format!("{} ({})", word("message"), word("code")),
    }
}
