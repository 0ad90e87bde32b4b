//! A user's chat list, newest lamport first: all memberships are walked in pieces, and the best are kept.

use std::cmp::Reverse;

use protocol::event::Role;
use protocol::frame::ChatListEntry;
use protocol::id::{ConversationId, ConversationKey, UserKey};

use crate::damage::Damage;
use crate::key::{self, StoreKey};
use crate::kv::{Key, Read, Value};
use crate::request::Outcome;
use crate::value::{self, Head};

use super::fence::get;
use super::{Answers, Step};

/// Memberships read in one piece.
const PIECE: usize = 256;
/// Bytes of keys and values of one piece: more than its largest.
const PIECE_BYTES_MAX: usize = PIECE * 512;

#[derive(Debug)]
pub(super) struct Conversations {
    user: UserKey,
    after: Option<(u64, ConversationId)>,
    limit: usize,
    /// The best so far, in order: at most `limit` and one, which says that there are more.
    best: Vec<ChatListEntry>,
    /// The piece whose heads are being read.
    piece: Vec<(ConversationId, Role)>,
    /// True when that piece is not the last.
    more: bool,
}

/// The order of a chat list: newest lamport first, equal ones by id.
fn order(lamport: u64, conversation: ConversationId) -> (Reverse<u64>, ConversationId) {
    (Reverse(lamport), conversation)
}

impl Conversations {
    pub(super) fn new(user: UserKey, after: Option<(u64, ConversationId)>, limit: u16) -> Self {
        let limit = usize::from(limit.max(1));
        Self { user, after, limit, best: Vec::new(), piece: Vec::new(), more: false }
    }

    pub(super) fn begin(&mut self) -> Step {
        self.best.clear();
        self.piece.clear();
        self.read_piece(None)
    }

    fn read_piece(&self, after: Option<ConversationId>) -> Step {
        let (begin, end) = key::memberships(&self.user, after);
        Step::Read(vec![Read::Range { begin, end, limit: PIECE, bytes_max: PIECE_BYTES_MAX, reverse: false }])
    }

    fn head_key(&self, conversation: ConversationId) -> StoreKey {
        StoreKey::Head(ConversationKey { tenant: self.user.tenant, conversation })
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        if !self.piece.is_empty() {
            return self.found_heads(answers);
        }
        let (pairs, more) = answers.pairs();
        self.more = more;
        self.piece = pairs.iter().map(|pair| self.open(pair)).collect::<Result<_, _>>()?;
        if self.piece.is_empty() {
            return Ok(self.done());
        }
        let keys = self.piece.iter().flat_map(|(conversation, _)| {
            [self.head_key(*conversation), StoreKey::Read(self.user, *conversation)]
        });
        Ok(Step::Read(keys.map(|key| get(&key, false)).collect()))
    }

    fn open(&self, (key, value): &(Key, Value)) -> Result<(ConversationId, Role), Damage> {
        match StoreKey::decode(key)? {
            StoreKey::Membership(user, conversation) if user == self.user => {
                Ok((conversation, value::open_role(key, value)?))
            }
            other => Err(Damage(format!("{other}: it lies among the memberships of {}", self.user.user))),
        }
    }

    fn found_heads(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        let piece = std::mem::take(&mut self.piece);
        let last = piece.last().map(|(conversation, _)| *conversation);
        for (conversation, role) in piece {
            let key = self.head_key(conversation).encode();
            let head = answers.value().map(|found| Head::open(&key, &found)).transpose()?;
            let key = StoreKey::Read(self.user, conversation).encode();
            let read = answers.value().map(|found| value::open_number(&key, &found)).transpose()?;
            // Without a head the conversation is being removed.
            if let Some(Head { seq, lamport, .. }) = head {
                let read = read.unwrap_or(0);
                self.keep(ChatListEntry { conversation, head: seq, read, role, lamport });
            }
        }
        Ok(if self.more { self.read_piece(last) } else { self.done() })
    }

    fn keep(&mut self, entry: ChatListEntry) {
        let place = order(entry.lamport, entry.conversation);
        if self.after.is_some_and(|(lamport, conversation)| place <= order(lamport, conversation)) {
            return;
        }
        let index = self.best.partition_point(|other| order(other.lamport, other.conversation) < place);
        if index <= self.limit {
            self.best.insert(index, entry);
            self.best.truncate(self.limit + 1);
        }
    }

    fn done(&mut self) -> Step {
        let more = self.best.len() > self.limit;
        self.best.truncate(self.limit);
        Step::Done(Outcome::Conversations { entries: std::mem::take(&mut self.best), more })
    }
}
