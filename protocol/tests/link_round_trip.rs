//! The promise: what one node writes, another reads as it was, up to the largest envelope; only the gateway shard is
//! called as the reader knows it. What no honest node writes is refused.

mod support;

use std::collections::HashSet;

use protocol::envelope::{
    Actor, AttachItem, Authority, Caller, Change, ConversationKind, GatewayId, Listed, Member, ToGateway,
    ToRouter,
};
use protocol::error::{CloseCode, ErrorCode, Refusal};
use protocol::event::{ContentV1, Draft, Event, EventV1, Role};
use protocol::frame::{ChatListEntry, Range};
use protocol::id::{ClientId, ConversationId, ConversationKey, DeviceId, Tenant, UserId, UserKey};
use protocol::limits::{EVENT_BYTES_MAX, SEQ_MAX};
use protocol::link::{
    Body, ENVELOPE_EVENTS_BYTES_MAX, ENVELOPE_EVENTS_MAX, ENVELOPE_ITEMS_MAX, FRAME_BYTES_MAX, Malformed,
    Reader, Route, SENTENCE_BYTES_MAX, Sentences, TooLarge, write_to_gateway, write_to_router,
};
use support::envelopes::{
    CALLER, GATEWAY, TO_GATEWAY, TO_ROUTER, actor, conversation_key, draft, gateway_frame, message,
    router_frame,
};
use support::{Chance, envelopes, samples};

fn back(frame: &[u8]) -> Result<String, Malformed> {
    envelopes::read(frame, &mut Sentences::new())
}

fn router_comes_back(envelope: &ToRouter) {
    assert_eq!(back(&router_frame(envelope)), Ok(format!("{envelope:?}")));
}

fn gateway_comes_back(envelope: &ToGateway) {
    assert_eq!(back(&gateway_frame(envelope)), Ok(format!("{envelope:?}")));
}

#[test]
fn every_envelope_comes_back() {
    let (to_router, to_gateway) = (envelopes::to_router(), envelopes::to_gateway());
    to_router.iter().for_each(|(_, envelope)| router_comes_back(envelope));
    to_gateway.iter().for_each(|(_, envelope)| gateway_comes_back(envelope));
    let kinds: HashSet<_> = to_router.iter().map(|(_, envelope)| core::mem::discriminant(envelope)).collect();
    assert_eq!(kinds.len(), 21, "a sample of each");
    let kinds: HashSet<_> =
        to_gateway.iter().map(|(_, envelope)| core::mem::discriminant(envelope)).collect();
    assert_eq!(kinds.len(), 23, "a sample of each");
}

#[test]
fn a_gateway_shard_is_called_as_the_reader_knows_it() {
    let known_as = GatewayId(0xBEEF);
    for (name, envelope) in envelopes::to_router() {
        let (bytes, mut assembly) = (router_frame(&envelope), Vec::new());
        let frame = Reader::new().read(&mut &*bytes, &mut assembly, FRAME_BYTES_MAX).unwrap().unwrap();
        assert_eq!(frame.route, TO_ROUTER);
        let Body::ToRouter(body) = frame.body else { panic!("{name}") };
        let read = body.decode(known_as).unwrap();
        assert_eq!(read.gateway(), envelope.gateway().map(|_| known_as), "{name}");
    }
    for (name, envelope) in envelopes::to_gateway() {
        let (bytes, mut assembly) = (gateway_frame(&envelope), Vec::new());
        let frame = Reader::new().read(&mut &*bytes, &mut assembly, FRAME_BYTES_MAX).unwrap().unwrap();
        assert_eq!(frame.route, TO_GATEWAY);
        let Body::ToGateway(body) = frame.body else { panic!("{name}") };
        let read = body.decode(known_as, &mut Sentences::new()).unwrap();
        let expected = envelope.caller().map(|caller| Caller { gateway: known_as, ..caller });
        assert_eq!(read.caller(), expected, "{name}");
    }
}

#[test]
#[should_panic(expected = "gateway.0 == u32::from(route.from)")]
fn nobody_asks_in_the_name_of_another_gateway_shard() {
    let envelope = ToRouter::Detach { gateway: GATEWAY, conversation: conversation_key() };
    let _ = write_to_router(&envelope, Route { from: 4, to: 0 }, &mut Vec::new());
}

#[test]
fn events_and_drafts_travel_as_the_bytes_they_are() {
    let contains = |frame: &[u8], bytes: &[u8]| frame.windows(bytes.len()).any(|window| window == bytes);
    for (name, event) in samples::events() {
        let publish = ToGateway::Publish { conversation: conversation_key(), events: [event.clone()].into() };
        assert!(contains(&gateway_frame(&publish), event.as_bytes()), "{name}");
    }
    let (caller, conversation, draft) = (CALLER, conversation_key(), draft(samples::MESSAGE));
    let bytes = draft.as_bytes().to_vec();
    let append = ToRouter::Append { caller, actor: actor(), conversation, draft, lamport: 0 };
    assert!(contains(&router_frame(&append), &bytes));
}

