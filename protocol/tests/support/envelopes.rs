//! One of each envelope, with everything and with as little as it may have, and how they go over a link and come back.

use protocol::envelope::{
    Actor, AttachItem, AttachedItem, AttachedState, Authority, Caller, Change, Conversation,
    ConversationKind, GatewayId, Listed, Member, ToGateway, ToRouter,
};
use protocol::error::{CloseCode, ErrorCode, Refusal};
use protocol::event::{ContentV1, Draft, Event, Role};
use protocol::frame::{ChatListEntry, Range};
use protocol::id::{ConversationKey, Tenant, UserKey};
use protocol::limits::SEQ_MAX;
use protocol::link::{Body, Reader, Route, Sentences, write_to_gateway, write_to_router};

use super::samples::{self, client_id, conversation, device, user};

/// The gateway shard of every sample, on both of its ends.
pub(crate) const GATEWAY: GatewayId = GatewayId(3);
/// How the samples to router shards go.
pub(crate) const TO_ROUTER: Route = Route { from: GATEWAY.0 as u16, to: 0x0102 };
/// How the samples to gateway shards go.
pub(crate) const TO_GATEWAY: Route = Route { from: 0x0102, to: GATEWAY.0 as u16 };

pub(crate) const CALLER: Caller = Caller { gateway: GATEWAY, connection: 0x0001_0000_0007, reference: -5 };

pub(crate) fn user_key(text: &str) -> UserKey {
    UserKey { tenant: Tenant::default_tenant(), user: user(text) }
}

pub(crate) fn conversation_key() -> ConversationKey {
    ConversationKey { tenant: Tenant::default_tenant(), conversation: conversation("general") }
}

pub(crate) fn actor() -> Actor {
    Actor { key: user_key("alice"), authority: Authority::User }
}

/// A draft in the conversation of the samples.
pub(crate) fn draft(content: ContentV1<'_>) -> Draft {
    samples::event(0, content).into_draft()
}

/// A message of so many bytes in the conversation of the samples, and in the log.
pub(crate) fn message(seq: u64, body_bytes: usize) -> Event {
    let body = "m".repeat(body_bytes);
    samples::event(seq, ContentV1::Message { kind: "text", body: &body, meta: None, reply_to: None })
}

/// The frame of an envelope to a router shard.
pub(crate) fn router_frame(envelope: &ToRouter) -> Vec<u8> {
    let mut out = Vec::new();
    write_to_router(envelope, TO_ROUTER, &mut out).expect("it fits");
    out
}

/// The frame of an envelope to a gateway shard.
pub(crate) fn gateway_frame(envelope: &ToGateway) -> Vec<u8> {
    let mut out = Vec::new();
    write_to_gateway(envelope, TO_GATEWAY, &mut out).expect("it fits");
    out
}

/// One frame of each sample.
pub(crate) fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let to_router = to_router().into_iter().map(|(name, envelope)| (name, router_frame(&envelope)));
    to_router
        .chain(to_gateway().into_iter().map(|(name, envelope)| (name, gateway_frame(&envelope))))
        .collect()
}

/// What a body holds, in words: envelopes can't be compared otherwise.
pub(crate) fn words(body: Body<'_>, sentences: &mut Sentences) -> Result<String, protocol::link::Malformed> {
    match body {
        Body::ToRouter(bytes) => bytes.decode(GATEWAY).map(|envelope| format!("{envelope:?}")),
        Body::ToGateway(bytes) => bytes.decode(GATEWAY, sentences).map(|envelope| format!("{envelope:?}")),
        Body::Control { .. } => Ok(format!("{body:?}")),
    }
}

/// What the one frame that these bytes are holds.
pub(crate) fn read(bytes: &[u8], sentences: &mut Sentences) -> Result<String, protocol::link::Malformed> {
    let (mut input, mut assembly) = (bytes, Vec::new());
    let frame = Reader::new().read(&mut input, &mut assembly, usize::MAX)?.expect("a whole frame");
    let words = words(frame.body, sentences);
    assert!(input.is_empty());
    words
}

/// One of each envelope to a router shard.
pub(crate) fn to_router() -> Vec<(&'static str, ToRouter)> {
    let mut envelopes = of_conversations();
    envelopes.extend(of_users());
    envelopes
}

