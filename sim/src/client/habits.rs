//! What a client does of its own accord: one thing at each step, drawn.

use protocol::frame::Range;
use protocol::id::{ClientId, ConversationId};

use super::websocket;
use super::{Client, Note, Pending, Stage};
use crate::asked::Asked;
use crate::coverage::Mark;
use crate::random::Span;
use crate::told::Content;

/// Sends under way at a time.
const PENDING_MAX: usize = 12;
/// Requests that wait for answers at a time.
const UNANSWERED_MAX: usize = 24;
/// Bytes that wait at the client's end before it asks nothing more.
const UNSENT_MAX: usize = 32 * 1024;
/// What a user remembers of what was sent.
const NOTES_MAX: usize = 16;

impl Client {
    pub(super) fn next_reference(&mut self) -> i64 {
        self.reference += 1;
        self.reference
    }

    /// One step of an open client.
    pub(super) fn act(&mut self, stage: &mut Stage<'_>) {
        let Some(connection) = self.connection else { return };
        if self.suffer(stage) {
            return;
        }
        let busy = stage.kernel.unsent(connection) > UNSENT_MAX
            || stage.checker.unanswered(connection) > UNANSWERED_MAX;
        if busy || self.retry(stage) || !stage.storm {
            return;
        }
        self.work(stage);
    }

    /// The faults that befall a client; true when it is gone.
    fn suffer(&mut self, stage: &mut Stage<'_>) -> bool {
        let Some(connection) = self.connection else { return true };
        let network = *stage.network;
        let random = &mut stage.world.random;
        if random.happens(network.reset) {
            self.cut(stage);
            return true;
        }
        if random.happens(network.vanish) {
            stage.world.coverage.hit(Mark::Vanished);
            self.vanished(stage);
            return true;
        }
        if random.happens(network.half_close) {
            stage.world.coverage.hit(Mark::HalfClosed);
            stage.kernel.finish(stage.world, connection);
        } else if random.happens(network.slow_reader) {
            stage.world.coverage.hit(Mark::SlowReader);
            self.slow_until_us = stage.world.now_us() + stage.world.random.within(stage.crowd.slow_us);
        }
        false
    }

    /// Sends again what is due; true when there was something.
    fn retry(&mut self, stage: &mut Stage<'_>) -> bool {
        let now_us = stage.world.now_us();
        let due =
            self.pending.iter().find(|(_, pending)| !pending.under_way && pending.retry_at_us <= now_us);
        let Some((id, _)) = due else { return false };
        self.transmit(stage, *id);
        true
    }

    fn transmit(&mut self, stage: &mut Stage<'_>, id: ClientId) {
        let pending = self.pending.get_mut(&id).expect("it is pending");
        pending.under_way = true;
        pending.asked_us = stage.world.now_us();
        let Pending { conversation, ephemeral, .. } = *pending;
        let content = pending.content.clone();
        self.ask(stage, &Asked::Send { id, conversation, content, ephemeral });
    }

    fn work(&mut self, stage: &mut Stage<'_>) {
        let conversation = self.draw_place(stage);
        let reference = self.next_reference();
        let position = self.cursors.get(&conversation).copied().unwrap_or_default();
        let asked = match stage.world.random.below(100) {
            0..45 => return self.send_message(stage, conversation),
            45..55 => return self.send_about(stage, conversation, position),
            55..60 => return self.send_again(stage),
            60..70 => self.draw_history(stage, reference, conversation, position),
            70..75 => self.draw_sync(stage, reference),
            75..80 => Asked::Received(conversation, position),
            80..85 if position > 0 => Asked::Read(conversation, position),
            80..89 => Asked::Typing(conversation, stage.world.random.coin()),
            89..91 => Asked::Watch(self.neighbours.to_vec()),
            91..92 => Asked::Unwatch(self.neighbours.to_vec()),
            92..95 => Asked::Conversations { reference, after: None, limit: 50 },
            95..96 => Asked::Refresh(self.token.to_string()),
            96..97 => return self.ping(stage),
            _ => Asked::Ping(reference),
        };
        self.ask(stage, &asked);
    }

    fn ping(&mut self, stage: &mut Stage<'_>) {
        let Some(connection) = self.connection else { return };
        let mut frame = Vec::new();
        websocket::write_ping(&mut frame, &mut stage.world.random);
        stage.kernel.write(stage.world, connection, &frame);
    }

    /// Mostly a conversation of the client's own, at times any of the tenant.
    fn draw_place(&self, stage: &mut Stage<'_>) -> ConversationId {
        let random = &mut stage.world.random;
        let known: Vec<_> = self.cursors.keys().copied().collect();
        if known.is_empty() || random.below(10) == 0 {
            return *random.pick(&self.places);
        }
        *random.pick(&known)
    }

