//! One connection as its client sees it: where each conversation's stream stands, and which requests wait for answers.

use std::collections::BTreeMap;

use protocol::frame::Range;
use protocol::id::{ClientId, ConversationId, ConversationKey, DeviceId, UserKey};

use super::log::Log;
use super::{Violation, key_of};
use crate::asked::Asked;
use crate::coverage::{Coverage, Mark};
use crate::told::{Content, ToldEntry, ToldEvent};

/// A send that waits for its ack.
#[derive(Debug)]
pub(super) struct PendingSend {
    pub(super) conversation: ConversationId,
    pub(super) content: Content,
    pub(super) ephemeral: bool,
    /// Where the log ended when it was sent, if the conversation was there.
    pub(super) head: Option<u64>,
    /// Which of the connection's sends it is.
    pub(super) order: u64,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) enum Request {
    /// A page.
    History {
        conversation: ConversationId,
        range: Range,
        limit: u16,
        /// What others had been told of when it was asked.
        told: u64,
        /// Where the log ended when it was asked, if the conversation was there.
        head: Option<u64>,
    },
    /// Pages: the cursors still to come, and how many were refused.
    Sync { cursors: BTreeMap<ConversationId, u64>, limit: u16, refused: usize },
    /// A chat list.
    Conversations,
    /// A pong.
    Ping,
}

/// One connection.
#[derive(Debug)]
pub(super) struct View {
    pub(super) user: UserKey,
    device: DeviceId,
    cursors: BTreeMap<ConversationId, u64>,
    positions: BTreeMap<ConversationId, u64>,
    pub(super) sends: BTreeMap<ClientId, PendingSend>,
    pub(super) requests: BTreeMap<i64, Request>,
    /// By conversation: the sends that were stored as new, by their order, and where.
    pub(super) stored: BTreeMap<ConversationId, BTreeMap<u64, u64>>,
    sent: u64,
    refreshes: usize,
    welcomed: bool,
}

impl View {
    pub(super) fn new(user: UserKey, device: DeviceId) -> Self {
        Self {
            user,
            device,
            cursors: BTreeMap::new(),
            positions: BTreeMap::new(),
            sends: BTreeMap::new(),
            requests: BTreeMap::new(),
            stored: BTreeMap::new(),
            sent: 0,
            refreshes: 0,
            welcomed: false,
        }
    }

    /// What waits for an answer, in words.
    pub(super) fn waiting(&self) -> String {
        format!("{:?}, {:?}, {} refreshes", self.sends.keys(), self.requests, self.refreshes)
    }

    pub(super) fn unanswered(&self) -> usize {
        self.sends.len() + self.requests.len() + self.refreshes
    }

    /// A newer token was taken.
    pub(super) fn refreshed(&mut self) {
        self.refreshes = self.refreshes.saturating_sub(1);
    }

    pub(super) fn position(&self, conversation: ConversationId) -> Option<u64> {
        self.positions.get(&conversation).copied()
    }

    /// The client asks something.
    pub(super) fn ask(&mut self, asked: &Asked, logs: &BTreeMap<ConversationKey, Log>) {
        let log = |conversation: ConversationId| logs.get(&key_of(self.user, conversation));
        match asked {
            Asked::Hello { cursors, .. } => self.cursors = cursors.iter().copied().collect(),
            Asked::Send { id, conversation, content, ephemeral } => {
                let head = log(*conversation).and_then(Log::known_head);
                self.sent += 1;
                let pending = PendingSend {
                    conversation: *conversation,
                    content: content.clone(),
                    ephemeral: *ephemeral,
                    head,
                    order: self.sent,
                };
                let twice = self.sends.insert(*id, pending);
                assert!(twice.is_none(), "a client has an id under way once a connection");
            }
            Asked::History { reference, conversation, range, limit } => {
                let (told, head) = log(*conversation).map_or((0, None), |log| (log.told(), log.known_head()));
                let request = Request::History {
                    conversation: *conversation,
                    range: *range,
                    limit: *limit,
                    told,
                    head,
                };
                self.requests.insert(*reference, request);
            }
            Asked::Sync { reference, cursors, limit } => {
                let cursors = cursors.iter().copied().collect();
                self.requests.insert(*reference, Request::Sync { cursors, limit: *limit, refused: 0 });
            }
            Asked::Conversations { reference, .. } => {
                self.requests.insert(*reference, Request::Conversations);
            }
            Asked::Ping(reference) => {
                self.requests.insert(*reference, Request::Ping);
            }
            Asked::Refresh(_) => self.refreshes += 1,
            Asked::Received(..)
            | Asked::Read(..)
            | Asked::Typing(..)
            | Asked::Watch(_)
            | Asked::Unwatch(_) => {}
        }
    }

