//! Members of a conversation and their roles.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::envelope::{Actor, Change, Member, ToGateway, ToRouter};
use protocol::event::Role;
use protocol::id::{ClientId, ConversationKey, UserId};
use protocol::limits::PAGE_EVENTS_MAX;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::fields::{Body, Fields, missing, parse_id};
use crate::identity::Identity;
use crate::query::{ConversationInPath, Parameters, UserInPath};
use crate::random;

/// Most members added by one request: each is an event of its own.
pub(crate) const ADD_MEMBERS_MAX: usize = 200;
/// Additions of one request that are under way together. The owner takes what waits for it in one commit, so they cost one
/// sync and not one each; more of them would take the places of other requests.
const ADDITIONS_AT_ONCE: usize = 32;

/// A change that was stored, as the event that says so.
pub(crate) struct Changed {
    seq: u64,
    time: u64,
    duplicate: bool,
}

/// Asks the owner for a change. The body's `id` makes a retry harmless; without one it gets an id of its own.
pub(crate) async fn change(
    context: &Context,
    identity: &Identity,
    conversation: ConversationKey,
    fields: &Fields<'_>,
    change: Change,
) -> Result<Changed, Failure> {
    let id = fields.id("id", |text| ClientId::parse(text))?;
    change_as(context, identity.actor(), conversation, id, change).await
}

async fn change_as(
    context: &Context,
    actor: Actor,
    conversation: ConversationKey,
    id: Option<ClientId>,
    change: Change,
) -> Result<Changed, Failure> {
    let id = id.map_or_else(random::client_id, Ok)?;
    let answer = context
        .calls
        .ask(|caller| ToRouter::Change { caller, actor, conversation, id, change, lamport: 0 })
        .await?;
    match answer {
        ToGateway::Appended { seq, time, duplicate, .. } => Ok(Changed { seq, time, duplicate }),
        _ => Err(Failure::unexpected()),
    }
}

fn member_json(member: Member) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("user".into(), member.user.as_str().into());
    fields.insert("role".into(), member.role.name().into());
    fields
}

/// What became of a member, and the event that says so; no `seq` when nothing had to change.
fn changed_json(mut fields: Map<String, Value>, changed: &Changed) -> Value {
    if changed.seq > 0 {
        fields.insert("seq".into(), changed.seq.into());
        fields.insert("time".into(), changed.time.into());
    }
    fields.insert("duplicate".into(), changed.duplicate.into());
    Value::Object(fields)
}

/// `GET /v1/conversations/{conversation}/members`
pub(crate) async fn list(
    identity: Identity,
    State(context): State<Arc<Context>>,
    ConversationInPath(conversation): ConversationInPath,
    parameters: Parameters,
) -> Result<Json<Value>, Failure> {
    let conversation = ConversationKey { tenant: identity.tenant(), conversation };
    let after = parameters.text("after").map(|text| parse_id("after", text, |text| UserId::parse(text)));
    let (after, limit) = (after.transpose()?, parameters.limit(PAGE_EVENTS_MAX, PAGE_EVENTS_MAX)?);
    let actor = identity.actor();
    let answer =
        context.calls.ask(|caller| ToRouter::Members { caller, actor, conversation, after, limit }).await?;
    let ToGateway::Members { members, more, .. } = answer else { return Err(Failure::unexpected()) };
    let mut body = json!({ "more": more });
    if let Some(last) = members.last().filter(|_| more) {
        body["next"] = last.user.as_str().into();
    }
    body["members"] = members.iter().map(|member| Value::Object(member_json(*member))).collect();
    Ok(Json(body))
}

/// `POST /v1/conversations/{conversation}/members`
pub(crate) async fn add(
    identity: Identity,
    State(context): State<Arc<Context>>,
    ConversationInPath(conversation): ConversationInPath,
    body: Body,
) -> Result<Json<Value>, Failure> {
    let fields = body.fields_if_any()?;
    let key = ConversationKey { tenant: identity.tenant(), conversation };
    if let Some(members) = member_list(&fields, ADD_MEMBERS_MAX)? {
        return add_several(&context, identity.actor(), key, members).await;
    }
    // Without a name a user means itself: it joins.
    let named = fields.id("user", |text| UserId::parse(text))?;
    let user = named.or(identity.plain_user()).ok_or_else(|| missing("user"))?;
    let role = role(&fields)?.unwrap_or(Role::Member);
    let changed = change(&context, &identity, key, &fields, Change::Join { user, role }).await?;
    Ok(Json(changed_json(member_json(Member { user, role }), &changed)))
}