    fn draw_body(&self, stage: &mut Stage<'_>) -> String {
        let random = &mut stage.world.random;
        let length = random.within(stage.crowd.body_bytes) as usize;
        let mut body = format!("{} {} \"ü\\n\" ", self.name(), random.next());
        body.extend(std::iter::repeat_n('x', length));
        body
    }

    fn begin_send(
        &mut self,
        stage: &mut Stage<'_>,
        conversation: ConversationId,
        content: Content,
        ephemeral: bool,
    ) {
        if self.pending.len() >= PENDING_MAX {
            return;
        }
        self.sent += 1;
        let id = ClientId::parse(format!("{}.{}", self.device, self.sent)).expect("an id");
        if !ephemeral {
            let notes = stage.notebook.entry(self.user).or_default();
            if notes.len() >= NOTES_MAX {
                notes.remove(0);
            }
            notes.push(Note { id, conversation, content: content.clone() });
        }
        self.pend(stage, id, conversation, content, ephemeral);
    }

    fn pend(
        &mut self,
        stage: &mut Stage<'_>,
        id: ClientId,
        conversation: ConversationId,
        content: Content,
        ephemeral: bool,
    ) {
        let sent_us = stage.world.now_us();
        let (under_way, retry_at_us, asked_us) = (false, 0, 0);
        let pending = Pending { conversation, content, ephemeral, under_way, retry_at_us, asked_us, sent_us };
        self.pending.insert(id, pending);
        self.transmit(stage, id);
    }

    /// Sends a plain message, when there is a connection and room for one more; false: there is not.
    pub(crate) fn speak(&mut self, stage: &mut Stage<'_>, conversation: ConversationId) -> bool {
        if self.seat().is_none() || self.pending.len() >= PENDING_MAX {
            return false;
        }
        let body = self.draw_body(stage);
        let content = Content::Message { kind: "text".to_owned(), body, meta: None, reply_to: None };
        self.begin_send(stage, conversation, content, false);
        true
    }

    fn send_message(&mut self, stage: &mut Stage<'_>, conversation: ConversationId) {
        let body = self.draw_body(stage);
        let random = &mut stage.world.random;
        let meta = (random.below(4) == 0).then(|| serde_json::json!({"n": random.below(9), "s": "é\"\\"}));
        let position = self.cursors.get(&conversation).copied().filter(|position| *position > 0);
        let reply_to = position.filter(|_| random.below(4) == 0);
        let ephemeral = random.below(12) == 0;
        let content = Content::Message { kind: "text".to_owned(), body, meta, reply_to };
        self.begin_send(stage, conversation, content, ephemeral);
    }

    /// An edit, a deletion or a reaction.
    fn send_about(&mut self, stage: &mut Stage<'_>, conversation: ConversationId, position: u64) {
        if position == 0 {
            return;
        }
        let body = self.draw_body(stage);
        let random = &mut stage.world.random;
        let target = random.within(Span::new(position.saturating_sub(8).max(1), position));
        let content = match random.below(4) {
            0 => Content::Delete { target },
            1 => Content::Edit { target, body },
            _ => Content::Reaction { target, emoji: "👍".to_owned(), remove: random.coin() },
        };
        self.begin_send(stage, conversation, content, false);
    }

    /// The same id again: from any device of the user, with the same content or another one.
    fn send_again(&mut self, stage: &mut Stage<'_>) {
        let body = self.draw_body(stage);
        let notes = stage.notebook.get(&self.user).map_or(&[][..], Vec::as_slice);
        if notes.is_empty() || self.pending.len() >= PENDING_MAX {
            return;
        }
        let note = stage.world.random.pick(notes).clone();
        if self.pending.contains_key(&note.id) {
            return;
        }
        let content = if stage.world.random.below(3) == 0 {
            Content::Message { kind: "text".to_owned(), body, meta: None, reply_to: None }
        } else {
            note.content
        };
        self.pend(stage, note.id, note.conversation, content, false);
    }

    fn draw_history(
        &self,
        stage: &mut Stage<'_>,
        reference: i64,
        conversation: ConversationId,
        position: u64,
    ) -> Asked {
        let now_ms = stage.world.now().unix_ms;
        let random = &mut stage.world.random;
        let near = random.within(Span::new(position.saturating_sub(20).max(1), position + 3));
        let range = match random.below(5) {
            0 => Range::Newest,
            1 => Range::Before(near),
            2 => Range::After(near - 1),
            3 => Range::Around(near),
            _ => Range::Since(now_ms - random.below(20_000)),
        };
        let limit = random.within(Span::new(1, 200)) as u16;
        Asked::History { reference, conversation, range, limit }
    }

    fn draw_sync(&self, stage: &mut Stage<'_>, reference: i64) -> Asked {
        let random = &mut stage.world.random;
        let back = |(conversation, seq): (&_, &u64)| (*conversation, seq.saturating_sub(random.below(10)));
        let cursors = self.cursors.iter().map(back).collect();
        let limit = stage.world.random.within(Span::new(1, 200)) as u16;
        Asked::Sync { reference, cursors, limit }
    }
}