    /// `welcome` says where every stream begins: at the cursor, or at the head.
    pub(super) fn welcome(
        &mut self,
        entries: &[ToldEntry],
        logs: &BTreeMap<ConversationKey, Log>,
    ) -> Result<(), Violation> {
        if std::mem::replace(&mut self.welcomed, true) {
            return Err(Violation::new("one welcome", format!("{:?} {:?}", self.user, self.device)));
        }
        for entry in entries {
            let log = &logs[&key_of(self.user, entry.conversation)];
            if !log.may_see(self.user.user, 0) {
                return Err(Violation::new("strangers see nothing", format!("{:?}: {entry:?}", self.user)));
            }
            if entry.head > log.head() {
                let details = format!("{:?}: {entry:?}, the synced log ends at {}", self.user, log.head());
                return Err(Violation::new("persist, then publish", details));
            }
            let cursor = self.cursors.get(&entry.conversation).copied().unwrap_or(entry.head);
            self.positions.insert(entry.conversation, cursor.min(entry.head));
        }
        Ok(())
    }

    /// A live event: exactly the one behind the last.
    pub(super) fn event(
        &mut self,
        event: &ToldEvent,
        logs: &mut BTreeMap<ConversationKey, Log>,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        let user = self.user;
        let log = logs.get_mut(&key_of(user, event.conversation)).expect("mentioned");
        let violation =
            |promise, why: String| Err(Violation::new(promise, format!("{user:?}: {why}: {event:?}")));
        if !self.welcomed {
            return violation("welcome first", "an event before the welcome".into());
        }
        if log.at(event.seq) != Some(event) {
            return violation("persist, then deliver", format!("the synced log has {:?}", log.at(event.seq)));
        }
        if !log.may_see(user.user, event.seq) {
            return violation("strangers see nothing", "not a member at that time".into());
        }
        let last = self.position(event.conversation);
        let next = last.is_some_and(|last| event.seq == last + 1);
        if !next && !log.joined_at(user.user, last, event.seq) {
            return violation("dense order", format!("comes after {last:?}"));
        }
        coverage.hit(Mark::DurableChecked);
        coverage.hit(Mark::EventDelivered);
        if self.cursors.get(&event.conversation).is_some_and(|cursor| event.seq == cursor + 1) {
            coverage.hit(Mark::EventResumed);
        }
        self.positions.insert(event.conversation, event.seq);
        log.tell(event.seq);
        Ok(())
    }

    /// The stream goes on at `head`; what lies between is the client's to sync.
    pub(super) fn lagging(
        &mut self,
        conversation: ConversationId,
        after: u64,
        head: u64,
        logs: &BTreeMap<ConversationKey, Log>,
    ) -> Result<(), Violation> {
        let log = &logs[&key_of(self.user, conversation)];
        let last = self.position(conversation);
        // A stream that begins with the user's joining may be too far behind from its first event on.
        let stands = last == Some(after) || log.joined_at(self.user.user, last, after + 1);
        if !stands || head <= after || head > log.head() {
            let details = format!(
                "{:?}: {conversation:?} lags from {after} to {head}, but stands at {last:?} of {}",
                self.user,
                log.head()
            );
            return Err(Violation::new("lagging tells the truth", details));
        }
        self.positions.insert(conversation, head);
        Ok(())
    }
}
