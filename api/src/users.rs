//! What is a user's own: the chat list, the presence.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::envelope::{ToGateway, ToRouter};
use protocol::error::ErrorCode;
use protocol::frame::ChatListEntry;
use protocol::id::{ConversationId, UserKey};
use protocol::limits::PAGE_EVENTS_MAX;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::identity::Identity;
use crate::query::{Parameters, UserInPath};

/// `GET /v1/users/{user}/conversations`
pub(crate) async fn conversations(
    identity: Identity,
    State(context): State<Arc<Context>>,
    UserInPath(user): UserInPath,
    parameters: Parameters,
) -> Result<Json<Value>, Failure> {
    if !identity.may_see(user) {
        return Err(Failure::new(ErrorCode::Forbidden, "a chat list is its user's own"));
    }
    let after = parameters.text("after").map(position).transpose()?;
    let limit = parameters.limit(PAGE_EVENTS_MAX, PAGE_EVENTS_MAX)?;
    let user = UserKey { tenant: identity.tenant(), user };
    let answer = context.calls.ask(|caller| ToRouter::Conversations { caller, user, after, limit }).await?;
    let ToGateway::Conversations { conversations, more, .. } = answer else {
        return Err(Failure::unexpected());
    };
    let mut body = json!({ "user": user.user.as_str(), "more": more });
    if let Some(last) = conversations.last().filter(|_| more) {
        body["next"] = format!("{}.{}", last.lamport, last.conversation).into();
    }
    body["conversations"] = conversations.iter().map(entry_json).collect();
    Ok(Json(body))
}

fn entry_json(entry: &ChatListEntry) -> Value {
    json!({
        "conversation": entry.conversation.as_str(),
        "head": entry.head,
        "read": entry.read,
        "unread": entry.head.saturating_sub(entry.read),
        "role": entry.role.name(),
        "lamport": entry.lamport,
    })
}

/// Where a page of the chat list ended: `next` of its answer, which is opaque to clients.
fn position(text: &str) -> Result<(u64, ConversationId), Failure> {
    let parsed = text
        .split_once('.')
        .and_then(|(lamport, id)| Some((lamport.parse().ok()?, ConversationId::parse(id).ok()?)));
    parsed.ok_or_else(|| Failure::bad_request("`after` must be `next` of an earlier answer"))
}

/// `GET /v1/users/{user}/presence`
pub(crate) async fn presence(
    identity: Identity,
    State(context): State<Arc<Context>>,
    UserInPath(user): UserInPath,
) -> Result<Json<Value>, Failure> {
    let user = UserKey { tenant: identity.tenant(), user };
    let answer = context.calls.ask(|caller| ToRouter::PresenceOf { caller, user }).await?;
    let ToGateway::PresenceOf { user, online, last_seen, .. } = answer else {
        return Err(Failure::unexpected());
    };
    let mut body = json!({ "user": user.user.as_str(), "online": online });
    if let Some(last_seen) = last_seen {
        body["last_seen"] = last_seen.into();
    }
    Ok(Json(body))
}
