//! `tail`: a live view of conversations in a terminal. Comes back after a lost connection with its cursors and resume
//! ticket, as every client should (PROTOCOL, sections 2 and 4), and misses nothing.

use std::collections::BTreeMap;
use std::process;
use std::time::Duration;

use clap::Args;
use protocol::id::ConversationId;
use ring::signal::{Signal, Signals};
use serde_json::{Value, json};

use super::conversation::conversation_id;
use super::event_line;
use super::send::{is, refusal, unique};
use super::socket::{Socket, SocketError, hello};
use super::token::{self, User};
use super::{Failure, print};
use crate::config::Config;
use crate::serve::reachable;

pub(super) const HELP: &str = "\
Shows what is said from now on, and with a CONVERSATION its last messages first. Ctrl-C ends it.

Examples:
  murmuring tail --user bob
  murmuring tail --user bob general --last 50";

/// Life of the tokens that are signed for the view; a new one is signed for every connection.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);
/// How long the server may take to answer `hello` and `history`.
const PATIENCE: Duration = Duration::from_secs(15);
/// Heartbeats without a word from the server after which the connection counts as lost.
const HEARTBEATS_SILENT_MAX: u32 = 3;
/// First and longest pause before the next attempt to connect, in milliseconds.
const PAUSE_MS: (u64, u64) = (250, 10_000);

/// Watch conversations live.
#[derive(Args, Clone, Debug)]
pub(super) struct Tail {
    #[command(flatten)]
    user: User,
    /// Use this token in place of a signed one
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Print each frame as JSON, one a line
    #[arg(long)]
    json: bool,
    /// With a CONVERSATION: how many of its last events to show first
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=200))]
    last: u16,
    /// Only this conversation; without it, all of the user's
    #[arg(value_name = "CONVERSATION", value_parser = conversation_id)]
    conversation: Option<ConversationId>,
}

impl Tail {
    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        let signals = Signals::install().map_err(Failure::failed)?;
        let mut view = View::new(self.clone()).map_err(Failure::failed)?;
        let mut pause_ms = PAUSE_MS.0;
        loop {
            let error = match view.watch(config, &signals) {
                Ok(()) => return Ok(()),
                Err(Interruption::Socket(error)) if error.is_passing() => error,
                Err(Interruption::Socket(error)) => return Err(Failure::failed(error)),
                Err(Interruption::Failure(failure)) => return Err(failure),
            };
            if !view.welcomed && matches!(error, SocketError::Unreachable(..) | SocketError::Refused(..)) {
                return Err(Failure::failed(error));
            }
            if std::mem::take(&mut view.heard) {
                pause_ms = PAUSE_MS.0;
            }
            let wait_ms = view.reconnect_after_ms.take().unwrap_or(pause_ms);
            eprintln!("murmuring: {error}; connecting again in {wait_ms} ms");
            if wait(&signals, Duration::from_millis(wait_ms))? {
                return Ok(());
            }
            pause_ms = (pause_ms * 2).min(PAUSE_MS.1);
        }
    }

    fn token(&self, config: &Config) -> Result<String, Failure> {
        match &self.token {
            Some(token) => Ok(token.clone()),
            None => Ok(token::sign(config, &self.user, TOKEN_TTL, false)?),
        }
    }
}

/// Why a connection's view ended.
enum Interruption {
    Socket(SocketError),
    Failure(Failure),
}

impl From<SocketError> for Interruption {
    fn from(error: SocketError) -> Self {
        Self::Socket(error)
    }
}

impl From<Failure> for Interruption {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Waits; true when a signal asks to end.
fn wait(signals: &Signals, time: Duration) -> Result<bool, Failure> {
    match signals.wait(time).map_err(Failure::failed)? {
        Some(Signal::Terminate | Signal::Interrupt) => Ok(true),
        Some(Signal::Hangup) => process::exit(1),
        None => Ok(false),
    }
}

/// What outlives a connection: the device, its ticket, and how far it has come in each conversation.
struct View {
    tail: Tail,
    device: String,
    resume: Option<String>,
    cursors: BTreeMap<String, u64>,
    welcomed: bool,
    heard: bool,
    reconnect_after_ms: Option<u64>,
}

impl View {
    fn new(tail: Tail) -> std::io::Result<Self> {
        Ok(Self {
            tail,
            device: format!("tail-{}", unique()?),
            resume: None,
            cursors: BTreeMap::new(),
            welcomed: false,
            heard: false,
            reconnect_after_ms: None,
        })
    }