#[expect(clippy::too_many_lines, reason = "one entry an envelope, nothing else")]
fn of_conversations() -> Vec<(&'static str, ToRouter)> {
    let (caller, actor, at) = (CALLER, actor(), conversation_key());
    let server = Actor { authority: Authority::Server, ..actor };
    let full =
        ContentV1::Message { kind: "image", body: "héllo", meta: Some(r#"{"w":1}"#), reply_to: Some(3) };
    let history = |range| ToRouter::History { caller, actor, conversation: at, range, limit: 200 };
    let change = |change| ToRouter::Change {
        caller,
        actor: server,
        conversation: at,
        id: client_id("m-1"),
        change,
        lamport: 77,
    };
    let listed = Some(Listed { head: 9, lamport: 77, read: 7, role: Role::Moderator });
    let items = [
        AttachItem { conversation: conversation("general"), listed },
        AttachItem { conversation: conversation("tea"), listed: None },
    ];
    let members =
        [Member { user: user("alice"), role: Role::Owner }, Member { user: user("bob"), role: Role::Reader }];
    let mark =
        |received, read| ToRouter::Mark { actor, device: device("phone"), conversation: at, received, read };
    let create = |kind, title: Option<&str>, members: &[Member]| ToRouter::Create {
        caller,
        actor,
        conversation: at,
        kind,
        title: title.map(Box::from),
        members: members.into(),
    };
    let append = |draft, actor| ToRouter::Append { caller, actor, conversation: at, draft, lamport: 76 };
    vec![
        ("append", append(draft(samples::MESSAGE), actor)),
        ("append, full", append(draft(full), server)),
        (
            "append of the server",
            ToRouter::Append {
                caller: Caller { gateway: GATEWAY, connection: u64::MAX, reference: i64::MIN },
                actor: Actor {
                    key: UserKey { tenant: Tenant::SYSTEM, user: user("system") },
                    authority: Authority::Server,
                },
                conversation: ConversationKey { tenant: Tenant::SYSTEM, ..at },
                draft: draft(ContentV1::Delete { target: 7 }),
                lamport: u64::MAX,
            },
        ),
        ("signal", ToRouter::Signal { caller, actor, conversation: at, draft: draft(samples::MESSAGE) }),
        ("history", history(Range::Newest)),
        ("history, before", history(Range::Before(9))),
        ("history, after", history(Range::After(0))),
        ("history, around", history(Range::Around(SEQ_MAX))),
        ("history, since", history(Range::Since(1_763_800_000_000))),
        ("backlog asked for", ToRouter::Backlog { caller, conversation: at, after: 7, limit: 50 }),
        ("attach", ToRouter::Attach { caller, actor, items: items.into() }),
        ("attach, empty", ToRouter::Attach { caller, actor, items: [].into() }),
        ("detach", ToRouter::Detach { gateway: GATEWAY, conversation: at }),
        ("mark", mark(None, None)),
        ("mark, full", mark(Some(9), Some(SEQ_MAX))),
        ("typing of a member", ToRouter::Typing { actor, conversation: at, on: true }),
        ("create direct", create(ConversationKind::Direct, None, &members)),
        ("create group", create(ConversationKind::Group, Some("Tea & Kekse ☕"), &members)),
        ("create public", create(ConversationKind::Public, Some(""), &[])),
        ("show", ToRouter::Show { caller, actor, conversation: at }),
        ("change, join", change(Change::Join { user: user("bob"), role: Role::Member })),
        ("change, leave", change(Change::Leave { user: user("bob") })),
        ("change, role", change(Change::Role { user: user("bob"), role: Role::Owner })),
        ("change, title", change(Change::Title { title: Some("Tea".into()) })),
        ("change, no title", change(Change::Title { title: None })),
        ("remove", ToRouter::Remove { caller, actor, conversation: at }),
        ("members asked for", ToRouter::Members { caller, actor, conversation: at, after: None, limit: 1 }),
        (
            "members asked for, after",
            ToRouter::Members { caller, actor, conversation: at, after: Some(user("bob")), limit: u16::MAX },
        ),
    ]
}

fn of_users() -> Vec<(&'static str, ToRouter)> {
    let (caller, who) = (CALLER, user_key("alice"));
    let users = [user_key("bob"), UserKey { tenant: Tenant::SYSTEM, user: user("system") }];
    let conversations = |after| ToRouter::Conversations { caller, user: who, after, limit: 200 };
    let membership = |joined, after| ToRouter::Membership {
        user: who,
        conversation: conversation("general"),
        joined,
        after,
    };
    vec![
        ("session open", ToRouter::SessionOpen { caller, user: who, device: device("phone"), again: false }),
        (
            "session open again",
            ToRouter::SessionOpen { caller, user: who, device: device("phone"), again: true },
        ),
        ("session heard", ToRouter::SessionHeard { caller, user: who, heard: true }),
        ("session close", ToRouter::SessionClose { caller, user: who, normal: true }),
        ("watch", ToRouter::Watch { gateway: GATEWAY, users: users.into() }),
        ("unwatch", ToRouter::Unwatch { gateway: GATEWAY, users: users.into() }),
        ("presence asked for", ToRouter::PresenceOf { caller, user: who }),
        ("conversations asked for", conversations(None)),
        ("conversations asked for, after", conversations(Some((u64::MAX, conversation("tea"))))),
        ("membership, joined", membership(true, 7)),
        ("membership, left", membership(false, SEQ_MAX)),
    ]
}

/// One of each envelope to a gateway shard.
pub(crate) fn to_gateway() -> Vec<(&'static str, ToGateway)> {
    let mut envelopes = answers();
    envelopes.extend(news());
    envelopes
}

#[expect(clippy::too_many_lines, reason = "one entry an envelope, nothing else")]
fn answers() -> Vec<(&'static str, ToGateway)> {
    let (caller, at, time, id) = (CALLER, conversation_key(), 1_763_800_000_000, client_id("m-1"));
    let entry =
        |name, role| ChatListEntry { conversation: conversation(name), head: 9, read: 7, role, lamport: 77 };
    let entries = [entry("general", Role::Owner), entry("tea", Role::Reader)];
    let state = Some(AttachedState { head: 9, read: 7, role: Role::Member });
    let items = [
        AttachedItem { conversation: conversation("general"), state },
        AttachedItem { conversation: conversation("tea"), state: None },
    ];
    let members = [
        Member { user: user("alice"), role: Role::Owner },
        Member { user: user("bob"), role: Role::Moderator },
    ];
    let away = Refusal::retry(ErrorCode::Unavailable, "the store is away", 500);
    let shown = |title: Option<&str>| Conversation {
        key: at,
        kind: ConversationKind::Group,
        title: title.map(Box::from),
        created: time,
        head: 9,
        lamport: 77,
        members: 2,
    };
    let page = |events: &[Event], trimmed| ToGateway::Page {
        caller,
        conversation: at,
        events: events.into(),
        head: 9,
        more: true,
        trimmed,
    };
    let backlog = |events: &[Event], refused| ToGateway::Backlog {
        caller,
        conversation: at,
        after: 6,
        events: events.into(),
        head: 9,
        refused,
    };
    let attached = |items: &[AttachedItem], refused| ToGateway::Attached {
        caller,
        tenant: at.tenant,
        items: items.into(),
        refused,
    };
    let refused = |id, refusal| ToGateway::Refused { caller, id, refusal };
    vec![
        (
            "appended",
            ToGateway::Appended { caller, conversation: at, id, seq: SEQ_MAX, time, duplicate: true },
        ),
        ("signalled", ToGateway::Signalled { caller, conversation: at, id, time }),
        ("refused", refused(None, Refusal::new(ErrorCode::NotFound, "no such conversation"))),
        ("refused, full", refused(Some(id), Refusal::retry(ErrorCode::RateLimited, "slowly", u32::MAX))),
        ("page", page(&[message(3, 5), message(7, 5)], None)),
        ("page, empty", page(&[], Some(4))),
        ("backlog", backlog(&[message(7, 5), message(8, 5)], None)),
        ("backlog, refused", backlog(&[], Some(away))),
        ("attached", attached(&items, None)),
        ("attached, refused", attached(&items[1..], Some(away))),
        (
            "presence",
            ToGateway::PresenceOf { caller, user: user_key("bob"), online: false, last_seen: Some(time) },
        ),
        ("misplaced", ToGateway::Misplaced { caller }),
        ("session opened", ToGateway::SessionOpened { caller, conversations: entries.into(), more: false }),
        ("conversations", ToGateway::Conversations { caller, conversations: entries.into(), more: true }),
        ("conversations, end", ToGateway::Conversations { caller, conversations: [].into(), more: false }),
        ("created", ToGateway::Created { caller, conversation: shown(None), created: true }),
        ("conversation", ToGateway::Conversation { caller, conversation: shown(Some("Tea")) }),
        ("removed", ToGateway::Removed { caller }),
        ("members", ToGateway::Members { caller, members: members.into(), more: true }),
    ]
}

fn news() -> Vec<(&'static str, ToGateway)> {
    let (at, connection) = (conversation_key(), u64::MAX);
    let receipt = |user, number: Option<u64>, count| ToGateway::Receipt {
        conversation: at,
        user,
        received: number,
        read: number,
        received_count: count,
        read_count: count,
    };
    let presence = |online, last_seen| ToGateway::Presence { user: user_key("bob"), online, last_seen };
    vec![
        ("publish", ToGateway::Publish { conversation: at, events: [message(7, 5)].into() }),
        (
            "publish of each",
            ToGateway::Publish {
                conversation: at,
                events: samples::events().into_iter().map(|(_, event)| event).collect(),
            },
        ),
        ("head", ToGateway::Head { conversation: at, head: 9 }),
        ("signal to a room", ToGateway::Signal { conversation: at, event: message(0, 5) }),
        ("typing", ToGateway::Typing { conversation: at, user: user("bob"), on: true }),
        ("receipt", receipt(Some(user("bob")), Some(7), None)),
        ("receipt, counts", receipt(None, None, Some(u32::MAX))),
        ("presence, online", presence(true, None)),
        ("presence, seen", presence(false, Some(u64::MAX))),
        ("close session", ToGateway::CloseSession { connection, code: CloseCode::REPLACED }),
        ("joined", ToGateway::Joined { connection, conversation: at, after: 7 }),
        ("left", ToGateway::Left { connection, conversation: at, seq: 0 }),
    ]
}
