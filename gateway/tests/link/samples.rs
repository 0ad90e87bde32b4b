//! Envelopes to send, and chance from a seed.

use protocol::envelope::{Actor, Authority, Caller, GatewayId, ToGateway, ToRouter};
use protocol::error::{ErrorCode, Refusal};
use protocol::event::{ContentV1, Draft, Event, EventV1};
use protocol::id::{ConversationId, ConversationKey, DeviceId, Tenant, UserId, UserKey};

use crate::wire::DIALLER_CORE;

pub(crate) const CALLER: Caller =
    Caller { gateway: GatewayId(DIALLER_CORE as u32), connection: 0x0001_0000_0007, reference: -5 };

pub(crate) fn conversation() -> ConversationKey {
    let conversation = ConversationId::parse("general").unwrap();
    ConversationKey { tenant: Tenant::default_tenant(), conversation }
}

fn user() -> UserId {
    UserId::parse("alice").unwrap()
}

/// A message of so many bytes.
pub(crate) fn message(seq: u64, body_bytes: usize) -> Event {
    let body = "m".repeat(body_bytes);
    let content = ContentV1::Message { kind: "text", body: &body, meta: None, reply_to: None };
    let (conversation, sender, device, id) = ("general", "alice", "phone", "m-1");
    let event = EventV1 { seq: 0, time: 0, lamport: 0, conversation, sender, device, id, content };
    Draft::encode(&event).unwrap().seal(seq, 1_763_800_000_000, 77)
}

/// A request: required.
pub(crate) fn append(number: u64, body_bytes: usize) -> ToRouter {
    let key = UserKey { tenant: Tenant::default_tenant(), user: user() };
    ToRouter::Append {
        caller: Caller { connection: number, ..CALLER },
        actor: Actor { key, authority: Authority::User },
        conversation: conversation(),
        draft: message(1, body_bytes).into_draft(),
        lamport: number,
    }
}

/// A word: said until it is taken.
pub(crate) fn mark(read: u64) -> ToRouter {
    let key = UserKey { tenant: Tenant::default_tenant(), user: user() };
    let (actor, device) = (Actor { key, authority: Authority::User }, DeviceId::parse("phone").unwrap());
    ToRouter::Mark { actor, device, conversation: conversation(), received: None, read: Some(read) }
}

pub(crate) fn detach() -> ToRouter {
    ToRouter::Detach { gateway: CALLER.gateway, conversation: conversation() }
}

pub(crate) fn publish(seq: u64, body_bytes: usize) -> ToGateway {
    ToGateway::Publish { conversation: conversation(), events: [message(seq, body_bytes)].into() }
}

/// A publish of so many events of 80,000 bytes each.
pub(crate) fn large_publish(events: u64) -> ToGateway {
    let events = (1..=events).map(|seq| message(seq, 80_000)).collect();
    ToGateway::Publish { conversation: conversation(), events }
}

pub(crate) fn head(head: u64) -> ToGateway {
    ToGateway::Head { conversation: conversation(), head }
}

pub(crate) fn typing() -> ToGateway {
    ToGateway::Typing { conversation: conversation(), user: user(), on: true }
}

/// An answer: required.
pub(crate) fn refused(connection: u64) -> ToGateway {
    let refusal = Refusal::new(ErrorCode::Forbidden, "not a member of the conversation");
    ToGateway::Refused { caller: Caller { connection, ..CALLER }, id: None, refusal }
}

/// Chance from a seed (SplitMix64): the same seed, the same test.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }
}
