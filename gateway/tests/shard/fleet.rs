//! A fleet of routers under one owner's logs: each has the slots that the table gives it, is reached over its node's link or not, and
//! remembers interest and sessions for as long as it has the slot and the link.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use gateway::shard::{Completion, Settings};
use protocol::envelope::{RouterId, ToGateway, ToRouter};
use protocol::id::{ConversationKey, UserKey};
use protocol::placement::{Epoch, NodeId, RouterNode, Slot, Table, Tenure};

use crate::owner::Owner;
use crate::world::{World, settings};

/// Where each slot is, and what each router remembers.
pub(crate) struct Fleet {
    /// The newest, which the routers follow.
    pub(crate) table: Arc<Table>,
    /// Nodes whose link the gateway was told is not there: nothing may go to them.
    pub(crate) down: BTreeSet<NodeId>,
    /// Nodes whose link loses all, and nobody has noticed.
    pub(crate) cut: BTreeSet<NodeId>,
    /// Answers on their way, by link.
    pub(crate) lanes: BTreeMap<NodeId, VecDeque<ToGateway>>,
    /// Deliver nothing: tests do.
    pub(crate) held: bool,
    pub(crate) sessions: HashMap<UserKey, u64>,
    /// Sessions of which the owner was told that they are silent.
    pub(crate) silent: BTreeSet<u64>,
    pub(crate) watched: BTreeSet<UserKeyText>,
}

type UserKeyText = String;

/// A table after `before`, of these nodes with one router shard each.
pub(crate) fn table(before: &Table, nodes: &[u16], place: impl Fn(Slot) -> u16) -> Arc<Table> {
    let epoch = Epoch(before.epoch.0 + 1);
    let node = |&id: &u16| RouterNode {
        id: NodeId(id),
        name: format!("n{id}").into(),
        address: "127.0.0.1:1".parse().unwrap(),
        cores: 1,
        draining: false,
    };
    let tenure = |slot: Slot| {
        let (owner, old) = (RouterId::new(NodeId(place(slot)), 0), before.tenure(slot));
        if old.owner == owner { old } else { Tenure { owner, since: epoch } }
    };
    Arc::new(Table {
        epoch,
        nodes: nodes.iter().map(node).collect(),
        tenures: Slot::all().map(tenure).collect(),
    })
}

pub(crate) fn slot_of(conversation: &str) -> Slot {
    Slot::of_conversation(&crate::owner::key(conversation))
}

pub(crate) fn slot_of_user(user: &str) -> Slot {
    Slot::of_user(&user_key(user))
}

pub(crate) fn user_key(user: &str) -> UserKey {
    UserKey {
        tenant: protocol::id::Tenant::default_tenant(),
        user: protocol::id::UserId::parse(user).unwrap(),
    }
}

pub(crate) fn clustered() -> Settings {
    Settings { clustered: true, node: NodeId::NONE, ..settings() }
}

fn conversation_of(answer: &ToGateway) -> Option<ConversationKey> {
    match answer {
        ToGateway::Publish { conversation, .. } => Some(*conversation),
        _ => None,
    }
}

impl Fleet {
    pub(crate) fn owner(&self, slot: Slot) -> RouterId {
        self.table.owner(slot)
    }

    fn has_all(&self, router: RouterId, envelope: &ToRouter) -> bool {
        match envelope {
            ToRouter::Attach { actor, items, .. } => items.iter().all(|item| {
                let (tenant, conversation) = (actor.key.tenant, item.conversation);
                self.owner(Slot::of_conversation(&ConversationKey { tenant, conversation })) == router
            }),
            // Each of these is told on its own.
            ToRouter::Watch { .. } | ToRouter::Unwatch { .. } => true,
            _ => self.owner(envelope.slot().unwrap()) == router,
        }
    }

    fn note(&mut self, router: RouterId, envelope: &ToRouter) {
        match envelope {
            ToRouter::SessionOpen { caller, user, .. } => {
                self.sessions.insert(*user, caller.connection);
            }
            ToRouter::SessionClose { caller, user, .. } => {
                self.sessions.retain(|known, session| (known, *session) != (user, caller.connection));
            }
            ToRouter::SessionHeard { caller, heard, .. } => {
                if *heard {
                    self.silent.remove(&caller.connection);
                } else {
                    self.silent.insert(caller.connection);
                }
            }
            ToRouter::Watch { users, .. } | ToRouter::Unwatch { users, .. } => {
                for user in users.iter().filter(|user| self.table.owner(Slot::of_user(user)) == router) {
                    if matches!(envelope, ToRouter::Watch { .. }) {
                        self.watched.insert(user.user.to_string());
                    } else {
                        self.watched.remove(user.user.as_str());
                    }
                }
            }
            _ => {}
        }
    }
}

