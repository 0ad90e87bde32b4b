//! Sessions: `hello`, the token or ticket that says who it is, the answers of the owners, `welcome`, `refresh`.

use core::fmt::Write;

use protocol::envelope::{AttachItem, Listed, ToRouter};
use protocol::error::{CloseCode, ErrorCode, Refusal};
use protocol::frame::{ChatListEntry, ServerFrame};
use protocol::id::{ConversationId, DeviceId, UserId};
use protocol::limits::CONVERSATIONS_LISTED_MAX;
use protocol::placement::Slot;

use super::GatewayShard;
use super::caller::{Asks, OPENING};
use super::connection::{Flag, NONE, State};
use super::wheel::{tick_of, ticks};
use crate::auth::{AuthError, Identity};

/// What is kept of a session between `hello` and `welcome`.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// What the device has, sorted by conversation.
    pub(super) cursors: Vec<(ConversationId, u64)>,
    /// The chat list; the owners' answers bring it up to date.
    pub(super) list: Vec<ChatListEntry>,
    /// Which of the list are attached.
    pub(super) attached: Vec<bool>,
    /// The user has more conversations than the list.
    pub(super) more: bool,
    /// Owners that have not answered.
    pub(super) pending: u16,
}

impl Opening {
    /// Up to where the device has a conversation, when it said so.
    pub(super) fn cursor(&self, conversation: &ConversationId) -> Option<u64> {
        let found = self.cursors.binary_search_by(|(known, _)| known.cmp(conversation));
        found.ok().map(|at| self.cursors[at].1)
    }
}

/// Rounds up, so that a session never ends before its token.
fn expires_s(identity: &Identity) -> u32 {
    u32::try_from(identity.expires_ms.div_ceil(1_000)).unwrap_or(u32::MAX)
}

impl GatewayShard {
    /// Notes who is at the other end.
    pub(super) fn identify(&mut self, slot: u32, identity: &Identity) {
        let tenant = self.tenants.acquire(identity.tenant);
        let connection = &mut self.slab[slot];
        debug_assert_eq!(connection.tenant, NONE);
        connection.tenant = tenant;
        connection.name(&identity.user, None);
        connection.expires_s = expires_s(identity);
        if identity.admin {
            connection.flags.set(Flag::Admin);
        }
    }

    fn identity(&self, slot: u32) -> Identity {
        let connection = &self.slab[slot];
        Identity {
            tenant: self.tenants.get(connection.tenant),
            user: connection.user(),
            admin: connection.flags.has(Flag::Admin),
            expires_ms: u64::from(connection.expires_s) * 1_000,
        }
    }

    pub(super) fn hello(
        &mut self,
        slot: u32,
        device: DeviceId,
        token: Option<&str>,
        ticket: Option<&str>,
        cursors: &[(ConversationId, u64)],
    ) {
        if self.slab[slot].tenant == NONE {
            match self.prove(&device, token, ticket) {
                Ok(Some(identity)) => self.identify(slot, &identity),
                Ok(None) => return self.close(slot, CloseCode::UNAUTHORIZED, "there is no token"),
                Err(error) => {
                    self.counters.tokens_refused += 1;
                    return self.close(slot, CloseCode::UNAUTHORIZED, error.message());
                }
            }
        }
        let tick = tick_of(self.now.monotonic_ms);
        let connection = &mut self.slab[slot];
        connection.name(&connection.user(), Some(&device));
        connection.state = State::Opening;
        connection.state_tick = tick + ticks(self.settings.hello_timeout_ms);
        connection.flags.set(Flag::Registered);
        let mut opening = Box::new(Opening { cursors: cursors.to_vec(), ..Opening::default() });
        opening.cursors.sort_by_key(|(conversation, _)| *conversation);
        self.openings.insert(slot, opening);
        self.arm_timer(slot);
        let user = self.user_key(slot);
        let caller = self.caller(slot, Asks::Session, OPENING);
        self.tell_slot(Slot::of_user(&user), ToRouter::SessionOpen { caller, user, device, again: false });
    }

    /// Who `hello` says it is. A ticket goes first: it costs a MAC, not a signature; a token mends one that is over.
    fn prove(
        &self,
        device: &DeviceId,
        token: Option<&str>,
        ticket: Option<&str>,
    ) -> Result<Option<Identity>, AuthError> {
        let unix_ms = self.now.unix_ms;
        let by_ticket = ticket.map(|ticket| self.authenticator.verify_ticket(ticket, device, unix_ms));
        match (by_ticket, token) {
            (Some(Ok(identity)), _) => Ok(Some(identity)),
            (_, Some(token)) => self.authenticator.verify(token, unix_ms).map(Some),
            (Some(Err(error)), None) => Err(error),
            (None, None) => Ok(None),
        }
    }