/// The longest of everything that one may have one of.
fn longest() -> (ConversationKey, UserKey, Actor, Draft) {
    let id = "i".repeat(64);
    let (tenant, user) = (Tenant::parse(&id).unwrap(), UserId::parse(&id).unwrap());
    let conversation = ConversationKey { tenant, conversation: ConversationId::parse(&id).unwrap() };
    let user = UserKey { tenant, user };
    let draft = |body: &str| {
        let content = ContentV1::Message { kind: "k", body, meta: Some("{}"), reply_to: Some(SEQ_MAX) };
        let (seq, time, lamport) = (0, 0, 0);
        let (conversation, sender, device) = (&*id, &*id, &*id);
        Draft::encode(&EventV1 { seq, time, lamport, conversation, sender, device, id: &id, content })
    };
    let rest = draft("").unwrap().as_bytes().len();
    let draft = draft(&"b".repeat(EVENT_BYTES_MAX - rest)).unwrap();
    assert_eq!(draft.as_bytes().len(), EVENT_BYTES_MAX);
    (conversation, user, Actor { key: user, authority: Authority::Server }, draft)
}

#[test]
fn the_longest_texts_and_the_largest_numbers_come_back() {
    let (conversation, user, actor, draft) = longest();
    let caller = Caller { gateway: GATEWAY, connection: u64::MAX, reference: i64::MAX };
    let event = draft.seal(SEQ_MAX, u64::MAX, u64::MAX);
    let seq = Some(SEQ_MAX);
    gateway_comes_back(&ToGateway::Page {
        caller,
        conversation,
        events: [event.clone()].into(),
        head: SEQ_MAX,
        more: true,
        trimmed: seq,
    });
    router_comes_back(&ToRouter::Append {
        caller,
        actor,
        conversation,
        draft: event.into_draft(),
        lamport: u64::MAX,
    });
    let device = DeviceId::parse("d".repeat(64)).unwrap();
    router_comes_back(&ToRouter::Mark { actor, device, conversation, received: seq, read: seq });
    let listed = Listed { head: SEQ_MAX, lamport: u64::MAX, read: SEQ_MAX, role: Role::Owner };
    let item = AttachItem { conversation: conversation.conversation, listed: Some(listed) };
    router_comes_back(&ToRouter::Attach { caller, actor, items: vec![item; 4_096].into() });
    let change = Change::Title { title: Some("t".repeat(100_000).into()) };
    let id = ClientId::parse("c".repeat(64)).unwrap();
    router_comes_back(&ToRouter::Change { caller, actor, conversation, id, change, lamport: 0 });
    let message: &'static str = "s".repeat(SENTENCE_BYTES_MAX).leak();
    let refusal = Refusal::retry(ErrorCode::Internal, message, u32::MAX);
    gateway_comes_back(&ToGateway::Refused { caller, id: Some(id), refusal });
    gateway_comes_back(&ToGateway::Presence { user, online: false, last_seen: Some(u64::MAX) });
    gateway_comes_back(&ToGateway::CloseSession { connection: u64::MAX, code: CloseCode(u16::MAX) });
}

/// So many events of so many bytes together.
fn log(events: usize, bytes: usize) -> Box<[Event]> {
    let empty = message(1, 0).as_bytes().len();
    let body_bytes = bytes / events - empty;
    (1..=events as u64).map(|seq| message(seq, body_bytes)).collect()
}

#[test]
fn the_largest_publish_and_the_largest_lists_fit() {
    let conversation = conversation_key();
    for events in [23, ENVELOPE_EVENTS_MAX] {
        let events = log(events, ENVELOPE_EVENTS_BYTES_MAX);
        gateway_comes_back(&ToGateway::Publish { conversation, events });
    }
    let (conversation, user, actor, _) = longest();
    let members = vec![Member { user: user.user, role: Role::Owner }; ENVELOPE_ITEMS_MAX].into();
    let title = Some("t".repeat(256).into());
    let kind = ConversationKind::Group;
    router_comes_back(&ToRouter::Create { caller: CALLER, actor, conversation, kind, title, members });
    let users = vec![user; ENVELOPE_ITEMS_MAX].into();
    router_comes_back(&ToRouter::Watch { gateway: GATEWAY, users });
    let entry = ChatListEntry {
        conversation: conversation.conversation,
        head: SEQ_MAX,
        read: SEQ_MAX,
        role: Role::Owner,
        lamport: u64::MAX,
    };
    let conversations = vec![entry; ENVELOPE_ITEMS_MAX].into();
    gateway_comes_back(&ToGateway::SessionOpened { caller: CALLER, conversations, more: true });
}

