//! A conversation and everything of it goes away. The first commit makes it vanish for everybody; the rest is cleared
//! in bounded commits, and a note in the store says so until all is done, so that a crash in between loses no step:
//!
//! ```text
//! hide: meta := removed, head cleared, note set ─► members and their side, piece by piece ─► the rest, piece by piece
//!   ─► meta and note cleared
//! ```
//!
//! An engine that clears a range of any size in one go ([`Clears::Whole`]) clears the rest in one commit, unread.
//!
//! While the note stands, nobody can create the conversation anew: `create.rs` finishes the removal first. So nothing
//! of an old life, no client id and no cursor, is seen in a new one; its seqs begin at 1 again.

use protocol::id::{ConversationKey, UserId, UserKey};

use crate::damage::Damage;
use crate::key::{self, StoreKey};
use crate::kv::{Key, Read};
use crate::request::{Epoch, Outcome};
use crate::value::{self, Meta};

use super::commit::Commit;
use super::fence::{Fence, fenced, get};
use super::members;
use super::{Answers, Step};

/// Members cleared in one commit.
const MEMBERS_PIECE: usize = 200;
/// Keys cleared in one commit where they are cleared in pieces, and bytes read for it.
const KEYS_PIECE: usize = 1_000;
const BYTES_PIECE: usize = 1024 * 1024;

/// How an engine clears a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clears {
    /// Key by key: a large range is cleared in pieces, so that a commit has a bound.
    Pieces,
    /// In one go, whatever its size.
    Whole,
}

#[derive(Debug)]
pub(super) struct Remove {
    of: ConversationKey,
    clears: Clears,
    fence: Fence,
    phase: Phase,
    /// Where it goes on when the commit that is under way has happened.
    next: Phase,
    /// It was there when this request began.
    existed: bool,
    members: Vec<UserId>,
}

/// What the commit that is being prepared will clear.
#[derive(Clone, Debug)]
enum Phase {
    /// Nothing: it hides the conversation.
    Hide,
    /// Members with larger ids than this.
    Members(Option<UserId>),
    /// Keys from this one on.
    Rest(Key),
    /// The last of it.
    Note,
    /// Nothing more.
    End,
}

impl Remove {
    pub(super) fn new(epoch: Epoch, of: ConversationKey, clears: Clears) -> Self {
        let fence = Fence::new(epoch, std::iter::once(&of));
        Self { of, clears, fence, phase: Phase::Hide, next: Phase::Hide, existed: false, members: Vec::new() }
    }

    /// Reads for the next commit. Also after one that failed: it may have happened, and is made again.
    pub(super) fn begin(&mut self) -> Step {
        let mut reads: Vec<Read> = self.fence.reads().collect();
        reads.push(get(&StoreKey::Meta(self.of), true));
        match &self.phase {
            Phase::Hide | Phase::Note | Phase::End => {}
            Phase::Rest(_) if self.clears == Clears::Whole => {}
            Phase::Members(after) => reads.push(members::read(&self.of, *after, MEMBERS_PIECE)),
            Phase::Rest(begin) => reads.push(Read::Range {
                begin: begin.clone(),
                end: key::all_but_meta(&self.of).1,
                limit: KEYS_PIECE,
                bytes_max: BYTES_PIECE,
                reverse: false,
            }),
        }
        Step::Read(reads)
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        if !self.fence.holds(&mut answers)? {
            return Ok(fenced());
        }
        let key = StoreKey::Meta(self.of).encode();
        let meta = answers.value().map(|found| Meta::open(&key, &found)).transpose()?;
        match (meta, &self.phase) {
            (None, _) => Ok(self.done()),
            (Some(Meta::Alive { .. }), Phase::Hide) => Ok(self.hide()),
            // Somebody else finished the removal, and the conversation was created anew.
            (Some(Meta::Alive { .. }), _) => Ok(self.done()),
            (Some(Meta::Removed), Phase::Hide) => {
                self.phase = Phase::Members(None);
                Ok(self.begin())
            }
            (Some(Meta::Removed), Phase::Members(_)) => self.clear_members(&mut answers),
            (Some(Meta::Removed), Phase::Rest(_)) if self.clears == Clears::Whole => {
                Ok(self.clear_whole_rest())
            }
            (Some(Meta::Removed), Phase::Rest(_)) => Ok(self.clear_rest(&mut answers)),
            (Some(Meta::Removed), Phase::Note | Phase::End) => Ok(self.clear_note()),
        }
    }

    fn hide(&mut self) -> Step {
        self.existed = true;
        self.next = Phase::Members(None);
        let mut commit = Commit::default();
        commit.set(&StoreKey::Meta(self.of), |key| Meta::Removed.seal(key));
        commit.set(&StoreKey::Removal(self.of), |key| value::seal_nothing(key));
        commit.clear(&StoreKey::Head(self.of));
        commit.step()
    }

    fn clear_members(&mut self, answers: &mut Answers) -> Result<Step, Damage> {
        let (pairs, _) = answers.pairs();
        let Some((last, _)) = pairs.last() else {
            self.phase = Phase::Rest(key::all_but_meta(&self.of).0);
            return Ok(self.begin());
        };
        let mut commit = Commit::default();
        commit.clear_range((pairs[0].0.clone(), key::behind(last.clone())));
        for pair in &pairs {
            let user = members::open(&self.of, pair)?.user;
            let of_user = UserKey { tenant: self.of.tenant, user };
            commit.clear(&StoreKey::Membership(of_user, self.of.conversation));
            commit.clear(&StoreKey::Read(of_user, self.of.conversation));
            self.note_member(user);
        }
        self.next = Phase::Members(self.members.last().copied());
        Ok(commit.step())
    }

    /// Remembers whose chat lists the conversation is taken from. A piece that is cleared again names nobody twice.
    fn note_member(&mut self, user: UserId) {
        if self.members.last().is_none_or(|last| *last < user) {
            self.members.push(user);
        }
    }

    fn clear_rest(&mut self, answers: &mut Answers) -> Step {
        let (pairs, _) = answers.pairs();
        let (Some((first, _)), Some((last, _))) = (pairs.first(), pairs.last()) else {
            self.phase = Phase::Note;
            return self.clear_note();
        };
        let end = key::behind(last.clone());
        let mut commit = Commit::default();
        commit.clear_range((first.clone(), end.clone()));
        self.next = Phase::Rest(end);
        commit.step()
    }

    fn clear_whole_rest(&mut self) -> Step {
        let mut commit = Commit::default();
        commit.clear_range(key::all_but_meta(&self.of));
        self.next = Phase::Note;
        commit.step()
    }

    fn clear_note(&mut self) -> Step {
        self.next = Phase::End;
        let mut commit = Commit::default();
        commit.clear(&StoreKey::Meta(self.of));
        commit.clear(&StoreKey::Removal(self.of));
        commit.step()
    }

    pub(super) fn committed(&mut self) -> Step {
        self.phase = self.next.clone();
        match self.phase {
            Phase::End => self.done(),
            _ => self.begin(),
        }
    }

    fn done(&mut self) -> Step {
        Step::Done(Outcome::Removed { existed: self.existed, members: std::mem::take(&mut self.members) })
    }
}
