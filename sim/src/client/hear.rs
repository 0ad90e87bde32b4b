//! What a client makes of what it is told.

use super::websocket::{self, Message};
use super::{Acked, Client, Stage, State};
use crate::asked::Asked;
use crate::checker::Violation;
use crate::coverage::Mark;
use crate::told::Told;

/// Close codes that a client which keeps to the protocol may meet.
const FAIR_CLOSES: [u16; 7] = [1000, 1001, 1005, 4408, 4409, 4429, 4503];

impl Client {
    /// Takes every whole message.
    pub(super) fn hear(&mut self, stage: &mut Stage<'_>) -> Result<(), Violation> {
        while self.connection.is_some() {
            let message = self
                .reader
                .next()
                .map_err(|why| Violation::new("RFC 6455", format!("{}: {why}", self.name())))?;
            match message {
                None => break,
                Some(Message::Ping(payload)) => self.pong(stage, &payload),
                Some(Message::Pong) => {}
                Some(Message::Close(code, reason)) => self.closed(stage, code, &reason)?,
                Some(Message::Text(text)) if !self.is_binary() => {
                    let told = Told::json(&text);
                    self.told(stage, told, text.as_bytes())?;
                }
                Some(Message::Binary(bytes)) if self.is_binary() => {
                    let told = Told::rkyv(&bytes);
                    self.told(stage, told, &bytes)?;
                }
                Some(other) => {
                    let details = format!("{}: {other:?} on the other subprotocol", self.name());
                    return Err(Violation::new("subprotocol", details));
                }
            }
        }
        Ok(())
    }

    fn pong(&mut self, stage: &mut Stage<'_>, payload: &[u8]) {
        let Some(connection) = self.connection else { return };
        let mut frame = Vec::new();
        websocket::write_pong(&mut frame, &mut stage.world.random, payload);
        stage.kernel.write(stage.world, connection, &frame);
    }

    fn closed(&mut self, stage: &mut Stage<'_>, code: u16, reason: &str) -> Result<(), Violation> {
        stage.world.trace(|| format!("{} is closed with {code} {reason}", self.name()));
        if !FAIR_CLOSES.contains(&code) {
            let details = format!("{}: closed with {code} {reason:?}", self.name());
            return Err(Violation::new("a good client is not closed", details));
        }
        let asked_for = matches!(self.state, State::Closing { .. });
        if !asked_for {
            stage.world.coverage.hit(Mark::ClosedByServer);
        }
        if let Some(connection) = self.connection {
            let mut frame = Vec::new();
            websocket::write_close(&mut frame, &mut stage.world.random, 1000);
            stage.kernel.write(stage.world, connection, &frame);
        }
        self.disconnected(stage, None);
        Ok(())
    }

    fn told(&mut self, stage: &mut Stage<'_>, told: Option<Told>, bytes: &[u8]) -> Result<(), Violation> {
        let Some(told) = told else {
            let details = format!("{}: {:?}", self.name(), String::from_utf8_lossy(bytes));
            return Err(Violation::new("frames are as PROTOCOL says", details));
        };
        let Some(connection) = self.connection else { return Ok(()) };
        stage.world.trace(|| format!("{} is told {told:?}", self.name()));
        self.told_us = stage.world.now_us();
        let store = stage.store;
        let durable = &mut |key: &_, after| store.synced_log(key, after);
        stage.checker.told(connection, &told, durable, &mut stage.world.coverage)?;
        self.react(stage, told)
    }

    fn react(&mut self, stage: &mut Stage<'_>, told: Told) -> Result<(), Violation> {
        match told {
            Told::Welcome { user, resume, conversations, .. } => {
                if user != self.user.user {
                    let details = format!("{} is welcomed as {user}", self.name());
                    return Err(Violation::new("identity", details));
                }
                stage.world.coverage.hit(Mark::Welcomed);
                self.state = State::Open;
                self.failures = 0;
                if self.lost_with.take().is_some_and(|lost| lost != self.gateway) {
                    stage.world.coverage.hit(Mark::ResumedElsewhere);
                }
                self.ticket = Some(resume);
                let connection = self.connection.expect("something was told on it");
                for entry in conversations {
                    let position = stage.checker.position(connection, entry.conversation);
                    self.cursors.insert(entry.conversation, position.unwrap_or(entry.head));
                }
            }
            Told::Ack { id, .. } => {
                if let Some(pending) = self.pending.remove(&id) {
                    stage.acks.push(Acked {
                        conversation: pending.conversation,
                        sent_us: pending.sent_us,
                        acked_us: stage.world.now_us(),
                    });
                }
            }
            Told::Event(event) => {
                self.cursors.insert(event.conversation, event.seq);
            }
            Told::Lagging { conversation, after, head } => {
                stage.world.coverage.hit(Mark::Lagging);
                self.cursors.insert(conversation, head);
                self.catch_up(stage, conversation, after);
            }
            Told::Error { id: Some(id), code, retry_after_ms, .. } => {
                self.send_refused(stage, id, &code, retry_after_ms);
            }
            // Some go at once, others wait to be closed.
            Told::Goaway { reconnect_after_ms } if stage.world.random.coin() => {
                self.disconnected(stage, Some(reconnect_after_ms * 1_000));
            }
            Told::Signal(_) => stage.world.coverage.hit(Mark::SignalDelivered),
            Told::Typing { .. } => stage.world.coverage.hit(Mark::TypingDelivered),
            Told::Receipt { .. } => stage.world.coverage.hit(Mark::ReceiptDelivered),
            Told::Presence { .. } => stage.world.coverage.hit(Mark::PresenceDelivered),
            Told::Goaway { .. }
            | Told::Page { .. }
            | Told::Synced { .. }
            | Told::Conversations { .. }
            | Told::Refreshed
            | Told::Pong { .. }
            | Told::Error { id: None, .. } => {}
        }
        Ok(())
    }

    fn catch_up(&mut self, stage: &mut Stage<'_>, conversation: protocol::id::ConversationId, after: u64) {
        let reference = self.next_reference();
        self.ask(stage, &Asked::Sync { reference, cursors: vec![(conversation, after)], limit: 200 });
    }

    fn send_refused(
        &mut self,
        stage: &mut Stage<'_>,
        id: protocol::id::ClientId,
        code: &str,
        retry_after_ms: Option<u64>,
    ) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        if code == "unavailable" && stage.world.random.happens(stage.crowd.gives_up) {
            stage.world.coverage.hit(Mark::GivenUp);
            self.pending.remove(&id);
        } else if matches!(code, "unavailable" | "rate_limited") && !pending.ephemeral {
            pending.under_way = false;
            pending.retry_at_us = stage.world.now_us() + retry_after_ms.unwrap_or(1_000) * 1_000;
        } else {
            self.pending.remove(&id);
        }
    }
}
