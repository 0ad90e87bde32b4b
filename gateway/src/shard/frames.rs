//! Frames: what a client asks becomes an envelope to the owner of what it asks about, once its size and its rate are
//! within the limits. Whether it may is the owner's to say.

use protocol::envelope::ToRouter;
use protocol::error::{CloseCode, ErrorCode, Refusal};
use protocol::event::{ContentV1, Draft, EventV1};
use protocol::frame::{ClientFrame, FrameError, Range, ServerFrame};
use protocol::id::{ClientId, ConversationId, ConversationKey};
use protocol::placement::Slot;

use super::GatewayShard;
use super::caller::Asks;
use super::connection::State;

impl GatewayShard {
    /// A frame that is none: garbage ends the connection, anything else is answered.
    pub(super) fn frame_error(&mut self, slot: u32, error: &FrameError) {
        if error.garbage || self.slab[slot].state != State::Open {
            self.close(slot, CloseCode::MISUSE, error.refusal.message);
        } else {
            self.refuse(slot, error.reference, error.id, error.refusal);
        }
    }

    /// One frame; `admitted` says whether it was within the rate.
    pub(super) fn frame(&mut self, slot: u32, frame: &ClientFrame<'_>, admitted: Result<(), u32>) {
        match (self.slab[slot].state, frame) {
            (State::AwaitHello, &ClientFrame::Hello { device, token, resume, cursors }) => {
                self.hello(slot, device, token, resume, cursors);
            }
            (State::AwaitHello, _) => self.close(slot, CloseCode::MISUSE, "the first frame must be hello"),
            (_, ClientFrame::Hello { .. }) => {
                self.close(slot, CloseCode::MISUSE, "hello was said already");
            }
            _ => match admitted {
                Ok(()) => {
                    self.begin_frame();
                    self.request(slot, frame);
                    self.end_frame(slot);
                }
                Err(retry_after_ms) => {
                    let refusal = Refusal::retry(ErrorCode::RateLimited, "too many frames", retry_after_ms);
                    let (reference, id) = names(frame);
                    self.refuse(slot, reference, id, refusal);
                }
            },
        }
    }

    fn request(&mut self, slot: u32, frame: &ClientFrame<'_>) {
        match *frame {
            ClientFrame::Hello { .. } => unreachable!("taken before"),
            ClientFrame::Send { id, conversation, kind, body, meta, reply_to, ephemeral } => {
                if let Some(what) = self.too_large(body, meta) {
                    self.refuse(slot, None, Some(id), Refusal::new(ErrorCode::TooLarge, what));
                    return;
                }
                let content = ContentV1::Message { kind, body, meta, reply_to };
                self.append(slot, id, conversation, content, ephemeral);
            }
            ClientFrame::Edit { id, conversation, target, body } => {
                if let Some(what) = self.too_large(body, None) {
                    self.refuse(slot, None, Some(id), Refusal::new(ErrorCode::TooLarge, what));
                    return;
                }
                self.append(slot, id, conversation, ContentV1::Edit { target, body }, false);
            }
            ClientFrame::Delete { id, conversation, target } => {
                self.append(slot, id, conversation, ContentV1::Delete { target }, false);
            }
            ClientFrame::React { id, conversation, target, emoji, remove } => {
                let content = ContentV1::Reaction { target, emoji, remove };
                self.append(slot, id, conversation, content, false);
            }
            ClientFrame::History { reference, conversation, range, limit } => {
                let key = self.conversation_key(slot, conversation);
                self.history(slot, Asks::Page, reference, key, range, limit);
            }
            ClientFrame::Sync { reference, cursors, limit } => self.sync(slot, reference, cursors, limit),
            ClientFrame::Received { conversation, seq } => self.mark(slot, conversation, Some(seq), None),
            ClientFrame::Read { conversation, seq } => self.mark(slot, conversation, None, Some(seq)),
            ClientFrame::Typing { conversation, on } => {
                let conversation = self.conversation_key(slot, conversation);
                let actor = self.actor(slot);
                self.ask(&conversation, ToRouter::Typing { actor, conversation, on });
            }
            ClientFrame::Watch { users } => self.watch(slot, users),
            ClientFrame::Unwatch { users } => self.unwatch(slot, users),
            ClientFrame::Conversations { reference, after, limit } => {
                self.conversations(slot, reference, after, limit);
            }
            ClientFrame::Refresh { token } => self.refresh(slot, token),
            ClientFrame::Ping { reference } => self.answer(slot, &ServerFrame::Pong { reference }),
        }
    }

