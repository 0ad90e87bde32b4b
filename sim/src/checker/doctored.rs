//! Proof that the checker can fail: histories that break a promise, told to it by hand. A checker that passes these
//! would pass anything.

use protocol::event::{ContentV1, Draft, Event, EventV1, Role};
use protocol::frame::Range;
use protocol::id::{ClientId, ConversationId, ConversationKey, DeviceId, Tenant, UserId, UserKey};

use super::{Checker, Violation};
use crate::asked::Asked;
use crate::coverage::Coverage;
use crate::kernel::ConnectionNumber;
use crate::told::{Content, Told, ToldEntry, ToldEvent};

const CONNECTION: ConnectionNumber = ConnectionNumber(0);

fn place() -> ConversationId {
    ConversationId::parse("place").unwrap()
}

fn key() -> ConversationKey {
    ConversationKey { tenant: Tenant::default_tenant(), conversation: place() }
}

fn user(name: &str) -> UserKey {
    UserKey { tenant: Tenant::default_tenant(), user: UserId::parse(name).unwrap() }
}

fn id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

/// A message of ann's, sealed.
fn message(seq: u64, id: &str, body: &str) -> Event {
    let content = ContentV1::Message { kind: "text", body, meta: None, reply_to: None };
    let (conversation, sender, device) = ("place", "ann", "phone");
    let event = EventV1 { seq: 0, time: 0, lamport: 0, conversation, sender, device, id, content };
    Draft::encode(&event).unwrap().seal(seq, seq, seq)
}

fn content(body: &str) -> Content {
    Content::Message { kind: "text".to_owned(), body: body.to_owned(), meta: None, reply_to: None }
}

/// A history of one conversation and one connection of ann's, who is a member.
struct History {
    checker: Checker,
    log: Vec<Event>,
}

impl History {
    fn new(log: Vec<Event>) -> Self {
        let mut checker = Checker::default();
        checker.expect(key(), false, &[(user("ann").user, Role::Owner)]);
        checker.created(&key());
        checker.opened(CONNECTION, user("ann"), DeviceId::parse("phone").unwrap());
        Self { checker, log }
    }

    fn told(&mut self, told: &Told) -> Result<(), Violation> {
        let log = &self.log;
        let durable = &mut |_: &ConversationKey, after: u64| log[after as usize..].to_vec();
        self.checker.told(CONNECTION, told, durable, &mut Coverage::default())
    }

    fn welcomed(mut self, head: u64) -> Self {
        let entry = ToldEntry { conversation: place(), head, read: 0 };
        let (user, resume) = (user("ann").user, String::new());
        self.told(&Told::Welcome { user, resume, conversations: vec![entry], more: false }).unwrap();
        self
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        self.told(&Told::Event(ToldEvent::of(event)))
    }

    fn send(&mut self, name: &str, body: &str) {
        let asked =
            Asked::Send { id: id(name), conversation: place(), content: content(body), ephemeral: false };
        self.checker.asked(CONNECTION, &asked);
    }

    fn ack(&mut self, name: &str, seq: u64, duplicate: bool) -> Result<(), Violation> {
        let (id, conversation) = (id(name), place());
        self.told(&Told::Ack { id, conversation, seq: Some(seq), time: seq, duplicate })
    }

    fn finish(&mut self) -> Result<(), Violation> {
        let log = &self.log;
        let durable =
            &mut |_: &ConversationKey, after: u64| log.get(after as usize..).unwrap_or(&[]).to_vec();
        self.checker.finish(durable, &mut Coverage::default())
    }
}

fn broken(result: Result<(), Violation>) -> &'static str {
    result.expect_err("the history breaks a promise").promise
}

fn three() -> Vec<Event> {
    vec![message(1, "a", "one"), message(2, "b", "two"), message(3, "c", "three")]
}

#[test]
fn an_honest_history_passes() {
    let log = three();
    let mut history = History::new(log.clone()).welcomed(0);
    for (event, body) in log.iter().zip(["one", "two", "three"]) {
        let name = event.view().id.to_string();
        history.send(&name, body);
        history.ack(&name, event.seq(), false).unwrap();
        history.event(event).unwrap();
    }
    history.finish().unwrap();
}

#[test]
fn a_gap_in_a_stream_is_found() {
    let log = three();
    let mut history = History::new(log.clone()).welcomed(0);
    history.event(&log[0]).unwrap();
    assert_eq!(broken(history.event(&log[2])), "dense order");
}

#[test]
fn a_repeat_in_a_stream_is_found() {
    let log = three();
    let mut history = History::new(log.clone()).welcomed(1);
    assert_eq!(broken(history.event(&log[0])), "dense order");
}

#[test]
fn an_event_that_is_not_durable_is_found() {
    let mut history = History::new(Vec::new()).welcomed(0);
    assert_eq!(broken(history.event(&message(1, "a", "one"))), "persist, then deliver");
}

#[test]
fn an_event_with_another_body_is_found() {
    let mut history = History::new(three()).welcomed(0);
    assert_eq!(broken(history.event(&message(1, "a", "forged"))), "persist, then deliver");
}

#[test]
fn an_ack_of_what_is_not_durable_is_found() {
    let mut history = History::new(Vec::new()).welcomed(0);
    history.send("a", "one");
    assert_eq!(broken(history.ack("a", 1, false)), "persist, then acknowledge");
}

