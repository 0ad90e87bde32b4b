//! How a client comes online: dial, upgrade, `hello`, `welcome`.

use std::time::Duration;

use ring::Ring;
use ring::dial::Dial;
use ring::operation::Operation;

use super::client::{State, flag};
use super::script::Script;
use super::{Crowd, Departure, name};
use crate::options::Subprotocol;
use crate::wire::{self, ClientFrame, Key, ServerFrame};

/// How long a dial may take; the kernel asks again after 1, 3, 7 and 15 s when a backlog is full.
const DIAL_PATIENCE: Duration = Duration::from_secs(20);
/// How long all of it may take, in nanoseconds.
const PATIENCE_NS: u64 = 60_000_000_000;

impl Crowd {
    /// Dials for those whose turn it is.
    pub(super) fn dial(&mut self, ring: &mut Ring) {
        while let Some(place) = self.queue.pop_front() {
            let place = place as usize;
            let client = &mut self.clients[place];
            client.clear(flag::QUEUED);
            if client.state != State::Away || !client.has(flag::WANTED) {
                continue;
            }
            if !self.shared.connecting.take() {
                client.set(flag::QUEUED);
                self.queue.push_front(place as u32);
                break;
            }
            let dials = client.dials;
            let dial = Dial {
                target: self.settings.targets[self.target(place, dials)],
                source: self.sources.next(),
                timeout: DIAL_PATIENCE,
                receive_buffer_bytes: self.socket_bytes.get(&(place as u32)).copied(),
            };
            let token = ring.dial(&dial);
            let client = &mut self.clients[place];
            let Some(token) = token else {
                self.shared.connecting.give_back();
                client.set(flag::QUEUED);
                self.queue.push_front(place as u32);
                break;
            };
            client.state = State::Dialling;
            client.dials = client.dials.wrapping_add(1);
            client.began_ns = self.now_ns;
            self.timers.set_deadline(self.now_ns + PATIENCE_NS, place as u32, client.dials);
            self.counters.connecting += 1;
            self.counters.dialled += 1;
            self.seat(place, token);
        }
        let clients = &self.clients;
        self.timers.trim_deadlines(|place, dial| {
            let client = &clients[place as usize];
            client.dials != dial || !client.state.is_connecting()
        });
    }

    /// Which of the targets a client dials that has dialled so often before.
    fn target(&self, place: usize, dials: u32) -> usize {
        let turn = if self.settings.roams { u64::from(dials) } else { 0 };
        let client = u64::from(self.first) + place as u64;
        ((client + turn) % self.settings.targets.len() as u64) as usize
    }

    /// Asks for the upgrade; with a ticket at hand, `hello` says who this is, and a token is not needed.
    pub(super) fn connected(&mut self, place: usize) {
        self.clients[place].state = State::Upgrading;
        let needs_token = !self.settings.is_plain && self.ticket(place).is_none();
        let token = needs_token.then(|| self.signer.sign(&name::user(self.first + place as u32)));
        let key = self.key(place);
        // Counted when it was dialled.
        let dials = self.clients[place].dials.wrapping_sub(1);
        let (host, subprotocol) = (&self.hosts[self.target(place, dials)], self.offered());
        let packet =
            self.pool.packet(|out| wire::write_request(host, subprotocol, token.as_deref(), key, out));
        self.operations.push(Operation::Receive(self.clients[place].token));
        self.send_at_once(place, packet);
    }

    /// Takes bytes of the response; gives those behind it, once it is whole.
    pub(super) fn upgraded<'a>(
        &mut self,
        place: usize,
        bytes: &'a [u8],
        script: &mut impl Script,
    ) -> Option<&'a [u8]> {
        let mut response = self.responses.remove(&(place as u32)).unwrap_or_default();
        let before = response.len();
        let whole = if before == 0 {
            bytes
        } else {
            response.extend_from_slice(bytes);
            &response
        };
        match wire::read_response(whole, self.offered(), self.key(place)) {
            Ok(Some(upgraded)) => {
                if self.settings.is_plain {
                    self.is_online_now(place);
                    script.joined(self.first + place as u32, self);
                } else {
                    self.greet(place);
                }
                Some(&bytes[upgraded.response_bytes - before..])
            }
            Ok(None) => {
                let whole = whole.to_vec();
                self.responses.insert(place as u32, whole);
                None
            }
            Err(refused) => {
                self.depart(place, Departure::Upgrade(refused), script);
                None
            }
        }
    }

    fn greet(&mut self, place: usize) {
        self.clients[place].state = State::Greeting;
        let resume = self.tickets.as_ref().and_then(|tickets| tickets.get(place));
        let hello = ClientFrame::Hello { device: name::DEVICE, token: None, resume, cursors: &[] };
        let mask = self.masks.key();
        let packet = self.pool.packet(|out| wire::encode(self.settings.subprotocol, &hello, mask, out));
        self.send_at_once(place, packet);
    }

    /// What a client hears before it is online; `welcome`, or why not.
    pub(super) fn greeted(&mut self, place: usize, payload: &[u8], script: &mut impl Script) {
        match wire::decode(self.settings.subprotocol, payload) {
            Ok(welcome @ ServerFrame::Welcome { .. }) => self.welcomed(place, &welcome, script),
            Ok(ServerFrame::Goaway { reconnect_after_ms, .. }) => self.told(place, reconnect_after_ms),
            // The close that follows says the same.
            Ok(ServerFrame::Error { .. }) => {}
            Ok(_) | Err(_) => self.depart(place, Departure::Frame, script),
        }
    }

    fn welcomed(&mut self, place: usize, welcome: &ServerFrame<'_>, script: &mut impl Script) {
        if let (ServerFrame::Welcome { resume, .. }, Some(tickets)) = (welcome, &mut self.tickets) {
            tickets.put(place, resume);
        }
        self.is_online_now(place);
        script.welcomed(self.first + place as u32, welcome, self);
    }

    fn is_online_now(&mut self, place: usize) {
        let client = &mut self.clients[place];
        client.state = State::Online;
        client.tries = 0;
        client.clear(flag::TOLD);
        self.latencies.record_ns(self.now_ns - client.began_ns);
        self.end_connecting();
        self.counters.online += 1;
        self.counters.welcomed += 1;
    }

    /// The subprotocol of the upgrade.
    fn offered(&self) -> Option<Subprotocol> {
        (!self.settings.is_plain).then_some(self.settings.subprotocol)
    }

    fn ticket(&self, place: usize) -> Option<&str> {
        self.tickets.as_ref()?.get(place)
    }

    fn key(&self, place: usize) -> Key {
        let client = u64::from(self.first + place as u32);
        Key::new(self.settings.seed, client << 32 | u64::from(self.clients[place].dials))
    }
}
