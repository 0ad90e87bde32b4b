//! The script of one thread of talkers.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::recent::{Heard, Recent};
use super::{Course, MessageIds, Order, Pace, Population, Tally, intended_ns, write_body};
use crate::chance::{Chance, mixed};
use crate::ledger::{Answered, Broken, Ledger, Sends, digest};
use crate::schedule::{Arrivals, Schedule};
use crate::swarm::{Crowd, Frame, Script};
use crate::wire::{self, ClientFrame, Content, Event, ServerFrame};

/// Events asked for at once, to fill a gap that the server told of.
const PAGE_EVENTS: u16 = 200;
/// What the socket of a slow reader holds for it: so little that the server feels it at once.
const SLOW_SOCKET_BYTES: i32 = 4_096;
/// How often a sender is drawn before a turn passes: most are online.
const DRAWS_MAX: u32 = 8;

/// What all talkers of a run are.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who is a member of what.
    pub population: Population,
    /// Another number for each run: a server that keeps its data remembers ids.
    pub run: u64,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Messages to a conversation at once.
    pub burst: u32,
    /// How intended times follow one another.
    pub arrivals: Arrivals,
    /// Seed of all chance.
    pub seed: u64,
    /// Some that read slowly and send nothing.
    pub slow: Option<SlowReaders>,
    /// Whether to follow each message to its last member: for runs with one conversation.
    pub is_followed: bool,
}

/// Readers that look slow to the server.
#[derive(Clone, Copy, Debug)]
pub struct SlowReaders {
    /// Their share of all clients, from 0 to 1.
    pub share: f64,
    /// What each reads.
    pub bytes_per_second: u32,
}

impl Plan {
    /// Whether a client is one of the slow readers.
    #[must_use]
    pub fn is_slow(&self, client: u32) -> bool {
        let Some(slow) = self.slow else { return false };
        Chance::new(self.seed ^ mixed(u64::from(client) + 1)).fraction() < slow.share
    }
}

/// The talkers of one thread.
#[derive(Debug)]
pub struct Talker {
    plan: Arc<Plan>,
    course: Arc<Course>,
    clients: Range<u32>,
    ids: MessageIds,
    ledger: Ledger,
    sends: Sends,
    recent: Recent,
    order: Order,
    schedule: Option<Schedule>,
    chance: Chance,
    tally: Tally,
    /// By place: when a page was asked for that is still to come.
    asked_ns: HashMap<u32, u64>,
    id: String,
    body: String,
}

impl Talker {
    /// The talkers of these clients.
    #[must_use]
    pub fn new(plan: Arc<Plan>, course: Arc<Course>, clients: Range<u32>) -> Self {
        let places = plan.population.places(clients.clone());
        Self {
            ids: MessageIds::new(plan.run, clients.start),
            ledger: Ledger::new(plan.population.conversations() as usize, places),
            sends: Sends::default(),
            recent: Recent::new(),
            order: Order::default(),
            schedule: None,
            chance: Chance::new(plan.seed ^ mixed(u64::from(clients.start))),
            tally: Tally::default(),
            asked_ns: HashMap::new(),
            id: String::new(),
            body: String::new(),
            plan,
            course,
            clients,
        }
    }

    /// What its clients were told, for good.
    #[must_use]
    pub fn into_ledger(mut self) -> Ledger {
        for _ in 0..self.sends.unanswered() {
            self.ledger.broken(Broken::Unanswered, || format!("a message of clients {:?}", self.clients));
        }
        self.ledger
    }

    /// Follows the order: its pace, and how the slow read.
    fn follow(&mut self, order: Order, step: u32, crowd: &mut Crowd) {
        let slow_changes = order.slow != self.order.slow;
        self.order = order;
        self.schedule = None;
        match order.pace {
            Pace::Silent => {}
            Pace::Rate(rate) => {
                let share = self.clients.len() as f64 / f64::from(self.plan.population.clients());
                let rate = rate * share / f64::from(self.plan.burst);
                let seed = self.chance.number() ^ u64::from(step);
                self.schedule = Some(Schedule::new(crowd.now_ns(), rate, self.plan.arrivals, seed));
                self.sleep(crowd);
            }
            Pace::Window(messages) => self.open_windows(messages, crowd),
        }
        if slow_changes {
            let plan = Arc::clone(&self.plan);
            let slow = self.clients.clone().filter(|client| plan.is_slow(*client));
            slow.for_each(|client| self.set_reading(client, crowd));
        }
    }

