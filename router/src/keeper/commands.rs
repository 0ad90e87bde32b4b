//! The commands that wait, each with its time.

use std::collections::VecDeque;

use super::command::{Command, CommandNumber};
use super::{COMMAND_PATIENCE_MS, COMMANDS_MAX};

/// A command that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) number: CommandNumber,
    pub(super) command: Command,
    /// When it is given up, monotonic milliseconds.
    pub(super) until_ms: u64,
}

/// All of them, in order.
#[derive(Debug, Default)]
pub(super) struct Commands {
    waiting: VecDeque<Waiting>,
}

impl Commands {
    /// Takes one in; false: too many wait.
    pub(super) fn push(&mut self, number: CommandNumber, command: Command, now_ms: u64) -> bool {
        let has_room = self.waiting.len() < COMMANDS_MAX;
        if has_room {
            self.waiting.push_back(Waiting { number, command, until_ms: now_ms + COMMAND_PATIENCE_MS });
        }
        has_room
    }

    pub(super) fn first(&self) -> Option<&Waiting> {
        self.waiting.front()
    }

    pub(super) fn pop(&mut self) -> Option<CommandNumber> {
        self.waiting.pop_front().map(|waiting| waiting.number)
    }

    /// Takes out one whose time is over.
    pub(super) fn pop_late(&mut self, now_ms: u64) -> Option<CommandNumber> {
        self.first().filter(|first| first.until_ms <= now_ms)?;
        self.pop()
    }

    pub(super) fn invariants(&self) {
        assert!(self.waiting.len() <= COMMANDS_MAX);
        assert!(self.waiting.iter().is_sorted_by_key(|waiting| waiting.until_ms));
    }
}