#[test]
fn what_is_too_large_leaves_the_turns_other_frames_as_they_are() {
    let head = ToGateway::Head { conversation: conversation_key(), head: 9 };
    let mut out = gateway_frame(&head);
    let frame = out.clone();
    let publish = |bytes| ToGateway::Publish { conversation: conversation_key(), events: log(30, bytes) };
    assert_eq!(write_to_gateway(&publish(FRAME_BYTES_MAX), TO_GATEWAY, &mut out), Err(TooLarge));
    assert_eq!(out, frame);
    write_to_gateway(&head, TO_GATEWAY, &mut out).unwrap();
    assert_eq!(out, frame.repeat(2));
}

#[test]
fn a_sentence_that_comes_again_is_the_same_one() {
    let mut sentences = Sentences::new();
    let mut refused = || {
        let refusal = Refusal::new(ErrorCode::Forbidden, "members only");
        let bytes = gateway_frame(&ToGateway::Refused { caller: CALLER, id: None, refusal });
        let mut assembly = Vec::new();
        let frame = Reader::new().read(&mut &*bytes, &mut assembly, FRAME_BYTES_MAX).unwrap().unwrap();
        let Body::ToGateway(body) = frame.body else { panic!("a refusal") };
        match body.decode(GATEWAY, &mut sentences).unwrap() {
            ToGateway::Refused { refusal, .. } => refusal.message,
            other => panic!("{other:?}"),
        }
    };
    assert!(core::ptr::eq(refused(), refused()));
}

/// An event as no client id, sender or conversation check had seen it.
fn event(seq: u64, sender: &str, content: ContentV1<'_>) -> Event {
    let (conversation, device, id) = ("general", "phone", "m-1");
    let event = EventV1 { seq: 0, time: 0, lamport: 0, conversation, sender, device, id, content };
    Draft::encode(&event).unwrap().seal(seq, 5, 5)
}

#[test]
fn events_that_no_honest_node_sends_are_refused() {
    let conversation = conversation_key();
    let publish =
        |events: &[Event]| back(&gateway_frame(&ToGateway::Publish { conversation, events: events.into() }));
    let page = |events: &[Event]| {
        let events = events.into();
        let (head, more, trimmed) = (9, false, None);
        back(&gateway_frame(&ToGateway::Page { caller: CALLER, conversation, events, head, more, trimmed }))
    };
    let backlog = |after, events: &[Event]| {
        let events = events.into();
        let (head, refused) = (9, None);
        let caller = CALLER;
        back(&gateway_frame(&ToGateway::Backlog { caller, conversation, after, events, head, refused }))
    };
    assert!(publish(&[message(7, 1), message(8, 1)]).is_ok());
    assert_eq!(publish(&[]), Err(Malformed::Order));
    assert_eq!(publish(&[message(7, 1), message(9, 1)]), Err(Malformed::Order));
    assert_eq!(publish(&[message(8, 1), message(7, 1)]), Err(Malformed::Order));
    assert_eq!(publish(&[message(0, 1)]), Err(Malformed::Event));
    assert_eq!(publish(&[message(SEQ_MAX + 1, 1)]), Err(Malformed::Number));
    assert!(page(&[message(7, 1), message(9, 1)]).is_ok());
    assert_eq!(page(&[message(7, 1), message(7, 1)]), Err(Malformed::Order));
    assert!(backlog(6, &[message(7, 1)]).is_ok());
    assert_eq!(backlog(7, &[message(7, 1)]), Err(Malformed::Order));
    assert_eq!(publish(&[event(7, "no id", samples::MESSAGE)]), Err(Malformed::Id));
    assert_eq!(publish(&[event(7, "alice", ContentV1::Left { user: "" })]), Err(Malformed::Id));
    let elsewhere = ConversationKey { conversation: samples::conversation("tea"), ..conversation };
    let publish = ToGateway::Publish { conversation: elsewhere, events: [message(7, 1)].into() };
    assert_eq!(back(&gateway_frame(&publish)), Err(Malformed::Event));
    let signal = ToGateway::Signal { conversation, event: message(1, 1) };
    assert_eq!(back(&gateway_frame(&signal)), Err(Malformed::Event));
}