#[test]
fn an_ack_at_the_wrong_place_is_found() {
    let mut history = History::new(three()).welcomed(0);
    history.send("a", "one");
    assert_eq!(broken(history.ack("a", 2, false)), "persist, then acknowledge");
}

#[test]
fn two_acks_of_one_send_as_new_are_found() {
    let mut history = History::new(three()).welcomed(0);
    for fresh in [true, false] {
        history.send("a", "one");
        let result = history.ack("a", 1, false);
        assert_eq!(result.is_ok(), fresh, "{result:?}");
    }
}

#[test]
fn an_acknowledged_send_that_is_lost_is_found_at_the_end() {
    let mut history = History::new(three()).welcomed(0);
    for (name, body) in [("a", "one"), ("b", "two"), ("c", "three")] {
        history.send(name, body);
    }
    history.ack("c", 3, false).unwrap();
    history.finish().unwrap();
    let mut other = History::new(Vec::new());
    std::mem::swap(&mut other.checker.sends, &mut history.checker.sends);
    assert_eq!(broken(other.finish()), "nothing acknowledged is lost");
}

#[test]
fn one_id_twice_in_a_log_is_found() {
    let mut history = History::new(vec![message(1, "a", "one"), message(2, "a", "one")]);
    history.send("a", "one");
    assert_eq!(broken(history.finish()), "effectively once");
}

#[test]
fn what_nobody_sent_is_found() {
    let mut history = History::new(three());
    assert_eq!(broken(history.finish()), "nothing invented");
}

#[test]
fn what_one_sent_who_may_not_is_found() {
    let change = |content| {
        let (conversation, sender, device, id) = ("place", "system", "phone", "change");
        let event = EventV1 { seq: 0, time: 0, lamport: 0, conversation, sender, device, id, content };
        Draft::encode(&event).unwrap().seal(2, 2, 2)
    };
    let left = ContentV1::Left { user: "ann" };
    let reader = ContentV1::Changed { user: Some("ann"), role: Some(Role::Reader), title: None };
    for loss in [left, reader] {
        let mut history = History::new(vec![message(1, "a", "one"), change(loss), message(3, "c", "three")]);
        history.send("a", "one");
        history.send("c", "three");
        assert_eq!(broken(history.finish()), "only members send");
    }
}

#[test]
fn a_stranger_that_is_told_something_is_found() {
    let log = three();
    let mut history = History::new(log.clone());
    let eve = ConnectionNumber(1);
    history.checker.opened(eve, user("eve"), DeviceId::parse("phone").unwrap());
    let durable = &mut |_: &ConversationKey, after: u64| log[after as usize..].to_vec();
    let entry = ToldEntry { conversation: place(), head: 3, read: 0 };
    let told = Told::Welcome {
        user: user("eve").user,
        resume: String::new(),
        conversations: vec![entry],
        more: false,
    };
    let result = history.checker.told(eve, &told, durable, &mut Coverage::default());
    assert_eq!(broken(result), "strangers see nothing");
}

#[test]
fn a_page_with_a_hole_or_at_the_wrong_place_is_found() {
    let log = three();
    for seqs in [&[1, 3][..], &[2, 3], &[]] {
        let mut history = History::new(log.clone()).welcomed(3);
        let asked = Asked::History { reference: 7, conversation: place(), range: Range::After(0), limit: 10 };
        history.checker.asked(CONNECTION, &asked);
        let events = seqs.iter().map(|seq| ToldEvent::of(&log[seq - 1])).collect();
        let page = Told::Page { reference: 7, conversation: place(), events, head: 3, more: false };
        assert_eq!(broken(history.told(&page)), "pages");
    }
}

#[test]
fn a_page_that_knows_less_than_others_were_told_is_found_and_in_a_cluster_excused_for_a_lease() {
    let short = |history: &mut History, reference| {
        let asked = Asked::History { reference, conversation: place(), range: Range::After(0), limit: 10 };
        history.checker.asked(CONNECTION, &asked);
        let events = three()[..2].iter().map(ToldEvent::of).collect();
        history.told(&Told::Page { reference, conversation: place(), events, head: 2, more: false })
    };
    let told_three = || {
        let mut history = History::new(three()).welcomed(0);
        three().iter().for_each(|event| history.event(event).unwrap());
        history
    };
    assert_eq!(broken(short(&mut told_three(), 7)), "pages");
    let mut history = told_three();
    history.checker.clustered(100);
    history.checker.pass(1_000);
    assert_eq!(short(&mut history, 7), Ok(()));
    history.checker.pass(1_099);
    assert_eq!(short(&mut history, 8), Ok(()));
    history.checker.pass(1_100);
    assert_eq!(broken(short(&mut history, 9)), "pages");
}

#[test]
fn an_unjust_refusal_is_found() {
    let mut history = History::new(Vec::new()).welcomed(0);
    history.send("a", "one");
    let refusal = Told::Error {
        reference: None,
        id: Some(id("a")),
        code: "not_found".to_owned(),
        retry_after_ms: None,
    };
    assert_eq!(broken(history.told(&refusal)), "refusals");
}

#[test]
fn a_lagging_frame_that_lies_is_found() {
    let mut history = History::new(three()).welcomed(1);
    let lagging = Told::Lagging { conversation: place(), after: 2, head: 3 };
    assert_eq!(broken(history.told(&lagging)), "lagging tells the truth");
}