impl Owner {
    pub(crate) fn fleet(&mut self) -> &mut Fleet {
        self.fleet.as_mut().expect("a cluster")
    }

    /// One router's turn with an envelope: it answers what is its own, and says so of what is not.
    pub(crate) fn take_in_fleet(&mut self, router: RouterId, envelope: ToRouter) {
        self.sort();
        let fleet = self.fleet();
        assert!(!fleet.down.contains(&router.node()), "{envelope:?} to a node out of reach");
        let lost = fleet.cut.contains(&router.node());
        if !lost && !fleet.has_all(router, &envelope) {
            if let Some(&caller) = envelope.request() {
                self.answers.push_back(ToGateway::Misplaced { caller });
            }
        } else if !lost {
            fleet.note(router, &envelope);
            self.take_one(&envelope);
        }
        let answers: Vec<_> = self.answers.drain(..).collect();
        self.fleet().lanes.entry(router.node()).or_default().extend(answers);
        self.unanswered.push((router, envelope));
    }

    /// What was published meanwhile goes to the link of its owner.
    pub(crate) fn sort(&mut self) {
        while let Some(answer) = self.answers.pop_front() {
            let fleet = self.fleet();
            let conversation = conversation_of(&answer).expect("an event");
            let node = fleet.owner(Slot::of_conversation(&conversation)).node();
            if !fleet.cut.contains(&node) && !fleet.down.contains(&node) {
                fleet.lanes.entry(node).or_default().push_back(answer);
            }
        }
    }

    /// The next answer of any link, unless they are held.
    pub(crate) fn next_in_fleet(&mut self) -> Option<ToGateway> {
        self.sort();
        let fleet = self.fleet();
        if fleet.held {
            return None;
        }
        fleet.lanes.values_mut().find_map(VecDeque::pop_front)
    }

    /// The routers forget what they knew of these slots.
    fn forget(&mut self, which: impl Fn(Slot) -> bool) {
        for ((tenant, conversation), log) in &mut self.logs {
            let key = ConversationKey { tenant: *tenant, conversation: *conversation };
            log.interest &= !which(Slot::of_conversation(&key));
        }
        let fleet = self.fleet();
        fleet.sessions.retain(|user, _| !which(Slot::of_user(user)));
        fleet.watched.retain(|user| !which(slot_of_user(user)));
    }

    /// The routers follow another table.
    pub(crate) fn follow(&mut self, table: Arc<Table>) {
        self.sort();
        let before = std::mem::replace(&mut self.fleet().table, table);
        let after = Arc::clone(&self.fleet().table);
        self.forget(|slot| before.tenure(slot) != after.tenure(slot));
    }

    /// A link breaks, with all that is on it; the other end forgets who was here.
    pub(crate) fn cut(&mut self, node: NodeId) {
        self.sort();
        self.fleet().cut.insert(node);
        self.fleet().lanes.remove(&node);
        let table = Arc::clone(&self.fleet().table);
        self.forget(|slot| table.owner(slot).node() == node);
    }
}

impl World {
    /// A shard of a cluster of these nodes, with links to all, and each slot where `place` says.
    pub(crate) fn cluster(settings: Settings, nodes: &[u16], place: impl Fn(Slot) -> u16) -> Self {
        let mut world = Self::with_table(settings, &Table::empty());
        let table = table(&Table::empty(), nodes, place);
        world.owner.fleet = Some(Fleet {
            table: Arc::clone(&table),
            down: BTreeSet::new(),
            cut: BTreeSet::new(),
            lanes: BTreeMap::new(),
            held: false,
            sessions: HashMap::new(),
            silent: BTreeSet::new(),
            watched: BTreeSet::new(),
        });
        world.owner.fleet().down = nodes.iter().map(|&node| NodeId(node)).collect();
        world.complete(Completion::Table(table));
        for &node in nodes {
            world.up(node);
        }
        world
    }

    /// The routers, and the shard, follow a table in which slots are elsewhere.
    pub(crate) fn place(&mut self, nodes: &[u16], place: impl Fn(Slot) -> u16) {
        let table = table(&self.owner.fleet().table, nodes, place);
        self.owner.follow(Arc::clone(&table));
        self.complete(Completion::Table(table));
        self.run();
    }

    /// A node goes out of reach, and the shard is told.
    pub(crate) fn down(&mut self, node: u16) {
        self.owner.cut(NodeId(node));
        self.owner.fleet().down.insert(NodeId(node));
        self.complete(Completion::NodeDown(NodeId(node)));
        self.run();
    }

    /// There is a new link to a node.
    pub(crate) fn up(&mut self, node: u16) {
        self.owner.cut(NodeId(node));
        let fleet = self.owner.fleet();
        fleet.down.remove(&NodeId(node));
        fleet.cut.remove(&NodeId(node));
        self.complete(Completion::NodeUp(NodeId(node)));
        self.run();
    }
}