#[test]
fn drafts_and_numbers_that_no_honest_node_sends_are_refused() {
    let (caller, conversation, over) = (CALLER, conversation_key(), SEQ_MAX + 1);
    let append = |content| {
        let draft = draft(content);
        back(&router_frame(&ToRouter::Append { caller, actor: actor(), conversation, draft, lamport: 0 }))
    };
    assert!(append(ContentV1::Delete { target: 1 }).is_ok());
    for change in [
        ContentV1::Joined { user: "bob", role: Role::Owner },
        ContentV1::Left { user: "bob" },
        ContentV1::Changed { title: None, user: None, role: None },
    ] {
        assert_eq!(append(change), Err(Malformed::Event));
    }
    let head = |head| back(&gateway_frame(&ToGateway::Head { conversation, head }));
    assert!(head(SEQ_MAX).is_ok());
    assert_eq!(head(over), Err(Malformed::Number));
    let backlog = ToRouter::Backlog { caller, conversation, after: over, limit: 0 };
    assert_eq!(back(&router_frame(&backlog)), Err(Malformed::Number));
    let range = Range::Before(over);
    let history = ToRouter::History { caller, actor: actor(), conversation, range, limit: 0 };
    assert_eq!(back(&router_frame(&history)), Err(Malformed::Number));
}

/// Writes any envelope of some kinds, with any ids and numbers, and says in words what it was.
fn write_any(chance: &mut Chance, out: &mut Vec<u8>) -> String {
    let tenant = Tenant::parse(chance.id()).unwrap();
    let conversation = ConversationKey { tenant, conversation: ConversationId::parse(chance.id()).unwrap() };
    let key = UserKey { tenant, user: UserId::parse(chance.id()).unwrap() };
    let first = 1 + (chance.number() >> 12);
    let events = (first..first + 1 + first % 5).map(|seq| any_event(chance, seq, &conversation)).collect();
    let (written, words) = if chance.once_in(2) {
        let envelope = any_to_router(chance, conversation, key);
        (write_to_router(&envelope, TO_ROUTER, out), format!("{envelope:?}"))
    } else {
        let envelope = any_to_gateway(chance, conversation, key, events);
        (write_to_gateway(&envelope, TO_GATEWAY, out), format!("{envelope:?}"))
    };
    assert_eq!(written, Ok(()));
    words
}

fn any_event(chance: &mut Chance, seq: u64, conversation: &ConversationKey) -> Event {
    let (sender, device, id, body) = (chance.id(), chance.id(), chance.id(), chance.text(200));
    let content = ContentV1::Message { kind: "text", body: &body, meta: None, reply_to: Some(seq) };
    let conversation = conversation.conversation.as_str();
    let (sender, device, id) = (&*sender, &*device, &*id);
    let event = EventV1 { seq: 0, time: 0, lamport: 0, conversation, sender, device, id, content };
    Draft::encode(&event).unwrap().seal(seq, chance.number(), chance.number())
}

fn any_caller(chance: &mut Chance) -> Caller {
    Caller { gateway: GATEWAY, connection: chance.number(), reference: chance.number() as i64 }
}

fn any_to_router(chance: &mut Chance, conversation: ConversationKey, key: UserKey) -> ToRouter {
    let (caller, draft) = (any_caller(chance), any_event(chance, 1, &conversation).into_draft());
    let actor = Actor { key, authority: chance.one_of(&[Authority::User, Authority::Server]) };
    match chance.below(3) {
        0 => ToRouter::Append { caller, actor, conversation, draft, lamport: chance.number() },
        1 => ToRouter::Signal { caller, actor, conversation, draft },
        _ => {
            let count = chance.below(9);
            let user = |_| UserKey { user: UserId::parse(chance.id()).unwrap(), ..key };
            ToRouter::Watch { gateway: GATEWAY, users: (0..count).map(user).collect() }
        }
    }
}

fn any_to_gateway(
    chance: &mut Chance,
    conversation: ConversationKey,
    key: UserKey,
    events: Box<[Event]>,
) -> ToGateway {
    let (caller, head) = (any_caller(chance), events[0].seq());
    match chance.below(3) {
        0 => ToGateway::Publish { conversation, events },
        1 => ToGateway::Backlog { caller, conversation, after: head - 1, events, head, refused: None },
        _ => ToGateway::Typing { conversation, user: key.user, on: chance.once_in(2) },
    }
}

#[test]
fn turns_of_any_envelopes_come_back_in_order() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let mut out = Vec::new();
        let count = 1 + chance.below(20);
        let expected: Vec<_> = (0..count).map(|_| write_any(&mut chance, &mut out)).collect();
        let (mut reader, mut assembly, mut read) = (Reader::new(), Vec::new(), Vec::new());
        let (mut rest, mut sentences) = (&*out, Sentences::new());
        while !rest.is_empty() {
            let (mut input, behind) = rest.split_at(1 + chance.below(rest.len().min(2_000)));
            while let Some(words) = reader
                .read(&mut input, &mut assembly, FRAME_BYTES_MAX)
                .and_then(|frame| frame.map(|frame| envelopes::words(frame.body, &mut sentences)).transpose())
                .unwrap_or_else(|malformed| panic!("seed {seed}: {malformed:?}"))
            {
                read.push(words);
            }
            rest = behind;
        }
        assert_eq!(read, expected, "seed {seed}");
    }
}