    /// The user's owner knows the session: attach its conversations, one envelope an owner.
    pub(super) fn session_opened(&mut self, slot: u32, list: Box<[ChatListEntry]>, more: bool) {
        if self.slab[slot].state != State::Opening {
            return;
        }
        let Some(mut opening) = self.openings.remove(&slot) else { return };
        let most = self.settings.limits.conversations_attached as usize;
        opening.more = more || list.len() > most;
        opening.list = list.into_vec();
        opening.list.truncate(most);
        opening.attached = vec![false; opening.list.len()];
        let listed = opening.list.iter().map(|&ChatListEntry { conversation, head, read, role, lamport }| {
            AttachItem { conversation, listed: Some(Listed { head, lamport, read, role }) }
        });
        opening.pending = self.attach(slot, OPENING, listed) as u16;
        self.openings.insert(slot, opening);
        self.welcome_if_complete(slot);
    }

    /// The owner of the user, or of a conversation, could not be asked.
    pub(super) fn close_unavailable(&mut self, slot: u32, retry_after_ms: u32) {
        const MESSAGE: &str = "the session can't be opened now";
        let refusal = Refusal::retry(ErrorCode::Unavailable, MESSAGE, retry_after_ms);
        self.refuse(slot, None, None, refusal);
        let reconnect_after_ms = retry_after_ms.saturating_add(self.random.below(1_000));
        self.answer(slot, &ServerFrame::Goaway { reason: MESSAGE, reconnect_after_ms });
        self.close(slot, CloseCode::DRAINING, MESSAGE);
    }

    /// Once every owner has answered.
    pub(super) fn welcome_if_complete(&mut self, slot: u32) {
        if self.openings.get(&slot).is_none_or(|opening| opening.pending > 0) {
            return;
        }
        let Some(mut opening) = self.openings.remove(&slot) else { return };
        let mut attached = opening.attached.iter();
        opening.list.retain(|_| *attached.next().expect("as long as the list"));
        let more = opening.more || opening.list.len() > CONVERSATIONS_LISTED_MAX;
        opening.list.truncate(CONVERSATIONS_LISTED_MAX);
        self.welcome(slot, &opening.list, more);
        self.slab[slot].state = State::Open;
        self.slab[slot].flags.set(Flag::Welcomed);
        self.counters.sessions += 1;
        self.arm_timer(slot);
        self.begin_delivery(slot);
        self.wake(slot);
    }

    fn welcome(&mut self, slot: u32, conversations: &[ChatListEntry], more: bool) {
        let identity = self.identity(slot);
        let connection = &self.slab[slot];
        let (now_ms, ttl_ms) = (self.now.unix_ms, self.settings.ticket_ttl_ms);
        let ticket = self.authenticator.issue_ticket(&identity, &connection.device(), now_ms, ttl_ms);
        let mut session = String::with_capacity(32);
        // Writing into a string can't fail.
        let _ = write!(session, "{}-{slot}-{:x}", self.id.0, connection.generation);
        self.answer(
            slot,
            &ServerFrame::Welcome {
                user: identity.user,
                session: &session,
                resume: ticket.as_str(),
                heartbeat_ms: self.settings.heartbeat_ms,
                limits: self.settings.limits,
                conversations,
                more,
            },
        );
    }

    /// A newer token of the same user for this session. A bad one ends it, as a bad first one does.
    pub(super) fn refresh(&mut self, slot: u32, token: &str) {
        match self.authenticator.verify(token, self.now.unix_ms) {
            Ok(identity) if self.is_same_user(slot, &identity.user, &identity) => {
                let connection = &mut self.slab[slot];
                connection.expires_s = expires_s(&identity);
                if identity.admin {
                    connection.flags.set(Flag::Admin);
                } else {
                    connection.flags.clear(Flag::Admin);
                }
                self.rearm_timer(slot);
                self.answer(slot, &ServerFrame::Refreshed);
            }
            Ok(_) => self.close(slot, CloseCode::UNAUTHORIZED, "the token is another user's"),
            Err(error) => {
                self.counters.tokens_refused += 1;
                self.close(slot, CloseCode::UNAUTHORIZED, error.message());
            }
        }
    }

    fn is_same_user(&self, slot: u32, user: &UserId, identity: &Identity) -> bool {
        let known = self.identity(slot);
        known.user == *user && known.tenant == identity.tenant
    }
}
