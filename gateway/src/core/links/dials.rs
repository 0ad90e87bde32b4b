//! Whom a core dials, where and when: every router node of the table but its own, and whoever the configuration names as long
//! as no router node has told a table. Dials nobody itself; what is said over a link is not its affair.

use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use protocol::placement::{NodeId, Table};
use ring::token::Token;

use crate::link::{Backoff, Link, Reason};

/// When a dial that found no room in the ring is tried again, in milliseconds.
const NO_ROOM_MS: u64 = 500;

/// Which of them; never used again.
pub(super) type Number = u32;

/// How far a link is.
#[derive(Debug)]
enum State {
    /// Dialled not before then.
    Waiting(u64),
    Dialling,
    Linked(Token, Box<Link>),
}

/// A router node that is dialled.
#[derive(Debug)]
pub(super) struct Dialled {
    address: SocketAddr,
    /// Who is there: by the table, or by its own word.
    node: Option<NodeId>,
    /// The configuration names it: it is asked again when nobody else is there.
    is_named: bool,
    /// It was not to be found there the last time: the table's word counts.
    is_elsewhere: bool,
    state: State,
    backoff: Backoff,
    /// The last reason that was told of, so that the same is not told again and again.
    told: Option<Reason>,
    /// It is in the list of links that something was done with.
    pub(super) is_touched: bool,
}

impl Dialled {
    /// Its address, as far as anybody has told.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who is wanted, or known to be there.
    pub(super) const fn node(&self) -> Option<NodeId> {
        self.node
    }

    pub(super) fn linked(&self) -> Option<(Token, &Link)> {
        match &self.state {
            State::Linked(token, link) => Some((*token, link)),
            State::Waiting(_) | State::Dialling => None,
        }
    }

    pub(super) fn linked_mut(&mut self) -> Option<(Token, &mut Link)> {
        match &mut self.state {
            State::Linked(token, link) => Some((*token, link)),
            State::Waiting(_) | State::Dialling => None,
        }
    }
}

/// What came of a link's, or a dial's, end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    /// Where it was.
    pub(super) address: SocketAddr,
    /// The router node that is not reached any more.
    pub(super) down: Option<NodeId>,
    /// It ended for the same reason as the last time, or it was this node itself: not worth telling.
    pub(super) is_old: bool,
    /// The configuration's address did not answer: perhaps its name has another by now.
    pub(super) is_doubtful: bool,
}

/// All whom a core dials.
#[derive(Debug)]
pub(super) struct Dials {
    own: NodeId,
    seed: u64,
    dialled: HashMap<Number, Dialled, foldhash::fast::FixedState>,
    next: Number,
    /// The links to router nodes that are ready.
    ready: HashMap<NodeId, Number, foldhash::fast::FixedState>,
    table: Arc<Table>,
    /// Nobody is to be dialled before then.
    due_ms: Option<u64>,
}

impl Dials {
    /// Nobody yet. `seed` spreads those who lost the same peer.
    pub(super) fn new(own: NodeId, seed: u64) -> Self {
        let (dialled, ready, table) = (HashMap::default(), HashMap::default(), Arc::new(Table::empty()));
        Self { own, seed, dialled, next: 0, ready, table, due_ms: None }
    }