    /// One connection's life; `Ok` when a signal ended it.
    fn watch(&mut self, config: &Config, signals: &Signals) -> Result<(), Interruption> {
        let mut socket = Socket::connect(reachable(config.listen.client), &self.tail.token(config)?)?;
        let cursors: Vec<(String, u64)> = self.cursors.clone().into_iter().collect();
        socket.send(&hello(&self.device, self.resume.as_deref(), &cursors))?;
        let welcome = socket.receive_until(PATIENCE, |frame| is(frame, &["welcome", "error"]), drop)?;
        if is(&welcome, &["error"]) {
            return Err(Failure::failed(refusal(&welcome)).into());
        }
        self.heard = true;
        let silence_max = self.take_welcome(&welcome) * HEARTBEATS_SILENT_MAX;
        if !std::mem::replace(&mut self.welcomed, true) {
            self.show_last(&mut socket)?;
        }
        loop {
            if wait(signals, Duration::ZERO)? {
                socket.close();
                return Ok(());
            }
            if socket.silence() > silence_max {
                return Err(SocketError::Closed(1006, "the server is silent".into()).into());
            }
            if let Some(frame) = socket.receive()? {
                self.take(&mut socket, &frame)?;
            }
        }
    }

    /// Remembers the ticket and where each conversation stands; returns the heartbeat.
    fn take_welcome(&mut self, welcome: &Value) -> Duration {
        self.resume = welcome["resume"].as_str().map(str::to_owned);
        for entry in welcome["conversations"].as_array().into_iter().flatten() {
            if let (Some(conversation), Some(head)) = (entry["conversation"].as_str(), entry["head"].as_u64())
            {
                self.cursors.entry(conversation.to_owned()).or_insert(head);
            }
        }
        Duration::from_millis(welcome["heartbeat_ms"].as_u64().unwrap_or(30_000).max(1_000))
    }

    /// The conversation's last events; what comes live meanwhile is shown after them.
    fn show_last(&mut self, socket: &mut Socket) -> Result<(), Interruption> {
        let Some(conversation) = self.tail.conversation else { return Ok(()) };
        let limit = self.tail.last.max(1);
        let ask = json!({
            "op": "history", "ref": 1, "conversation": conversation.as_str(), "limit": limit,
        });
        socket.send(&ask)?;
        let mut live = Vec::new();
        let answer = |frame: &Value| is(frame, &["page", "error"]) && frame["ref"] == 1;
        let page = socket.receive_until(PATIENCE, answer, |frame| live.push(frame))?;
        if is(&page, &["error"]) {
            return Err(Failure::failed(format!("{conversation}: {}", refusal(&page))).into());
        }
        self.cursors.insert(conversation.as_str().to_owned(), 0);
        let skipped = if self.tail.last == 0 { usize::MAX } else { 0 };
        for event in page["events"].as_array().into_iter().flatten().skip(skipped) {
            self.show_event(event)?;
        }
        if let Some(head) = page["head"].as_u64() {
            let cursor = self.cursors.entry(conversation.as_str().to_owned()).or_insert(0);
            *cursor = (*cursor).max(head);
        }
        for frame in live {
            self.take(socket, &frame)?;
        }
        Ok(())
    }

    fn take(&mut self, socket: &mut Socket, frame: &Value) -> Result<(), Interruption> {
        match frame["op"].as_str() {
            Some("event") => self.show_event(frame)?,
            Some("signal") => self.show(frame)?,
            Some("page") => {
                for event in frame["events"].as_array().into_iter().flatten() {
                    self.show_event(event)?;
                }
                if frame["more"] == true {
                    self.sync(socket, &frame["conversation"])?;
                }
            }
            Some("lagging") => self.sync(socket, &frame["conversation"])?,
            Some("goaway") => self.reconnect_after_ms = frame["reconnect_after_ms"].as_u64(),
            Some("error") => eprintln!("murmuring: {}", refusal(frame)),
            _ => {}
        }
        Ok(())
    }

    /// Asks for what comes after the cursor.
    fn sync(&mut self, socket: &mut Socket, conversation: &Value) -> Result<(), Interruption> {
        let Some(name) = conversation.as_str() else { return Ok(()) };
        let after = self.cursors.get(name).copied().unwrap_or(0);
        let ask = json!({ "op": "sync", "ref": 2, "cursors": [[name, after]], "limit": 200 });
        Ok(socket.send(&ask)?)
    }

    /// Shows an event that is newer than all shown of its conversation.
    fn show_event(&mut self, event: &Value) -> Result<(), Failure> {
        let (Some(conversation), Some(seq)) = (event["conversation"].as_str(), event["seq"].as_u64()) else {
            return Ok(());
        };
        let cursor = self.cursors.entry(conversation.to_owned()).or_insert(0);
        if seq <= *cursor {
            return Ok(());
        }
        *cursor = seq;
        self.show(event)
    }

    fn show(&self, frame: &Value) -> Result<(), Failure> {
        let wanted = self.tail.conversation.as_ref().map(ConversationId::as_str);
        if wanted.is_some_and(|wanted| frame["conversation"] != wanted) {
            return Ok(());
        }
        let line = if self.tail.json { frame.to_string() } else { event_line::line(frame) };
        print(&format!("{line}\n"))
    }
}