    /// Lets a slow reader read as the order says, and ask for what it was not sent once it may.
    fn set_reading(&mut self, client: u32, crowd: &mut Crowd) {
        let Some(slow) = self.plan.slow else { return };
        if self.order.slow {
            crowd.read_at(client, slow.bytes_per_second);
        } else {
            crowd.read_at(client, 0);
            crowd.resume(client);
            for conversation in self.plan.population.conversations_of(client) {
                self.fill_gap(client, conversation, crowd);
            }
        }
    }

    /// Each sender has as many messages without an answer as the order says.
    fn open_windows(&mut self, messages: u32, crowd: &mut Crowd) {
        for client in self.clients.clone() {
            for _ in 0..messages {
                self.send_next(client, crowd);
            }
        }
    }

    /// Wakes when the next message is due.
    fn sleep(&self, crowd: &mut Crowd) {
        if let Some(next_ns) = self.schedule.as_ref().and_then(Schedule::next_ns) {
            crowd.wake_at(next_ns);
        }
    }

    /// A burst to one conversation, by as many of its members as this thread has.
    fn speak(&mut self, intended_ns: u64, crowd: &mut Crowd) {
        let Some(first) = self.draw_sender(crowd) else { return };
        let conversation = self.draw_conversation(first);
        let members = self.plan.population.clients_of(conversation);
        let members = members.start.max(self.clients.start)..members.end.min(self.clients.end);
        let senders = members.clone().cycle().skip((first - members.start) as usize);
        let senders = senders.take(4 * self.plan.burst as usize + members.len());
        let mut left = self.plan.burst;
        for client in senders {
            if left > 0 && self.can_send(client, crowd) {
                self.send(client, conversation, intended_ns, crowd);
                left -= 1;
            }
        }
    }

    fn draw_sender(&mut self, crowd: &Crowd) -> Option<u32> {
        let draw = |chance: &mut Chance| self.clients.start + chance.below(self.clients.len() as u64) as u32;
        (0..DRAWS_MAX)
            .map(|_| draw(&mut self.chance))
            .find(|client| crowd.is_online(*client) && !self.plan.is_slow(*client))
    }

    fn draw_conversation(&mut self, client: u32) -> u32 {
        let conversations = self.plan.population.conversations_of(client);
        conversations.start + self.chance.below(conversations.len() as u64) as u32
    }

    fn can_send(&self, client: u32, crowd: &Crowd) -> bool {
        crowd.is_online(client) && !self.plan.is_slow(client)
    }

    /// The next message of a closed loop.
    fn send_next(&mut self, client: u32, crowd: &mut Crowd) {
        if self.can_send(client, crowd) {
            let conversation = self.draw_conversation(client);
            self.send(client, conversation, crowd.now_ns(), crowd);
        }
    }

    fn send(&mut self, client: u32, conversation: u32, intended_ns: u64, crowd: &mut Crowd) {
        let number = self.sends.begin(client, conversation, intended_ns);
        self.ids.write(number, &mut self.id);
        write_body(intended_ns, self.plan.body_bytes, &mut self.body);
        let frame = ClientFrame::Send {
            id: &self.id,
            conversation: &self.plan.population.conversation(conversation),
            kind: None,
            body: &self.body,
            meta: None,
            reply_to: None,
            ephemeral: false,
        };
        self.tally.sent += 1;
        if !crowd.send(client, &frame) {
            self.unsent(number, client);
        }
    }

    /// The client is no more, or has too much to send already: the message is nowhere.
    fn unsent(&mut self, number: u64, client: u32) {
        *self.tally.refused.entry("unsent".to_owned()).or_default() += 1;
        if let Err(broken) = self.sends.refuse(number, client) {
            self.ledger.broken(broken, || format!("message {number}, which was never sent"));
        }
    }

    /// A frame that is no event heard before.
    fn take(&mut self, client: u32, frame: &ServerFrame<'_>, crowd: &mut Crowd) {
        match frame {
            ServerFrame::Ack { id, conversation, seq, .. } => {
                self.acknowledged(client, id, conversation, seq.unwrap_or(0), crowd);
            }
            ServerFrame::Page { reference, conversation, events, .. } => {
                self.page(client, *reference, conversation, events, crowd);
            }
            ServerFrame::Lagging { conversation, after, head } => {
                self.lagging(client, conversation, *after, *head, crowd);
            }
            ServerFrame::Error { id, code, .. } => self.refused(client, id.as_deref(), code, crowd),
            ServerFrame::Goaway { reconnect_after_ms, .. } => {
                crowd.reconnect_after(client, *reconnect_after_ms)
            }
            _ => {}
        }
    }

