//! Sessions: registered with the owner of their user, told of memberships that come and go, replaced by a newer one of
//! the same device.

use protocol::envelope::{Caller, ToGateway, ToRouter};
use protocol::error::{CloseCode, Refusal};
use protocol::id::{ConversationId, ConversationKey, DeviceId, UserKey};
use protocol::placement::Slot;
use storage::request::{Outcome, Request};

use crate::announcements::Announcement;
use crate::limits::{CONVERSATIONS_PAGE_MAX, RETURNED_SOFT};
use crate::openings::{Opening, OpeningNumber};
use crate::refusal::{BUSY, STORE_AWAY, TOO_MANY_SESSIONS};
use crate::shard::RouterShard;
use crate::store::Read;
use crate::users::Refused;

impl RouterShard {
    /// A session begins: it is registered at once, so that no membership is missed while its chat list is read.
    pub(crate) fn session_open(&mut self, caller: Caller, user: UserKey, device: &DeviceId) {
        let hash = self.keys.user(&user);
        let Some(number) = self.openings.begin(caller, user) else {
            return self.refuse_caller(caller, None, BUSY);
        };
        let was_online = self.users.is_online(hash);
        let device = self.keys.device(device);
        if let Some(older) = self.users.replace(hash, device) {
            let (connection, code) = (older.connection, CloseCode::REPLACED);
            self.outgoing.answer(older.gateway, ToGateway::CloseSession { connection, code });
        }
        match self.users.open(hash, &caller, device, number, was_online) {
            Ok(turn) => {
                self.presence_turn(hash, &user, turn);
                self.read_chat_list(number);
            }
            Err(refused) => {
                self.openings.end(number);
                let refusal = match refused {
                    Refused::Full => BUSY,
                    Refused::TooMany => TOO_MANY_SESSIONS,
                };
                self.refuse_caller(caller, None, refusal);
            }
        }
    }

    fn read_chat_list(&mut self, number: OpeningNumber) {
        let opening = self.openings.get_mut(number);
        opening.news.clear();
        opening.stale = false;
        let user = opening.user;
        let limit = self.settings.conversations_attached.clamp(1, CONVERSATIONS_PAGE_MAX);
        let request = Request::Conversations { user, after: None, limit };
        if self.read(Read::Opening(number), request).is_none() {
            self.refuse_opening(number, BUSY);
        }
    }

    /// The chat list of a session that begins is here, or can't be read.
    pub(crate) fn opening_outcome(&mut self, number: OpeningNumber, outcome: Outcome) {
        let Outcome::Conversations { entries, more } = outcome else {
            return self.refuse_opening(number, STORE_AWAY);
        };
        if self.openings.get_mut(number).stale {
            return self.read_chat_list(number);
        }
        let Opening { caller, user, news, .. } = self.openings.end(number);
        // Replaced or closed meanwhile: the gateway shard knows, and is answered all the same.
        self.users.opened(self.keys.user(&user), &caller);
        let conversations = entries.into();
        self.outgoing.answer(caller.gateway, ToGateway::SessionOpened { caller, conversations, more });
        for piece in news {
            self.outgoing.answer(caller.gateway, piece);
        }
    }

    fn refuse_opening(&mut self, number: OpeningNumber, refusal: Refusal) {
        let Opening { caller, user, .. } = self.openings.end(number);
        self.refuse_caller(caller, None, refusal);
        self.session_close(&caller, &user, true);
    }

    /// A session fell silent, or was heard again.
    pub(crate) fn session_heard(&mut self, caller: &Caller, user: &UserKey, heard: bool) {
        let hash = self.keys.user(user);
        let turn = self.users.heard(hash, caller, heard);
        self.presence_turn(hash, user, turn);
    }

    /// A session ended.
    pub(crate) fn session_close(&mut self, caller: &Caller, user: &UserKey, normal: bool) {
        let hash = self.keys.user(user);
        let turn = self.users.close(hash, user, caller, normal, self.now.monotonic_ms);
        self.presence_turn(hash, user, turn);
    }

    /// A user of this shard became, or is no longer, a member: each of its sessions is told.
    pub(crate) fn membership(
        &mut self,
        user: &UserKey,
        conversation: ConversationId,
        joined: bool,
        after: u64,
    ) {
        let conversation = ConversationKey { tenant: user.tenant, conversation };
        for reach in self.users.reach(self.keys.user(user)) {
            let connection = reach.connection;
            let news = if joined {
                ToGateway::Joined { connection, conversation, after }
            } else {
                ToGateway::Left { connection, conversation, seq: after }
            };
            match reach.opening {
                Some(number) => self.openings.get_mut(number).keep(news),
                None => self.outgoing.answer(reach.gateway, news),
            }
        }
    }

    /// True when somebody is to be told of a membership, and there is room to.
    pub(crate) fn announces(&self) -> bool {
        !self.announcements.is_empty() && self.outgoing.returned() < RETURNED_SOFT
    }

    /// Tells the owners of users what became of memberships, some at a time and only while there is room.
    pub(crate) fn flush_announcements(&mut self) {
        if !self.announces() {
            return;
        }
        for Announcement { conversation, user, joined, after } in self.announcements.take() {
            let user = UserKey { tenant: conversation.tenant, user };
            let owner = self.table.owner(Slot::of_user(&user));
            let conversation = conversation.conversation;
            if owner == self.id {
                self.membership(&user, conversation, joined, after);
            } else {
                self.outgoing.tell(owner, ToRouter::Membership { user, conversation, joined, after });
            }
        }
    }
}
