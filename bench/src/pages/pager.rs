//! The script that reads pages: each client asks for one, checks it, and asks for the next; which, says the current cell.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Cell, Point};
use crate::chance::{Chance, mixed};
use crate::ledger::{Broken, Faults};
use crate::report::Latency;
use crate::swarm::{Crowd, Frame, Script};
use crate::wire::{ClientFrame, ServerFrame};

/// What is read, and what came of it: shared by all threads.
#[derive(Debug)]
pub struct Reading {
    /// Step n of the swarm is cell n - 1; one behind the last is silence.
    pub cells: Vec<Cell>,
    /// By cell: times of its pages.
    taken: Mutex<Vec<Latency>>,
    faults: Mutex<Faults>,
    /// Seed of all chance.
    pub seed: u64,
}

impl Reading {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(cells: Vec<Cell>, seed: u64) -> Self {
        let taken = Mutex::new(vec![Latency::new(); cells.len()]);
        Self { cells, taken, faults: Mutex::default(), seed }
    }

    /// Times of the pages of a cell that is over.
    #[must_use]
    pub fn latency(&self, cell: usize) -> Latency {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)[cell].clone()
    }

    /// What was wrong.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn broken(&self, broken: Broken, words: impl FnOnce() -> String) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).add(broken, words);
    }
}

/// Reads pages.
#[derive(Debug)]
pub struct Pager {
    reading: Arc<Reading>,
    clients: Range<u32>,
    cell: Option<usize>,
    latency: Latency,
    chance: Chance,
    /// By client: the cell, the point and the time of what it asked for last.
    asked: HashMap<u32, (usize, Point, u64)>,
}

impl Pager {
    /// The script of these clients.
    #[must_use]
    pub fn new(reading: Arc<Reading>, clients: Range<u32>) -> Self {
        let chance = Chance::new(reading.seed ^ mixed(u64::from(clients.start)));
        Self { reading, clients, cell: None, latency: Latency::new(), chance, asked: HashMap::new() }
    }

    fn ask(&mut self, client: u32, crowd: &mut Crowd) {
        let Some((number, cell)) = self.cell.and_then(|cell| Some((cell, self.reading.cells.get(cell)?)))
        else {
            return;
        };
        let point = cell.points[self.chance.below(cell.points.len() as u64) as usize];
        let frame = ClientFrame::History {
            reference: client.into(),
            conversation: &cell.conversation,
            range: cell.range(point),
            limit: Some(cell.limit),
        };
        if crowd.send(client, &frame) {
            self.asked.insert(client, (number, point, crowd.now_ns()));
        }
    }

    fn check(&mut self, client: u32, page: &ServerFrame<'_>, crowd: &Crowd) {
        let ServerFrame::Page { reference, events, head, more, .. } = page else { return };
        let Some((number, point, asked_ns)) =
            self.asked.remove(&client).filter(|_| *reference == i64::from(client))
        else {
            return self.reading.broken(Broken::Unasked, || format!("client {client}: page {reference}"));
        };
        let cell = &self.reading.cells[number];
        if let Some(fault) = cell.fault(point, events, *head, *more) {
            let seqs = events.first().zip(events.last()).map(|(first, last)| (first.seq, last.seq));
            self.reading.broken(Broken::Page, || {
                format!("{} {:?} of {}: {fault}: {seqs:?}", cell.ask.name(), point, cell.conversation)
            });
        }
        if Some(number) == self.cell {
            self.latency.record_ns(crowd.now_ns().saturating_sub(asked_ns));
        }
    }
}

impl Script for Pager {
    fn begin(&mut self, crowd: &mut Crowd) {
        self.clients.clone().for_each(|client| crowd.connect(client));
    }

    fn directed(&mut self, step: u32, crowd: &mut Crowd) {
        let latency = std::mem::take(&mut self.latency);
        if let Some(cell) = self.cell {
            let mut taken = self.reading.taken.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(sum) = taken.get_mut(cell) {
                sum.merge(&latency);
            }
        }
        self.cell = step.checked_sub(1).map(|cell| cell as usize);
        for client in
            self.clients.clone().filter(|client| !self.asked.contains_key(client)).collect::<Vec<_>>()
        {
            self.ask(client, crowd);
        }
    }

    fn heard(&mut self, client: u32, frame: Frame<'_>, crowd: &mut Crowd) {
        match frame.decode() {
            Ok(page @ ServerFrame::Page { .. }) => {
                self.check(client, &page, crowd);
                self.ask(client, crowd);
            }
            Ok(ServerFrame::Error { code, message, .. }) => {
                self.reading.broken(Broken::Page, || format!("client {client}: {code}: {message}"));
                self.asked.remove(&client);
                self.ask(client, crowd);
            }
            Ok(_) => {}
            Err(invalid) => {
                self.reading.broken(Broken::Undecodable, || format!("client {client}: {invalid:?}"))
            }
        }
    }
}