    pub(super) fn get(&self, number: Number) -> Option<&Dialled> {
        self.dialled.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: Number) -> Option<&mut Dialled> {
        self.dialled.get_mut(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Dialled> {
        self.dialled.values()
    }

    /// How many router nodes are linked.
    pub(super) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// The numbers of the links that are ready.
    pub(super) fn ready_numbers(&self) -> impl Iterator<Item = Number> {
        self.ready.values().copied()
    }

    /// The link to a router node, when it is ready.
    pub(super) fn of_node(&mut self, node: NodeId) -> Option<(Number, &mut Dialled)> {
        let number = *self.ready.get(&node)?;
        self.dialled.get_mut(&number).map(|dialled| (number, dialled))
    }

    /// When somebody is to be dialled, in milliseconds of the monotonic clock.
    pub(super) const fn deadline(&self) -> Option<u64> {
        self.due_ms
    }

    /// Whom to dial now, if anybody; it counts as being dialled.
    pub(super) fn next_due(&mut self, now_ms: u64) -> Option<(Number, SocketAddr)> {
        if self.due_ms.is_none_or(|due_ms| due_ms > now_ms) {
            return None;
        }
        let waiting = self.dialled.iter().filter_map(|(number, dialled)| match dialled.state {
            State::Waiting(due_ms) if !self.is_left_alone(dialled) => Some((due_ms, *number)),
            State::Waiting(_) | State::Dialling | State::Linked(..) => None,
        });
        let first = waiting.min();
        self.due_ms = first.map(|(due_ms, _)| due_ms);
        let (_, number) = first.filter(|(due_ms, _)| *due_ms <= now_ms)?;
        let dialled = self.dialled.get_mut(&number)?;
        let told = dialled.node.and_then(|node| self.table.node(node)).map(|node| node.address);
        let told = told.filter(|_| dialled.is_elsewhere || !dialled.is_named);
        dialled.state = State::Dialling;
        Some((number, told.unwrap_or(dialled.address)))
    }

    /// It needs no dialling: it is this node, it was reached by another address, or nobody knows yet who it is and somebody is
    /// linked who tells. Whatever changes that sets `due_ms`.
    fn is_left_alone(&self, dialled: &Dialled) -> bool {
        match dialled.node {
            Some(node) => node == self.own || self.ready.contains_key(&node),
            None => !self.ready.is_empty(),
        }
    }

    /// There was no room for a dial.
    pub(super) fn put_off(&mut self, number: Number, now_ms: u64) {
        self.wait(number, now_ms + NO_ROOM_MS);
    }

    /// Somebody answered, whoever it is.
    pub(super) fn connected(&mut self, number: Number, token: Token, link: Link) {
        if let Some(dialled) = self.dialled.get_mut(&number) {
            dialled.state = State::Linked(token, Box::new(link));
        }
    }

    /// The peer has proved who it is; false when that is this node, or one that is linked already.
    pub(super) fn proved(&mut self, number: Number, node: NodeId, now_ms: u64) -> bool {
        let Some(dialled) = self.dialled.get_mut(&number) else { return false };
        dialled.node = Some(node);
        dialled.told = None;
        dialled.backoff.ready(now_ms);
        if node == self.own || self.ready.contains_key(&node) {
            return false;
        }
        self.ready.insert(node, number);
        true
    }

    /// A link is over, or a dial has failed: dialled again later, unless nobody names it any more.
    pub(super) fn over(&mut self, number: Number, reason: Reason, now_ms: u64) -> Option<Over> {
        let down = self.ready.iter().find(|(_, ready)| **ready == number).map(|(node, _)| *node);
        if let Some(node) = down {
            self.ready.remove(&node);
            self.due_ms = Some(0);
        }
        let dialled = self.dialled.get_mut(&number)?;
        let due_ms = dialled.backoff.ended(now_ms);
        // Where it was found it is looked for first.
        dialled.is_elsewhere ^= down.is_none();
        let is_own = dialled.node == Some(self.own);
        let is_old = dialled.told.replace(reason) == Some(reason) || is_own;
        let (address, is_doubtful) = (dialled.address, dialled.is_named);
        let is_reached = dialled.node.is_some_and(|node| self.ready.contains_key(&node));
        let is_of_table = dialled.node.is_some_and(|node| self.table.node(node).is_some()) && !is_reached;
        // At its address is another node by now: its own table may be from before that, and nobody else may be left to tell.
        let is_other = matches!(reason, Reason::OtherNode(_));
        let gives_up = dialled.is_named && (!is_of_table && !is_reached || is_other) && !is_own;
        let given_up = dialled.node.take_if(|_| gives_up);
        if dialled.is_named || is_of_table {
            self.wait(number, due_ms);
        } else {
            self.dialled.remove(&number);
        }
        if let Some(node) = given_up {
            self.look_for(node, address);
        }
        Some(Over { address, down, is_old, is_doubtful })
    }

    /// A node is not at a named address: if the table has it at another one, it is dialled there.
    fn look_for(&mut self, node: NodeId, not_at: SocketAddr) {
        let told = self.table.node(node).map(|node| node.address).filter(|told| *told != not_at);
        let is_dialled = self.dialled.values().any(|dialled| dialled.node == Some(node));
        if let Some(told) = told.filter(|_| !is_dialled) {
            self.add(told, Some(node), false);
            self.due_ms = Some(0);
        }
    }

    /// These are the addresses that the configuration names now.
    pub(super) fn follow_seeds(&mut self, seeds: &[SocketAddr]) {
        let table = Arc::clone(&self.table);
        self.dialled.retain(|_, dialled| {
            dialled.is_named = seeds.contains(&dialled.address);
            let is_of_table = dialled.node.is_some_and(|node| table.node(node).is_some());
            dialled.is_named || is_of_table || !matches!(dialled.state, State::Waiting(_))
        });
        for seed in seeds {
            if !self.dialled.values().any(|dialled| dialled.address == *seed) {
                self.add(*seed, None, true);
            }
        }
        self.due_ms = Some(0);
    }

    /// A table came: whoever is not there any more is not dialled. The links of these are to be ended.
    pub(super) fn let_go(&mut self, table: &Arc<Table>) -> Vec<Number> {
        self.table = Arc::clone(table);
        let (own, mut linked) = (self.own, Vec::new());
        self.dialled.retain(|&number, dialled| {
            if dialled.node.is_none_or(|node| node == own || table.node(node).is_some()) {
                return true;
            }
            match dialled.state {
                State::Linked(..) => linked.push(number),
                State::Waiting(_) if !dialled.is_named => return false,
                State::Waiting(_) | State::Dialling => dialled.node = None,
            }
            true
        });
        linked
    }

    /// A table came, and those of the last that are not there any more were let go: whoever is new in it is dialled. The links
    /// of these are to be ended: their nodes are elsewhere.
    pub(super) fn take_in(&mut self, table: &Arc<Table>) -> Vec<Number> {
        let (own, mut moved) = (self.own, Vec::new());
        for node in table.nodes.iter().filter(|node| node.id != own) {
            let is_there = |(_, dialled): &(&Number, &mut Dialled)| {
                dialled.node == Some(node.id) || dialled.node.is_none() && dialled.address == node.address
            };
            let Some((&number, dialled)) = self.dialled.iter_mut().find(is_there) else {
                self.add(node.address, Some(node.id), false);
                continue;
            };
            dialled.node = Some(node.id);
            if dialled.address != node.address && !dialled.is_named {
                dialled.address = node.address;
                // Whoever is at the old address is the node no more.
                if dialled.linked().is_some() {
                    moved.push(number);
                }
            }
        }
        self.due_ms = Some(0);
        moved
    }

    /// One more to dial, at once.
    fn add(&mut self, address: SocketAddr, node: Option<NodeId>, is_named: bool) {
        let number = self.next;
        self.next += 1;
        let dialled = Dialled {
            address,
            node,
            is_named,
            is_elsewhere: false,
            state: State::Waiting(0),
            backoff: Backoff::new(self.seed ^ u64::from(number)),
            told: None,
            is_touched: false,
        };
        self.dialled.insert(number, dialled);
    }

    fn wait(&mut self, number: Number, due_ms: u64) {
        if let Some(dialled) = self.dialled.get_mut(&number) {
            dialled.state = State::Waiting(due_ms);
            self.due_ms = Some(self.due_ms.map_or(due_ms, |earlier| earlier.min(due_ms)));
        }
    }
}

#[cfg(test)]
mod tests;
