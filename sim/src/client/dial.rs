//! Connecting: the upgrade, the token in one of its four places, `hello` with cursors and ticket.

use protocol::frame::Subprotocol;

use super::{Client, Reader, Stage, State};
use crate::asked::Asked;
use crate::checker::Violation;
use crate::coverage::Mark;
use crate::random::Span;

/// Where the token is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenPlace {
    Header,
    Subprotocol,
    Query,
    Hello,
}

const HEAD_END: &[u8] = b"\r\n\r\n";

impl Client {
    /// Opens a connection and asks for the upgrade.
    pub(super) fn dial(&mut self, stage: &mut Stage<'_>) {
        let gateway = stage.world.random.index(usize::from(stage.gateways));
        let connection = stage.kernel.connect(stage.world, gateway);
        self.gateway = gateway;
        stage.world.coverage.hit(Mark::Connected);
        stage.checker.opened(connection, self.user, self.device);
        self.connection = Some(connection);
        self.head.clear();
        self.reader = Reader::default();
        self.slow_until_us = 0;
        self.state = State::Upgrading { since_us: stage.world.now_us() };
        let places = [TokenPlace::Header, TokenPlace::Subprotocol, TokenPlace::Query, TokenPlace::Hello];
        let place = *stage.world.random.pick(&places);
        self.token_in_hello = place == TokenPlace::Hello;
        stage.world.trace(|| format!("{} connects to gateway {gateway}, token: {place:?}", self.name()));
        let request = self.upgrade_request(place);
        stage.kernel.write(stage.world, connection, request.as_bytes());
    }

    fn upgrade_request(&self, place: TokenPlace) -> String {
        let token = &self.token;
        let query = if place == TokenPlace::Query { format!("?token={token}") } else { String::new() };
        let mut offered = vec![self.subprotocol.name().to_owned()];
        let mut authorization = String::new();
        match place {
            TokenPlace::Header => authorization = format!("Authorization: Bearer {token}\r\n"),
            TokenPlace::Subprotocol => offered.push(format!("bearer.{token}")),
            TokenPlace::Query | TokenPlace::Hello => {}
        }
        format!(
            "GET /v1/connect{query} HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2ltdWxhdGVkIGNsaWVudA==\r\n{authorization}\
             Sec-WebSocket-Protocol: {}\r\n\r\n",
            offered.join(", ")
        )
    }

    /// The answer to the upgrade, as far as it has come.
    pub(super) fn upgraded(&mut self, stage: &mut Stage<'_>) -> Result<(), Violation> {
        let end = self.head.windows(HEAD_END.len()).position(|window| window == HEAD_END);
        let Some(end) = end else { return Ok(()) };
        let rest = self.head.split_off(end + HEAD_END.len());
        let head = String::from_utf8_lossy(&self.head).into_owned();
        match head.split(' ').nth(1) {
            Some("101") => self.check_protocol(&head)?,
            // Too many at once, or a drain.
            Some("503") => {
                self.disconnected(stage, Some(200_000));
                return Ok(());
            }
            _ => {
                let details = format!("{}: the upgrade is answered with {head:?}", self.name());
                return Err(Violation::new("a good token is welcome", details));
            }
        }
        self.reader.feed(&rest);
        self.greet(stage);
        self.hear(stage)
    }

    fn check_protocol(&self, head: &str) -> Result<(), Violation> {
        let wanted = format!("sec-websocket-protocol: {}", self.subprotocol.name());
        if !head.to_ascii_lowercase().contains(&wanted) {
            return Err(Violation::new("subprotocol", format!("offered {wanted}, got {head:?}")));
        }
        Ok(())
    }

    fn greet(&mut self, stage: &mut Stage<'_>) {
        self.state = State::Greeting { since_us: stage.world.now_us() };
        if stage.crowd.is_orderly {
            return self.greet_orderly(stage);
        }
        let resume = self.ticket.clone().filter(|_| stage.world.random.coin());
        let token = self.token_in_hello.then(|| self.token.to_string());
        // A ticket is as good as a token.
        let token = token.filter(|_| resume.is_none() || stage.world.random.coin());
        if token.is_none() && self.token_in_hello {
            stage.world.coverage.hit(Mark::Resumed);
        }
        let cursors = match stage.world.random.below(8) {
            0 => Vec::new(),
            1 => self.cursors.keys().map(|conversation| (*conversation, 0)).collect(),
            2 => self.beyond_cursors(stage),
            _ => self.cursors.iter().map(|(conversation, seq)| (*conversation, *seq)).collect(),
        };
        self.ask(stage, &Asked::Hello { device: self.device, token, resume, cursors });
    }

    /// As a good client does: with its ticket, when it has one, or its token, and its cursors.
    fn greet_orderly(&mut self, stage: &mut Stage<'_>) {
        let resume = self.ticket.clone();
        let token = (self.token_in_hello && resume.is_none()).then(|| self.token.to_string());
        if resume.is_some() {
            stage.world.coverage.hit(Mark::Resumed);
        }
        let cursors = self.cursors.iter().map(|(conversation, seq)| (*conversation, *seq)).collect();
        self.ask(stage, &Asked::Hello { device: self.device, token, resume, cursors });
    }

    /// Cursors past the head: what a client of another life of the store might have.
    fn beyond_cursors(&self, stage: &mut Stage<'_>) -> Vec<(protocol::id::ConversationId, u64)> {
        let random = &mut stage.world.random;
        let beyond =
            |(conversation, seq): (&_, &u64)| (*conversation, seq + random.within(Span::new(0, 100)));
        self.cursors.iter().map(beyond).collect()
    }

    /// The name of the subprotocol is part of what is tested.
    pub(super) fn is_binary(&self) -> bool {
        self.subprotocol == Subprotocol::Rkyv
    }
}
