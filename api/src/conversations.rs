//! Conversations: create, show, change, remove.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{Context as Digest, SHA256};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::envelope::{Change, Conversation, ConversationKind, Member, ToGateway, ToRouter};
use protocol::event::Role;
use protocol::id::{ConversationId, ConversationKey, UserId};
use protocol::limits::TITLE_BYTES_MAX;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::fields::{Body, Fields};
use crate::identity::Identity;
use crate::members::{change, member_list};
use crate::query::ConversationInPath;
use crate::random;

/// What the id of every direct conversation begins with; no other may.
const DIRECT_PREFIX: &str = "direct:";
/// Most members of one creation.
pub(crate) const CREATE_MEMBERS_MAX: usize = 10_000;
// The creation goes to its owner over a link, perhaps.
const _: () = assert!(CREATE_MEMBERS_MAX <= protocol::link::ENVELOPE_ITEMS_MAX);

/// A conversation as JSON.
fn conversation_json(conversation: &Conversation) -> Value {
    let mut fields = Map::new();
    fields.insert("conversation".into(), conversation.key.conversation.as_str().into());
    fields.insert("kind".into(), conversation.kind.name().into());
    if let Some(title) = &conversation.title {
        fields.insert("title".into(), (**title).into());
    }
    for (name, number) in [
        ("created", conversation.created),
        ("head", conversation.head),
        ("lamport", conversation.lamport),
        ("member_count", conversation.members),
    ] {
        fields.insert(name.into(), number.into());
    }
    Value::Object(fields)
}

/// `POST /v1/conversations`
pub(crate) async fn create(
    identity: Identity,
    State(context): State<Arc<Context>>,
    body: Body,
) -> Result<Response, Failure> {
    let wanted = Wanted::read(&identity, &body.fields()?)?;
    let key = ConversationKey { tenant: identity.tenant(), conversation: wanted.conversation };
    let answer = context
        .calls
        .ask(|caller| ToRouter::Create {
            caller,
            actor: identity.actor(),
            conversation: key,
            kind: wanted.kind,
            title: wanted.title,
            members: wanted.members,
        })
        .await?;
    let ToGateway::Created { conversation, created, .. } = answer else { return Err(Failure::unexpected()) };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(conversation_json(&conversation))).into_response())
}

/// `GET /v1/conversations/{conversation}`
pub(crate) async fn show(
    identity: Identity,
    State(context): State<Arc<Context>>,
    ConversationInPath(conversation): ConversationInPath,
) -> Result<Json<Value>, Failure> {
    let key = ConversationKey { tenant: identity.tenant(), conversation };
    let actor = identity.actor();
    let answer = context.calls.ask(|caller| ToRouter::Show { caller, actor, conversation: key }).await?;
    match answer {
        ToGateway::Conversation { conversation, .. } => Ok(Json(conversation_json(&conversation))),
        _ => Err(Failure::unexpected()),
    }
}

/// `PATCH /v1/conversations/{conversation}`
pub(crate) async fn rename(
    identity: Identity,
    state: State<Arc<Context>>,
    path: ConversationInPath,
    body: Body,
) -> Result<Json<Value>, Failure> {
    let fields = body.fields()?;
    if !fields.names("title") {
        return Err(Failure::bad_request("`title` is missing; `null` takes it away"));
    }
    let title = title(&fields)?;
    let key = ConversationKey { tenant: identity.tenant(), conversation: path.0 };
    change(&state, &identity, key, &fields, Change::Title { title }).await?;
    show(identity, state, path).await
}

/// `DELETE /v1/conversations/{conversation}`
pub(crate) async fn remove(
    identity: Identity,
    State(context): State<Arc<Context>>,
    ConversationInPath(conversation): ConversationInPath,
) -> Result<Json<Value>, Failure> {
    let key = ConversationKey { tenant: identity.tenant(), conversation };
    let actor = identity.actor();
    let answer = context.calls.ask(|caller| ToRouter::Remove { caller, actor, conversation: key }).await?;
    match answer {
        ToGateway::Removed { .. } => Ok(Json(json!({}))),
        _ => Err(Failure::unexpected()),
    }
}

/// What a creation asks for, complete.
struct Wanted {
    conversation: ConversationId,
    kind: ConversationKind,
    title: Option<Box<str>>,
    members: Box<[Member]>,
}

