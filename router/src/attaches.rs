//! Attaches that are not decided yet: each of its conversations may have to be loaded first.

use protocol::envelope::{AttachItem, Authority, Caller, Listed};
use protocol::error::Refusal;
use protocol::event::Role;
use protocol::id::{ConversationId, UserKey};

use crate::conversation::{AttachNumber, Place};
use crate::limits::ATTACHES_MAX;

/// What is known of one conversation of an attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing yet.
    Open,
    /// The actor is no member, or there is no such conversation.
    Stranger,
    /// A member, with this role; `detached`: its gateway shard has since said that it has no member there.
    Member {
        /// Where.
        place: Place,
        /// As what.
        role: Role,
        /// True: the answer gives no interest any more.
        detached: bool,
    },
}

/// One conversation of an attach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    /// Which.
    pub(crate) conversation: ConversationId,
    /// What the actor's chat list said of it.
    pub(crate) listed: Option<Listed>,
    /// What is known.
    pub(crate) decision: Decision,
}

/// An attach.
#[derive(Debug)]
pub(crate) struct Attach {
    /// Who asks.
    pub(crate) caller: Caller,
    /// In whose name; its tenant is that of all items.
    pub(crate) user: UserKey,
    /// By what right.
    pub(crate) authority: Authority,
    /// What it asks for, in order.
    pub(crate) items: Box<[Item]>,
    /// How many are open.
    pub(crate) open: usize,
    /// Set when one could not be decided: then nothing is attached.
    pub(crate) refused: Option<Refusal>,
    /// True: one of them is another shard's, and whoever asked was told so. Nothing is attached, and nothing more is told.
    pub(crate) misplaced: bool,
}

/// All attaches that are not decided yet.
#[derive(Debug, Default)]
pub(crate) struct Attaches {
    attaches: Vec<Option<Attach>>,
    free: Vec<AttachNumber>,
}

impl Attaches {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.attaches.len() - self.free.len()
    }

    /// Takes one; `None` when there are too many.
    pub(crate) fn begin(
        &mut self,
        caller: Caller,
        user: UserKey,
        authority: Authority,
        items: &[AttachItem],
    ) -> Option<AttachNumber> {
        if self.len() >= ATTACHES_MAX {
            return None;
        }
        let items: Box<[Item]> = items
            .iter()
            .map(|&AttachItem { conversation, listed }| Item {
                conversation,
                listed,
                decision: Decision::Open,
            })
            .collect();
        let open = items.len();
        let attach = Some(Attach { caller, user, authority, items, open, refused: None, misplaced: false });
        let Some(number) = self.free.pop() else {
            self.attaches.push(attach);
            return Some(AttachNumber((self.attaches.len() - 1) as u32));
        };
        self.attaches[number.0 as usize] = attach;
        Some(number)
    }

    /// One that was begun and not ended.
    pub(crate) fn get_mut(&mut self, number: AttachNumber) -> &mut Attach {
        self.attaches[number.0 as usize].as_mut().expect("an attach that is referred to is under way")
    }

    /// Takes it out: it is decided.
    pub(crate) fn end(&mut self, number: AttachNumber) -> Attach {
        self.free.push(number);
        self.attaches[number.0 as usize].take().expect("an attach that is referred to is under way")
    }

    /// Gives back memory that a storm took, once none is left.
    pub(crate) fn trim(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
        }
    }

    /// Asserts what must be.
    pub(crate) fn invariants(&self) {
        assert!(self.len() <= ATTACHES_MAX);
        for attach in self.attaches.iter().flatten() {
            assert!(attach.open > 0, "a decided attach is answered at once");
            let open = attach.items.iter().filter(|item| item.decision == Decision::Open).count();
            assert_eq!(attach.open, open);
        }
    }
}
