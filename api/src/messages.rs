//! Messages: send one, read a page of the log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use protocol::envelope::{ToGateway, ToRouter};
use protocol::error::ErrorCode;
use protocol::event::{ContentV1, Draft, EventV1, InvalidEvent};
use protocol::frame::write_event_object;
use protocol::id::{ClientId, ConversationId, ConversationKey, UserId};
use protocol::limits::{KIND_BYTES_MAX, PAGE_EVENTS_DEFAULT};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::fields::{Body, Fields, missing};
use crate::identity::Identity;
use crate::query::{ConversationInPath, Parameters};

/// The device that an event names when it came over HTTP.
const DEVICE: &str = "api";

/// `POST /v1/conversations/{conversation}/messages`
pub(crate) async fn send(
    identity: Identity,
    State(context): State<Arc<Context>>,
    ConversationInPath(conversation): ConversationInPath,
    body: Body,
) -> Result<Json<Value>, Failure> {
    let fields = body.fields()?;
    let actor = identity.actor_as(fields.id("sender", |text| UserId::parse(text))?)?;
    let id = fields.id("id", |text| ClientId::parse(text))?.ok_or_else(|| missing("id"))?;
    let draft = draft(&context, &fields, conversation, actor.key.user, id)?;
    let ephemeral = fields.flag("ephemeral")?;
    if identity.plain_user().is_some() {
        context.admit_send(actor.key)?;
    }
    let conversation = ConversationKey { tenant: identity.tenant(), conversation };
    let answer = context
        .calls
        .ask(|caller| {
            if ephemeral {
                ToRouter::Signal { caller, actor, conversation, draft }
            } else {
                ToRouter::Append { caller, actor, conversation, draft, lamport: 0 }
            }
        })
        .await?;
    ack(&answer)
}

/// `GET /v1/conversations/{conversation}/messages`
pub(crate) async fn page(
    identity: Identity,
    State(context): State<Arc<Context>>,
    ConversationInPath(conversation): ConversationInPath,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let range = parameters.range()?;
    let limit = parameters.limit(PAGE_EVENTS_DEFAULT, context.settings.limits.page_events)?;
    let conversation = ConversationKey { tenant: identity.tenant(), conversation };
    let actor = identity.actor();
    let answer =
        context.calls.ask(|caller| ToRouter::History { caller, actor, conversation, range, limit }).await?;
    let ToGateway::Page { conversation, events, head, more, trimmed, .. } = answer else {
        return Err(Failure::unexpected());
    };
    let mut body = Vec::new();
    body.extend_from_slice(br#"{"op":"page","events":["#);
    for (place, event) in events.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        write_event_object(event, &mut body);
    }
    let trimmed = trimmed.map_or(String::new(), |trimmed| format!(r#","trimmed":{trimmed}"#));
    let conversation = conversation.conversation; // An id needs no escapes.
    let rest = format!(r#"],"conversation":"{conversation}","head":{head},"more":{more}{trimmed}}}"#);
    body.extend_from_slice(rest.as_bytes());
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The `ack`, as over the socket.
fn ack(answer: &ToGateway) -> Result<Json<Value>, Failure> {
    let (conversation, id, time, seq, duplicate) = match answer {
        ToGateway::Appended { conversation, id, seq, time, duplicate, .. } => {
            (conversation, id, time, Some(seq), *duplicate)
        }
        ToGateway::Signalled { conversation, id, time, .. } => (conversation, id, time, None, false),
        _ => return Err(Failure::unexpected()),
    };
    let mut ack = json!({
        "op": "ack",
        "id": id.as_str(),
        "conversation": conversation.conversation.as_str(),
        "time": time,
        "duplicate": duplicate,
    });
    if let Some(seq) = seq {
        ack["seq"] = (*seq).into();
    }
    Ok(Json(ack))
}

fn draft(
    context: &Context,
    fields: &Fields<'_>,
    conversation: ConversationId,
    sender: UserId,
    id: ClientId,
) -> Result<Draft, Failure> {
    let body = fields.text("body")?.ok_or_else(|| missing("body"))?;
    let meta = fields.object("meta")?;
    let kind = fields.text("kind")?;
    let limits = &context.settings.limits;
    within("body", body.len(), limits.body_bytes)?;
    within("meta", meta.map_or(0, str::len), limits.meta_bytes)?;
    let kind = kind.as_deref().unwrap_or("text");
    if kind.is_empty() || kind.len() > KIND_BYTES_MAX {
        return Err(Failure::bad_request(format!("`kind` has 1 to {KIND_BYTES_MAX} bytes")));
    }
    let content = ContentV1::Message { kind, body: &body, meta, reply_to: fields.seq("reply_to")? };
    let event = EventV1 {
        seq: 0,
        time: 0,
        lamport: 0,
        conversation: conversation.as_str(),
        sender: sender.as_str(),
        device: DEVICE,
        id: id.as_str(),
        content,
    };
    Draft::encode(&event).map_err(|invalid| match invalid {
        InvalidEvent::TooLarge => Failure::new(ErrorCode::TooLarge, "the message is too large as a whole"),
        InvalidEvent::Version | InvalidEvent::Archive => Failure::unexpected(),
    })
}

fn within(name: &str, bytes: usize, bytes_max: u32) -> Result<(), Failure> {
    if u64::try_from(bytes).is_ok_and(|bytes| bytes <= u64::from(bytes_max)) {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::TooLarge, format!("`{name}` has at most {bytes_max} bytes")))
}
