//! Sessions: registered with the owner of their user, told of memberships that come and go, replaced by a newer one of
//! the same device.

use protocol::envelope::{Caller, GatewayId, ToGateway, ToRouter};
use protocol::error::{CloseCode, Refusal};
use protocol::id::{ConversationId, ConversationKey, DeviceId, UserKey};
use protocol::placement::Slot;
use storage::request::{Outcome, Request};

use crate::announcements::Announcement;
use crate::limits::{CONVERSATIONS_PAGE_MAX, RETURNED_SOFT};
use crate::openings::{Opening, OpeningNumber};
use crate::refusal::{BUSY, ELSEWHERE, STORE_AWAY, TOO_MANY_SESSIONS};
use crate::shard::RouterShard;
use crate::store::Read;
use crate::users::{Beginning, Refused};

impl RouterShard {
    /// A session begins: it is registered at once, so that no membership is missed while its chat list is read. One that
    /// is announced `again` keeps its registration where it has one, and yields to a newer one of its device; of two that
    /// are both announced again nobody knows which is newer, and both stay.
    pub(crate) fn session_open(&mut self, caller: Caller, user: UserKey, device: &DeviceId, again: bool) {
        let slot = Slot::of_user(&user);
        if !self.owns(slot) {
            return self.misplace(caller);
        }
        let hash = self.keys.user(&user);
        let Some(opening) = self.openings.begin(caller, user, again) else {
            return self.refuse_caller(caller, None, BUSY);
        };
        if again && self.users.resume(hash, &caller, opening) {
            return self.read_chat_list(opening);
        }
        let was_online = self.users.is_online(hash);
        let device = self.keys.device(device);
        if again && self.users.has_fresh(hash, device) {
            self.openings.end(opening);
            self.close_replaced(caller.gateway, caller.connection);
            return self.refuse_caller(caller, None, ELSEWHERE);
        }
        while !again && let Some(older) = self.users.replace(hash, device) {
            // Announced before it was asked for: it is the same one.
            let same = (older.gateway, older.connection) == (caller.gateway, caller.connection);
            if !same {
                self.close_replaced(older.gateway, older.connection);
            }
        }
        let beginning = Beginning { slot, device, opening, fresh: !again };
        match self.users.open(hash, &caller, beginning, was_online) {
            Ok(turn) => {
                self.presence_turn(hash, &user, turn);
                self.read_chat_list(opening);
            }
            Err(refused) => {
                self.openings.end(opening);
                let refusal = match refused {
                    Refused::Full => BUSY,
                    Refused::TooMany => TOO_MANY_SESSIONS,
                };
                self.refuse_caller(caller, None, refusal);
            }
        }
    }

    fn close_replaced(&mut self, gateway: GatewayId, connection: u64) {
        self.outgoing.answer(gateway, ToGateway::CloseSession { connection, code: CloseCode::REPLACED });
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
        self.users.opened(self.keys.user(&user), &caller, number);
        let conversations = entries.into();
        self.outgoing.answer(caller.gateway, ToGateway::SessionOpened { caller, conversations, more });
        for piece in news {
            self.outgoing.answer(caller.gateway, piece);
        }
    }

    fn refuse_opening(&mut self, number: OpeningNumber, refusal: Refusal) {
        let Opening { caller, user, again, .. } = self.openings.end(number);
        self.refuse_caller(caller, None, refusal);
        if self.users.opened(self.keys.user(&user), &caller, number) {
            // One that was there before is announced once more in a moment.
            self.session_close(&caller, &user, !again);
        }
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
        !self.announcements.is_empty() && self.outgoing.returned_weight() < RETURNED_SOFT
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