    /// What matters of an event; `None` for one of another conversation than ours.
    fn look_at(&self, event: &Event<'_>) -> Option<Heard> {
        let conversation = self.plan.population.number(&event.conversation)?;
        let intended_ns = match &event.content {
            Content::Message { body, .. } => intended_ns(body),
            _ => None,
        };
        let number = self.ids.number(&event.id);
        Some(Heard { conversation, seq: event.seq, digest: digest(event), intended_ns, number })
    }

    fn place(&self, client: u32, conversation: u32) -> Option<u32> {
        self.plan.population.place(self.clients.start, client, conversation)
    }

    fn stranger(&mut self, client: u32, what: &str) {
        self.ledger.broken(Broken::Stranger, || format!("client {client} heard of {what}"));
    }

    /// A member hears an event.
    fn deliver(&mut self, client: u32, heard: Heard, crowd: &Crowd) {
        let Some(place) = self.place(client, heard.conversation) else {
            return self.stranger(client, &self.plan.population.conversation(heard.conversation));
        };
        self.ledger.hear(place, heard.seq, heard.digest);
        self.tally.delivered += 1;
        if let Some(intended_ns) = heard.intended_ns {
            self.record_delivery(client, heard.seq, crowd.now_ns().saturating_sub(intended_ns));
        }
        self.hear_own(client, heard);
    }

    fn record_delivery(&mut self, client: u32, seq: u64, took_ns: u64) {
        let tally = &mut self.tally;
        if self.plan.is_slow(client) {
            tally.slow_delivery.record_ns(took_ns);
        } else {
            tally.delivery.record_ns(took_ns);
        }
        if self.plan.is_followed {
            let reach = tally.reaches.entry(seq).or_default();
            reach.last_ns = reach.last_ns.max(took_ns);
            reach.members += 1;
        }
    }

    /// A sender hears its own message: it must stand where its ack says.
    fn hear_own(&mut self, client: u32, heard: Heard) {
        let Some(number) = heard.number else { return };
        match self.sends.hear(number, client, heard.seq) {
            Ok(Some(answered)) if Some(answered.intended_ns) != heard.intended_ns => {
                self.ledger.broken(Broken::Content, || format!("{heard:?} is not {answered:?}"));
            }
            Ok(_) => {}
            Err(broken) => self.ledger.broken(broken, || format!("client {client} heard its own {heard:?}")),
        }
    }

    fn acknowledged(&mut self, client: u32, id: &str, conversation: &str, seq: u64, crowd: &mut Crowd) {
        let answered = self.ids.number(id).ok_or(Broken::Unasked);
        let answered = answered.and_then(|number| self.sends.acknowledge(number, client, seq));
        match answered {
            Ok(Answered { intended_ns, conversation: number, .. }) => {
                if self.plan.population.number(conversation) != Some(number) {
                    return self.stranger(client, conversation);
                }
                self.ledger.acknowledged(number, seq);
                self.tally.acknowledged += 1;
                self.tally.ack.record_ns(crowd.now_ns().saturating_sub(intended_ns));
                self.answered(client, crowd);
            }
            Err(broken) => {
                self.ledger
                    .broken(broken, || format!("client {client}: ack of {id} in {conversation} at {seq}"));
            }
        }
    }

    fn refused(&mut self, client: u32, id: Option<&str>, code: &str, crowd: &mut Crowd) {
        *self.tally.refused.entry(code.to_owned()).or_default() += 1;
        let Some(number) = id.and_then(|id| self.ids.number(id)) else { return };
        match self.sends.refuse(number, client) {
            Ok(_) => self.answered(client, crowd),
            Err(broken) => self.ledger.broken(broken, || format!("client {client}: {code} for {number}")),
        }
    }

    fn answered(&mut self, client: u32, crowd: &mut Crowd) {
        if matches!(self.order.pace, Pace::Window(_)) {
            self.send_next(client, crowd);
        }
    }

    /// The server leaves out a part of a log: a slow reader asks for it later, another at once.
    fn lagging(&mut self, client: u32, conversation: &str, after: u64, head: u64, crowd: &mut Crowd) {
        self.tally.lags += 1;
        let number = self.plan.population.number(conversation);
        let Some((number, place)) = number.and_then(|number| Some((number, self.place(client, number)?)))
        else {
            return self.stranger(client, conversation);
        };
        self.ledger.lagging(place, after, head);
        self.fill_gap(client, number, crowd);
    }

