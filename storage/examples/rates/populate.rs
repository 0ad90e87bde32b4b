//! A population: conversations with members are created, then read as sessions read them when they open.

use std::path::Path;
use std::time::{Duration, Instant};

use protocol::envelope::Change;
use protocol::event::{ContentV1, Draft, EventV1, Role};
use protocol::id::ConversationKey;
use storage::request::{AppendItem, AppendRule, ConversationAppend, Request};

use crate::Choices;
use crate::meter::Meter;
use crate::work::{self, Store};

/// Requests under way.
const FLIGHT: usize = 512;

fn show(name: &str, count: u64, meter: &Meter) {
    let spent = meter.spent();
    println!(
        "{name:<24} {:>9.0} a s  cpu us each: {:.2} store, {:.2} tables, {:.2} compact  {:.0} B written each",
        spent.rate(count),
        spent.cpu_us("store", count),
        spent.cpu_us("store-tables", count),
        spent.cpu_us("store-compact", count),
        spent.bytes(count),
    );
}

/// A user joins: an append with a change.
fn join(of: ConversationKey, number: u64) -> AppendItem {
    let user = work::user(number).user;
    let id = format!("join{number}");
    let event = EventV1 {
        seq: 0,
        time: 0,
        lamport: 0,
        conversation: of.conversation.as_str(),
        sender: "system",
        device: "api",
        id: &id,
        content: ContentV1::Joined { user: user.as_str(), role: Role::Member },
    };
    let draft = Draft::encode(&event).expect("a small event");
    AppendItem { draft, lamport: 0, rule: AppendRule::Change(Change::Join { user, role: Role::Member }) }
}

fn for_some_time(store: &mut Store, name: &str, length: Duration, mut request: impl FnMut(u64) -> Request) {
    let (meter, began) = (Meter::read(), Instant::now());
    let mut count = 0;
    let requests = std::iter::from_fn(|| {
        count += 1;
        (began.elapsed() < length).then(|| request(count))
    });
    store.ask_all(requests, FLIGHT);
    show(name, count, &meter);
}

pub(crate) fn lists(path: &Path, choices: &Choices) {
    let length = Duration::from_millis(choices.number("ms", 3_000));
    let (users, conversations) = (choices.number("users", 100_000), choices.number("conversations", 50_000));
    let mut store = Store::open(path);
    let epoch = store.epoch;

    let meter = Meter::read();
    let pairs = (0..conversations).map(|number| {
        let first = number * 2 % users;
        work::create(epoch, work::conversation(number), first..first + 2)
    });
    store.ask_all(pairs, FLIGHT);
    show("created with 2 members", conversations, &meter);

    let meter = Meter::read();
    let rooms = (0..users / 500).map(|number| {
        work::create(epoch, work::conversation(conversations + number), number * 500..number * 500 + 500)
    });
    store.ask_all(rooms, FLIGHT);
    show("members, 500 a creation", users / 500 * 500, &meter);

    let meter = Meter::read();
    let big = work::conversation(conversations + users);
    store.ask(work::create(epoch, big, 0..1));
    let joins = (0..users / 500).map(|batch| {
        let items = (batch * 500 + 1..batch * 500 + 501).map(|number| join(big, number)).collect();
        work::append(epoch, 1, vec![ConversationAppend { conversation: big, items }])
    });
    store.ask_all(joins, 8);
    show("members, joining", users / 500 * 500, &meter);

    let anyone = |count: u64| count.wrapping_mul(0x9e37_79b9_7f4a_7c15) % users;
    for_some_time(&mut store, "chat list", length, |count| Request::Conversations {
        user: work::user(anyone(count)),
        after: None,
        limit: 200,
    });
    for_some_time(&mut store, "load with a role", length, |count| {
        let conversation = work::conversation(anyone(count) / 2 % conversations);
        Request::Load { conversation, users: [work::user(anyone(count)).user].into() }
    });
    for_some_time(&mut store, "roles, 128 a load", length, |count| {
        let first = anyone(count);
        let users = (first..first + 128).map(|number| work::user(number).user).collect();
        Request::Load { conversation: big, users }
    });
    for_some_time(&mut store, "last seen", length, |count| Request::LastSeen {
        user: work::user(anyone(count)),
    });
    store.stop();
}
