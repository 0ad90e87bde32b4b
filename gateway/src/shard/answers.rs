//! Answers: envelopes of the owners become frames to the client that asked, if it is still there.

use protocol::envelope::{Caller, ToGateway};
use protocol::error::{CloseCode, Refusal};
use protocol::frame::{ChatListEntry, ServerFrame};
use protocol::id::ClientId;

use super::GatewayShard;
use super::caller::{AGAIN, ANNOUNCED, Asks, parse};
use super::connection::{Flag, State};
use super::frames::write_after;
use super::lag::Backlog;

impl GatewayShard {
    pub(super) fn envelope(&mut self, envelope: ToGateway) {
        if self.cluster.is_some() {
            self.cluster_envelope(envelope);
        } else {
            self.take_envelope(envelope);
        }
    }

    /// An envelope for this shard, with the caller that it had named.
    pub(super) fn take_envelope(&mut self, envelope: ToGateway) {
        match envelope {
            ToGateway::Appended { caller, conversation, id, seq, time, duplicate } => {
                let conversation = conversation.conversation;
                self.ack(&caller, &ServerFrame::Ack { id, conversation, seq: Some(seq), time, duplicate });
            }
            ToGateway::Signalled { caller, conversation, id, time } => {
                let conversation = conversation.conversation;
                self.ack(&caller, &ServerFrame::Ack { id, conversation, seq: None, time, duplicate: false });
            }
            ToGateway::Refused { caller, id, refusal } => self.refused(&caller, id, refusal),
            ToGateway::Publish { conversation, events } => self.publish(&conversation, &events),
            ToGateway::Head { conversation, head } => self.head(&conversation, head),
            ToGateway::Page { caller, conversation, events, head, more, trimmed } => {
                let (reference, conversation) = (caller.reference, conversation.conversation);
                let page =
                    ServerFrame::Page { reference, conversation, events: &events, head, more, trimmed };
                self.complete(&caller, Some(&page));
            }
            ToGateway::Backlog { caller, conversation, after, events, head, refused } => {
                self.backlog(&Backlog { caller, conversation, after, events, head, refused });
            }
            ToGateway::Attached { caller: Caller { reference: ANNOUNCED, .. }, tenant, items, refused } => {
                self.rooms_announced(tenant, &items, refused);
            }
            ToGateway::Attached { caller, tenant, items, refused } => {
                let slot = self.answered(&caller).map(|(slot, _)| slot);
                self.attached(slot, caller.reference, tenant, &items, refused);
            }
            ToGateway::SessionOpened { caller, conversations, more } => match self.answered(&caller) {
                Some((slot, Asks::Session)) if caller.reference == AGAIN => {
                    self.session_known_again(slot, &conversations, more);
                }
                Some((slot, Asks::Session)) => self.session_opened(slot, conversations, more),
                _ => {}
            },
            ToGateway::Conversations { caller, conversations, more } => {
                self.conversations_listed(&caller, &conversations, more);
            }
            other => self.announcement(other),
        }
    }

    /// What nobody asked for in this moment.
    fn announcement(&mut self, envelope: ToGateway) {
        match envelope {
            ToGateway::Signal { conversation, event } => {
                self.ephemeral(&conversation, None, &ServerFrame::Signal(&event));
            }
            ToGateway::Typing { conversation, user, on } => {
                let frame = ServerFrame::Typing { conversation: conversation.conversation, user, on };
                self.ephemeral(&conversation, Some(user), &frame);
            }
            ToGateway::Receipt { conversation, user, received, read, received_count, read_count } => {
                let frame = ServerFrame::Receipt {
                    conversation: conversation.conversation,
                    user,
                    received,
                    read,
                    received_count,
                    read_count,
                };
                self.ephemeral(&conversation, None, &frame);
            }
            ToGateway::Presence { user, online, last_seen } => self.presence(&user, online, last_seen),
            ToGateway::CloseSession { connection, code } => {
                if let Some(slot) = self.session(connection) {
                    let reason = match code {
                        CloseCode::REPLACED => "the same device connected again",
                        _ => "the session was ended by the server",
                    };
                    self.close(slot, code, reason);
                }
            }
            ToGateway::Joined { connection, conversation, after } => {
                if let Some(slot) = self.session(connection) {
                    self.joined(slot, &conversation, after);
                }
            }
            ToGateway::Left { connection, conversation, seq } => {
                if let Some(slot) = self.session(connection) {
                    self.left(slot, &conversation, seq);
                }
            }
            // The API asks for these, never a gateway shard; all others were taken before.
            _ => {}
        }
    }

    /// The session of this name, while its user's owner is to know of it.
    pub(super) fn registered(&self, connection: u64) -> Option<u32> {
        self.session(connection).filter(|&slot| self.slab[slot].flags.has(Flag::Registered))
    }

    fn session(&self, connection: u64) -> Option<u32> {
        let (token, Asks::Session) = parse(connection)? else { return None };
        self.slab.slot(token)
    }

    fn ack(&mut self, caller: &Caller, frame: &ServerFrame<'_>) {
        self.counters.acks += 1;
        self.complete(caller, Some(frame));
    }

    /// Answers a client's request, and counts it as answered.
    fn complete(&mut self, caller: &Caller, frame: Option<&ServerFrame<'_>>) {
        let Some((slot, asks)) = self.answered(caller) else { return };
        if self.slab[slot].state != State::Open || asks == Asks::Session {
            return;
        }
        let connection = &mut self.slab[slot];
        connection.requests = connection.requests.saturating_sub(asks.weight());
        if let Some(frame) = frame {
            self.answer(slot, frame);
        }
        if asks == Asks::Sync {
            self.sync_answered(slot, caller.reference);
        }
        self.wake(slot);
    }

    fn refused(&mut self, caller: &Caller, id: Option<ClientId>, refusal: Refusal) {
        let Some((slot, asks)) = self.answered(caller) else { return };
        if asks == Asks::Session {
            if caller.reference == AGAIN {
                self.announce_session_later(slot, refusal.retry_after_ms);
            } else if self.slab[slot].state == State::Opening {
                self.close_unavailable(slot, refusal.retry_after_ms.unwrap_or(1_000));
            }
            return;
        }
        let reference = if id.is_some() { None } else { Some(caller.reference) };
        self.counters.count_error(refusal.code);
        self.complete(caller, Some(&ServerFrame::Error { reference, id, refusal }));
    }

    fn conversations_listed(&mut self, caller: &Caller, conversations: &[ChatListEntry], more: bool) {
        let last = conversations.last().filter(|_| more);
        let next = last.map(|entry| write_after(entry.lamport, &entry.conversation));
        let frame =
            ServerFrame::Conversations { reference: caller.reference, conversations, next: next.as_deref() };
        self.complete(caller, Some(&frame));
    }
}