    /// Asks for the first gap of a client in a conversation, unless it has, or reads slowly on purpose.
    fn fill_gap(&mut self, client: u32, conversation: u32, crowd: &mut Crowd) {
        let Some(place) = self.place(client, conversation) else { return };
        let waits = self.order.slow && self.plan.is_slow(client);
        let Some(gap) = self.ledger.gap(place).filter(|_| !waits && crowd.is_online(client)) else { return };
        if self.asked_ns.contains_key(&place) {
            return;
        }
        let frame = ClientFrame::History {
            reference: place.into(),
            conversation: &self.plan.population.conversation(conversation),
            range: wire::Range::After(gap.start() - 1),
            limit: Some(PAGE_EVENTS),
        };
        if crowd.send(client, &frame) {
            self.asked_ns.insert(place, crowd.now_ns());
        }
    }

    /// A page fills a gap. What lies behind the gap comes, or came, by itself.
    fn page(
        &mut self,
        client: u32,
        reference: i64,
        conversation: &str,
        events: &[Event<'_>],
        crowd: &mut Crowd,
    ) {
        let place = u32::try_from(reference).unwrap_or(u32::MAX);
        let number = self.plan.population.number(conversation);
        let asked_ns = self.asked_ns.remove(&place);
        let (Some(asked_ns), Some(number)) = (asked_ns, number) else {
            return self
                .ledger
                .broken(Broken::Unasked, || format!("client {client}: page {reference} of {conversation}"));
        };
        self.tally.page.record_ns(crowd.now_ns().saturating_sub(asked_ns));
        let gap = self.ledger.gap(place);
        let fills = |event: &&Event<'_>| gap.as_ref().is_some_and(|gap| gap.contains(&event.seq));
        let mut filled = 0;
        for event in events.iter().filter(fills) {
            if *event.conversation != *conversation {
                self.ledger.broken(Broken::Page, || {
                    format!("client {client}: {event:?} in a page of {conversation}")
                });
            }
            self.ledger.hear(place, event.seq, digest(event));
            if let Some(number) = self.ids.number(&event.id) {
                let heard = self.sends.hear(number, client, event.seq);
                heard
                    .err()
                    .into_iter()
                    .for_each(|broken| self.ledger.broken(broken, || format!("{event:?}")));
            }
            filled += 1;
        }
        self.tally.paged += filled;
        if filled == 0 {
            return self
                .ledger
                .broken(Broken::Page, || format!("client {client}: nothing of {gap:?} in a page"));
        }
        self.fill_gap(client, number, crowd);
    }
}

impl Script for Talker {
    fn begin(&mut self, crowd: &mut Crowd) {
        for client in self.clients.clone() {
            if self.plan.is_slow(client) {
                crowd.hold_little(client, SLOW_SOCKET_BYTES);
            }
            crowd.connect(client);
        }
    }

    fn directed(&mut self, step: u32, crowd: &mut Crowd) {
        let unsettled = self.sends.unanswered() + u64::from(!self.ledger.is_complete());
        let order = self.course.take(&std::mem::take(&mut self.tally), unsettled);
        self.follow(order, step, crowd);
    }

    fn welcomed(&mut self, client: u32, welcome: &ServerFrame<'_>, crowd: &mut Crowd) {
        let ServerFrame::Welcome { conversations, .. } = welcome else { return };
        for entry in conversations {
            let Some(number) = self.plan.population.number(&entry.conversation) else { continue };
            match self.place(client, number) {
                Some(place) => self.ledger.welcome(place, entry.head),
                None => self.stranger(client, &entry.conversation),
            }
            if let Some(place) = self.place(client, number) {
                // What a lost connection had asked for comes no more.
                self.asked_ns.remove(&place);
                self.fill_gap(client, number, crowd);
            }
        }
        if self.order.slow && self.plan.is_slow(client) {
            self.set_reading(client, crowd);
        }
    }

    fn heard(&mut self, client: u32, frame: Frame<'_>, crowd: &mut Crowd) {
        let spot = match self.recent.find(frame.payload) {
            Ok(heard) => return self.deliver(client, heard, crowd),
            Err(spot) => spot,
        };
        match frame.decode() {
            Ok(ServerFrame::Event(event)) => match self.look_at(&event) {
                Some(heard) => {
                    self.recent.remember(spot, frame.payload, heard);
                    self.deliver(client, heard, crowd);
                }
                None => self.stranger(client, &event.conversation),
            },
            Ok(other) => self.take(client, &other, crowd),
            Err(invalid) => {
                self.ledger.broken(Broken::Undecodable, || format!("client {client}: {invalid:?}"))
            }
        }
    }

    fn woken(&mut self, crowd: &mut Crowd) {
        while let Some(intended_ns) = self.schedule.as_mut().and_then(|schedule| schedule.due(crowd.now_ns()))
        {
            self.speak(intended_ns, crowd);
        }
        self.sleep(crowd);
    }
}