impl Wanted {
    fn read(identity: &Identity, fields: &Fields<'_>) -> Result<Self, Failure> {
        let kind = kind(fields)?;
        let title = title(fields)?;
        let named = fields.id("conversation", |text| ConversationId::parse(text))?;
        let listed = member_list(fields, CREATE_MEMBERS_MAX)?.unwrap_or_default();
        let (conversation, members) = match kind {
            ConversationKind::Direct => direct(identity, named, listed)?,
            ConversationKind::Group | ConversationKind::Public => several(identity, named, listed)?,
        };
        Ok(Self { conversation, kind, title, members })
    }
}

fn kind(fields: &Fields<'_>) -> Result<ConversationKind, Failure> {
    let Some(name) = fields.text("kind")? else { return Ok(ConversationKind::Group) };
    ConversationKind::parse(&name)
        .ok_or_else(|| Failure::bad_request("`kind` must be `direct`, `group` or `public`"))
}

fn title(fields: &Fields<'_>) -> Result<Option<Box<str>>, Failure> {
    match fields.text("title")? {
        Some(title) if title.len() > TITLE_BYTES_MAX => {
            Err(Failure::bad_request(format!("`title` has at most {TITLE_BYTES_MAX} bytes")))
        }
        title => Ok(title.map(|title| title.into())),
    }
}

/// A group or a public conversation: the user who creates it becomes its owner.
fn several(
    identity: &Identity,
    named: Option<ConversationId>,
    mut members: BTreeMap<UserId, Role>,
) -> Result<(ConversationId, Box<[Member]>), Failure> {
    let conversation = match named {
        Some(named) if named.as_str().starts_with(DIRECT_PREFIX) => {
            return Err(Failure::bad_request(
                "`conversation`: ids that begin with `direct:` are the server's",
            ));
        }
        Some(named) => named,
        None => random::conversation_id()?,
    };
    if let Some(creator) = identity.plain_user() {
        members.insert(creator, Role::Owner);
    }
    Ok((conversation, members.into_iter().map(|(user, role)| Member { user, role }).collect()))
}

/// A direct conversation: two users, the creator one of them, each a plain member, and an id made from both.
fn direct(
    identity: &Identity,
    named: Option<ConversationId>,
    mut listed: BTreeMap<UserId, Role>,
) -> Result<(ConversationId, Box<[Member]>), Failure> {
    if let Some(creator) = identity.plain_user() {
        listed.insert(creator, Role::Member);
    }
    let users: Vec<UserId> = listed.into_keys().collect();
    let [first, second] = users[..] else {
        return Err(Failure::bad_request("`members`: a direct conversation has exactly two users"));
    };
    let conversation = direct_id(first, second);
    if named.is_some_and(|named| named != conversation) {
        let message =
            "`conversation`: the id of a direct conversation is made from its two users; leave it out";
        return Err(Failure::bad_request(message));
    }
    let members = [first, second].map(|user| Member { user, role: Role::Member });
    Ok((conversation, Box::new(members)))
}

/// The id of the direct conversation of two users, whichever comes first: `direct:` and 160 bits of SHA-256 over both
/// ids, ascending, each behind one byte that holds its length. The tenant is no part of it: ids live inside of one.
fn direct_id(one: UserId, other: UserId) -> ConversationId {
    let mut digest = Digest::new(&SHA256);
    for user in [one.min(other), one.max(other)] {
        let text = user.as_str();
        digest.update(&[u8::try_from(text.len()).expect("an id has at most 64 bytes")]);
        digest.update(text.as_bytes());
    }
    let hash = digest.finish();
    let hex: String = hash.as_ref()[..20].iter().map(|byte| format!("{byte:02x}")).collect();
    ConversationId::parse(format!("{DIRECT_PREFIX}{hex}")).expect("a valid id")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    #[test]
    fn a_direct_id_is_the_same_for_both_and_another_for_any_other_two() {
        let id = direct_id(user("alice"), user("bob"));
        assert_eq!(id, direct_id(user("bob"), user("alice")));
        assert_ne!(id, direct_id(user("alic"), user("ebob")));
        // Clients may keep it, and stores do: it can never change.
        assert_eq!(id.as_str(), "direct:65531a8eefea7b93693a6f811dfcd7404066f701");
    }
}