    fn too_large(&self, body: &str, meta: Option<&str>) -> Option<&'static str> {
        let limits = &self.settings.limits;
        if body.len() > limits.body_bytes as usize {
            Some("body is over limits.body_bytes")
        } else if meta.is_some_and(|meta| meta.len() > limits.meta_bytes as usize) {
            Some("meta is over limits.meta_bytes")
        } else {
            None
        }
    }

    /// Hands an envelope to a conversation's owner.
    pub(super) fn ask(&mut self, conversation: &ConversationKey, envelope: ToRouter) {
        self.tell_slot(Slot::of_conversation(conversation), envelope);
    }

    fn append(
        &mut self,
        slot: u32,
        id: ClientId,
        conversation: ConversationId,
        content: ContentV1<'_>,
        ephemeral: bool,
    ) {
        let connection = &mut self.slab[slot];
        if let Err(retry_after_ms) = connection.sends.take(self.send_rate, self.now.monotonic_us) {
            self.counters.rate_limited += 1;
            let refusal = Refusal::retry(ErrorCode::RateLimited, "too many sends", retry_after_ms);
            self.refuse(slot, None, Some(id), refusal);
            return;
        }
        let (sender, device) = connection.names();
        let event = EventV1 {
            seq: 0,
            time: 0,
            lamport: 0,
            conversation: conversation.as_str(),
            sender,
            device,
            id: id.as_str(),
            content,
        };
        let Ok(draft) = Draft::encode(&event) else {
            let refusal = Refusal::new(ErrorCode::TooLarge, "the event is too large to be stored");
            self.refuse(slot, None, Some(id), refusal);
            return;
        };
        let caller = self.client_caller(slot, Asks::Request, 0);
        let (actor, conversation) = (self.actor(slot), self.conversation_key(slot, conversation));
        if ephemeral {
            self.counters.signals += 1;
            self.ask(&conversation, ToRouter::Signal { caller, actor, conversation, draft });
        } else {
            self.counters.sends += 1;
            let lamport = self.lamport;
            self.ask(&conversation, ToRouter::Append { caller, actor, conversation, draft, lamport });
        }
    }

    pub(super) fn history(
        &mut self,
        slot: u32,
        asks: Asks,
        reference: i64,
        conversation: ConversationKey,
        range: Range,
        limit: u16,
    ) {
        let limit = limit.min(self.settings.limits.page_events);
        let caller = self.client_caller(slot, asks, reference);
        let actor = self.actor(slot);
        self.ask(&conversation, ToRouter::History { caller, actor, conversation, range, limit });
    }

    fn mark(&mut self, slot: u32, conversation: ConversationId, received: Option<u64>, read: Option<u64>) {
        let conversation = self.conversation_key(slot, conversation);
        let (actor, device) = (self.actor(slot), self.slab[slot].device());
        self.ask(&conversation, ToRouter::Mark { actor, device, conversation, received, read });
    }

    fn conversations(&mut self, slot: u32, reference: i64, after: Option<&str>, limit: u16) {
        let after = match after.map(parse_after) {
            Some(None) => {
                let refusal = Refusal::new(ErrorCode::BadRequest, "after is not the next of an answer");
                self.refuse(slot, Some(reference), None, refusal);
                return;
            }
            Some(after) => after,
            None => None,
        };
        let caller = self.client_caller(slot, Asks::Page, reference);
        let user = self.user_key(slot);
        self.tell_slot(Slot::of_user(&user), ToRouter::Conversations { caller, user, after, limit });
    }
}

/// What to name in an error about a frame.
fn names(frame: &ClientFrame<'_>) -> (Option<i64>, Option<ClientId>) {
    match *frame {
        ClientFrame::Send { id, .. }
        | ClientFrame::Edit { id, .. }
        | ClientFrame::Delete { id, .. }
        | ClientFrame::React { id, .. } => (None, Some(id)),
        ClientFrame::History { reference, .. }
        | ClientFrame::Sync { reference, .. }
        | ClientFrame::Conversations { reference, .. }
        | ClientFrame::Ping { reference } => (Some(reference), None),
        ClientFrame::Hello { .. }
        | ClientFrame::Received { .. }
        | ClientFrame::Read { .. }
        | ClientFrame::Typing { .. }
        | ClientFrame::Watch { .. }
        | ClientFrame::Unwatch { .. }
        | ClientFrame::Refresh { .. } => (None, None),
    }
}

/// Where a chat list goes on, as text: the last entry's stamp in hexadecimal, then its conversation.
pub(super) fn write_after(lamport: u64, conversation: &ConversationId) -> String {
    format!("{lamport:x}.{conversation}")
}

fn parse_after(text: &str) -> Option<(u64, ConversationId)> {
    let (lamport, conversation) = text.split_once('.')?;
    Some((u64::from_str_radix(lamport, 16).ok()?, ConversationId::parse(conversation).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_list_goes_on_where_it_ended() {
        for conversation in ["a", "a.b.c", ".", "~|@:"] {
            let conversation = ConversationId::parse(conversation).unwrap();
            for lamport in [0, 1, u64::MAX] {
                assert_eq!(parse_after(&write_after(lamport, &conversation)), Some((lamport, conversation)));
            }
        }
        for garbage in ["", ".", "1", "1.", "x.a", "10000000000000000.a", "1. "] {
            assert_eq!(parse_after(garbage), None, "{garbage}");
        }
    }
}