/// Several changes at a time, in the order of their users; a refusal ends it, and the same request again adds who is missing.
async fn add_several(
    context: &Arc<Context>,
    actor: Actor,
    conversation: ConversationKey,
    members: BTreeMap<UserId, Role>,
) -> Result<Json<Value>, Failure> {
    let mut added = Vec::with_capacity(members.len());
    let mut members = members.into_iter().peekable();
    while members.peek().is_some() {
        let begin = |(user, role)| {
            let (context, change) = (Arc::clone(context), Change::Join { user, role });
            let join = async move { change_as(&context, actor, conversation, None, change).await };
            (Member { user, role }, tokio::spawn(join))
        };
        let joins: Vec<_> = members.by_ref().take(ADDITIONS_AT_ONCE).map(begin).collect();
        for (member, join) in joins {
            let changed = join.await.map_err(|_| Failure::unexpected())??;
            added.push(changed_json(member_json(member), &changed));
        }
    }
    Ok(Json(json!({ "members": added })))
}

/// `PATCH /v1/conversations/{conversation}/members/{user}`
pub(crate) async fn set_role(
    identity: Identity,
    State(context): State<Arc<Context>>,
    ConversationInPath(conversation): ConversationInPath,
    UserInPath(user): UserInPath,
    body: Body,
) -> Result<Json<Value>, Failure> {
    let fields = body.fields()?;
    let role = role(&fields)?.ok_or_else(|| missing("role"))?;
    let key = ConversationKey { tenant: identity.tenant(), conversation };
    let changed = change(&context, &identity, key, &fields, Change::Role { user, role }).await?;
    Ok(Json(changed_json(member_json(Member { user, role }), &changed)))
}

/// `DELETE /v1/conversations/{conversation}/members/{user}`
pub(crate) async fn remove(
    identity: Identity,
    State(context): State<Arc<Context>>,
    ConversationInPath(conversation): ConversationInPath,
    UserInPath(user): UserInPath,
) -> Result<Json<Value>, Failure> {
    let key = ConversationKey { tenant: identity.tenant(), conversation };
    let changed = change_as(&context, identity.actor(), key, None, Change::Leave { user }).await?;
    let mut fields = Map::new();
    fields.insert("user".into(), user.as_str().into());
    Ok(Json(changed_json(fields, &changed)))
}

fn role(fields: &Fields<'_>) -> Result<Option<Role>, Failure> {
    let Some(name) = fields.text("role")? else { return Ok(None) };
    let role = Role::parse(&name);
    role.map(Some)
        .ok_or_else(|| Failure::bad_request("`role` must be `owner`, `moderator`, `member` or `reader`"))
}

/// `members`: a list of user ids and of `{user, role?}`. Who is named twice gets the larger role.
pub(crate) fn member_list(
    fields: &Fields<'_>,
    members_max: usize,
) -> Result<Option<BTreeMap<UserId, Role>>, Failure> {
    let Some(items) = fields.list("members")? else { return Ok(None) };
    if items.len() > members_max {
        return Err(Failure::bad_request(format!("`members` names at most {members_max} users")));
    }
    let mut members = BTreeMap::new();
    for item in items {
        let Member { user, role } = member_item(item)?;
        let entry = members.entry(user).or_insert(role);
        *entry = role.max(*entry);
    }
    Ok(Some(members))
}

fn member_item(item: &RawValue) -> Result<Member, Failure> {
    if let Ok(text) = serde_json::from_str::<String>(item.get()) {
        let user = parse_id("members", &text, |text| UserId::parse(text))?;
        return Ok(Member { user, role: Role::Member });
    }
    let fields = Fields::nested(item)
        .ok_or_else(|| Failure::bad_request("`members` must hold user ids or objects `{user, role?}`"))?;
    let user = fields.id("user", |text| UserId::parse(text))?.ok_or_else(|| missing("user"))?;
    Ok(Member { user, role: role(&fields)?.unwrap_or(Role::Member) })
}
