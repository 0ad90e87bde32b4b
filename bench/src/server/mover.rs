//! A thread that moves slots of a cluster between its router shards, one at a time and in turn, while others put a load on
//! it. What that does to them is not its matter.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Api, Placement, ServerError, Shard};
use crate::report::Latency;

/// What was moved.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// Slots that a newer table gave to another owner.
    pub slots: u64,
    /// Orders that were refused or not answered, and the first of them in words.
    pub failed: u64,
    /// The first of those.
    pub first_failure: Option<String>,
    /// From an order until a table says so, of slots that moved.
    pub latency: Latency,
}

/// The running thread. Dropped, it ends after the order that is under way.
#[derive(Debug)]
pub struct Mover {
    stop: Sender<()>,
    thread: JoinHandle<Moved>,
}

impl Mover {
    /// Moves one of `slots` each `every` from now on, in turn, by the API of a router node.
    ///
    /// # Panics
    /// There is nothing to move, or the host has no room for a thread.
    #[must_use]
    pub fn start(api: Api, placement: Placement, slots: Vec<u16>, every: Duration) -> Self {
        assert!(!slots.is_empty() && placement.shards.len() > 1, "there is somewhere to move something to");
        let (stop, stopped) = channel();
        let run = move || {
            let mut tour = Tour::new(slots, placement.shards);
            let (mut moved, mut epoch) = (Moved::default(), placement.epoch);
            let begin = Instant::now();
            for turn in 1_u32.. {
                // By the clock and not after the last order: a slow one does not make them fewer.
                let wait = (begin + every * turn).saturating_duration_since(Instant::now());
                if !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
                    break;
                }
                move_next(&api, &mut tour, &mut epoch, &mut moved);
            }
            moved
        };
        let thread = thread::Builder::new().name("mover".to_owned()).spawn(run);
        Self { stop, thread: thread.expect("a host that runs a server has room for a thread") }
    }

    /// Ends it.
    ///
    /// # Panics
    /// When the thread has.
    #[must_use]
    pub fn finish(self) -> Moved {
        // It runs until this, or has panicked.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Moves the slot whose turn it is. One that was there already, which no table tells of, goes on to the next shard.
fn move_next(api: &Api, tour: &mut Tour, epoch: &mut u64, moved: &mut Moved) {
    let slot = tour.next_slot();
    for _ in 0..2 {
        let begin = Instant::now();
        match Placement::move_slot(api, slot, tour.next_shard()) {
            Ok(placement) if placement.epoch > *epoch => {
                *epoch = placement.epoch;
                moved.slots += 1;
                moved.latency.record(begin.elapsed());
                return;
            }
            Ok(_) => {}
            Err(error) => {
                moved.fail(&error);
                return;
            }
        }
    }
}

impl Moved {
    fn fail(&mut self, error: &ServerError) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| error.to_string());
    }
}

/// Slots in turn, and for each of them shards in turn.
struct Tour {
    slots: Vec<Visited>,
    shards: Vec<Shard>,
    next: usize,
    current: usize,
}

struct Visited {
    slot: u16,
    /// The place of the shard that it goes to next.
    next: usize,
}

impl Tour {
    fn new(slots: Vec<u16>, shards: Vec<Shard>) -> Self {
        // Neighbours begin at other shards: moves that follow each other go to all of them.
        let visited = |(place, slot)| Visited { slot, next: place };
        Self { slots: slots.into_iter().enumerate().map(visited).collect(), shards, next: 0, current: 0 }
    }

    fn next_slot(&mut self) -> u16 {
        self.current = self.next;
        self.next = (self.next + 1) % self.slots.len();
        self.slots[self.current].slot
    }

    /// Where the current slot goes; asked again, the one after.
    fn next_shard(&mut self) -> &Shard {
        let visited = &mut self.slots[self.current];
        let shard = &self.shards[visited.next % self.shards.len()];
        visited.next += 1;
        shard
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::Receiver;

    use serde_json::{Value, json};

    use super::*;

    fn shards() -> Vec<Shard> {
        ["a", "b", "c"].into_iter().map(|node| Shard { node: node.to_owned(), core: 0 }).collect()
    }

    #[test]
    fn every_slot_goes_to_another_shard_each_time() {
        let mut tour = Tour::new(vec![7, 8], shards());
        let visits: Vec<(u16, String)> =
            (0..6).map(|_| (tour.next_slot(), tour.next_shard().node.clone())).collect();
        let visits: Vec<(u16, &str)> = visits.iter().map(|(slot, node)| (*slot, &**node)).collect();
        assert_eq!(visits, [(7, "a"), (8, "b"), (7, "b"), (8, "c"), (7, "c"), (8, "a")]);
    }

    /// A router node that answers orders one after the other with `answer`, and tells what they were as they come.
    fn router(answer: impl Fn(&Value) -> (u16, Value) + Send + 'static) -> (Api, Receiver<Value>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = Api::new(listener.local_addr().unwrap(), "key");
        let (tell, orders) = channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(listener.accept().unwrap().0);
            while let Some(order) = read_order(&mut reader) {
                let (status, text) = answer(&order);
                let (text, _) = (text.to_string(), tell.send(order));
                let length = text.len();
                let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n");
                reader.get_mut().write_all((head + &text).as_bytes()).unwrap();
            }
        });
        (api, orders)
    }

    /// The body of the next request.
    fn read_order(reader: &mut BufReader<TcpStream>) -> Option<Value> {
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)? > 2 {
            let found = line.to_lowercase();
            let found = found.strip_prefix("content-length:").map(|text| text.trim().parse().unwrap());
            length = found.unwrap_or(length);
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        serde_json::from_slice(&body).ok()
    }

    /// What a mover did until it gave three orders, or a few more, and those.
    fn moved(answer: impl Fn(&Value) -> (u16, Value) + Send + 'static) -> (Moved, Vec<Value>) {
        let (api, orders) = router(answer);
        let placement = Placement { epoch: 5, shards: shards() };
        let mover = Mover::start(api, placement, vec![7, 8], Duration::from_millis(5));
        let first: Vec<Value> =
            (0..3).map(|_| orders.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
        let moved = mover.finish();
        (moved, first.into_iter().chain(orders.try_iter()).collect())
    }

    #[test]
    fn slots_are_ordered_away_at_their_time_and_one_that_was_there_goes_on() {
        let epoch = std::cell::Cell::new(5);
        let (moved, orders) = moved(move |order| {
            // The first slot is at the first shard already.
            epoch.set(epoch.get() + u64::from(order != &json!({ "slot": 7, "node": "a", "core": 0 })));
            (200, json!({ "epoch": epoch.get(), "nodes": [], "unowned": 0 }))
        });
        assert_eq!(orders[0], json!({ "slot": 7, "node": "a", "core": 0 }));
        assert_eq!(orders[1], json!({ "slot": 7, "node": "b", "core": 0 }));
        assert_eq!(orders[2], json!({ "slot": 8, "node": "b", "core": 0 }));
        // One of them moved nothing.
        assert_eq!((moved.slots, moved.failed), (orders.len() as u64 - 1, 0));
        assert_eq!(moved.latency.count(), moved.slots);
    }

    #[test]
    fn a_refused_order_is_told_and_does_not_end_the_others() {
        let (moved, orders) = moved(|_| (409, json!({ "error": "the node is being emptied" })));
        assert!(moved.slots == 0 && moved.failed == orders.len() as u64, "{moved:?}");
        assert!(moved.first_failure.unwrap().contains("being emptied"));
    }
}
