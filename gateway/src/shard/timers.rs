//! Timers: what is due of a connection when the wheel comes round to it. Heartbeats, silence, the time of each state,
//! the end of a token.

use protocol::envelope::ToRouter;
use protocol::error::CloseCode;
use protocol::placement::Slot;

use super::GatewayShard;
use super::caller::Asks;
use super::connection::{Connection, Flag, State};
use super::settings::Settings;
use super::wheel::{TICK_MS, tick_of, ticks};

/// Pings that a client may leave unanswered.
const PINGS_MAX: u8 = 2;
/// Milliseconds told to a client that is closed since its session could not be opened in time.
const OPENING_RETRY_MS: u32 = 1_000;

/// How late a timer must be for the shard itself to have been away: stopped, or a machine that slept. Nobody is given up for what
/// it could not hear.
const ABSENCE_MS: u32 = 3_000;
/// How long after that clients whose time ended meanwhile are given it anew.
const EXCUSED_MS: u32 = 500;

/// What a heartbeat is put off by at most is a part of its time: so many fall due together, and a shard is woken for all of
/// them at once.
const HEARTBEAT_PARTS: u32 = 64;

/// The tick at which what falls due at `tick` is looked at, together with what falls due a little earlier.
fn together(tick: u32, settings: &Settings) -> u32 {
    tick.next_multiple_of((ticks(settings.heartbeat_ms) / HEARTBEAT_PARTS).max(1))
}

/// When a client is next pinged or given up, in ticks.
fn heartbeat_tick(connection: &Connection, settings: &Settings) -> u32 {
    together(
        connection.heard_tick + ticks(settings.heartbeat_ms * (u32::from(connection.pings) + 1)),
        settings,
    )
}

fn silence_tick(connection: &Connection, settings: &Settings) -> u32 {
    together(connection.heard_tick + ticks(settings.offline_ms), settings)
}

impl GatewayShard {
    /// The tick of a time of day; one that is over is now.
    fn tick_at(&self, expires_s: u32) -> u32 {
        if expires_s == u32::MAX {
            return u32::MAX;
        }
        let left_ms = (u64::from(expires_s) * 1_000).saturating_sub(self.now.unix_ms);
        let tick = self.now.monotonic_ms.saturating_add(left_ms).div_ceil(TICK_MS);
        u32::try_from(tick).unwrap_or(u32::MAX)
    }

    /// The first tick at which something may be due of a connection.
    fn due_tick(&self, slot: u32) -> u32 {
        let connection = &self.slab[slot];
        match connection.state {
            State::Free | State::Closed => u32::MAX,
            State::Upgrading | State::Closing => connection.state_tick,
            State::AwaitHello | State::Opening => {
                connection.state_tick.min(self.tick_at(connection.expires_s))
            }
            State::Echo => heartbeat_tick(connection, &self.settings),
            State::Open => {
                let due = heartbeat_tick(connection, &self.settings).min(self.tick_at(connection.expires_s));
                if connection.flags.has(Flag::Silent) {
                    due
                } else {
                    due.min(silence_tick(connection, &self.settings))
                }
            }
        }
    }

    /// Sets a connection's timer after its state changed.
    pub(super) fn arm_timer(&mut self, slot: u32) {
        let tick = self.due_tick(slot);
        self.wheel.arm(&mut self.slab, slot, tick);
    }

    /// Brings a connection's timer forward: its token was replaced.
    pub(super) fn rearm_timer(&mut self, slot: u32) {
        let tick = self.due_tick(slot);
        self.wheel.arm_earlier(&mut self.slab, slot, tick);
    }

    pub(super) fn expire_timers(&mut self) {
        let tick = tick_of(self.now.monotonic_ms);
        if self.wheel.next_tick().is_some_and(|due| tick > due.saturating_add(ticks(ABSENCE_MS))) {
            self.excused_tick = tick + ticks(EXCUSED_MS);
        }
        while let Some(slot) = self.wheel.expire(&mut self.slab, tick) {
            self.due(slot, tick);
            if !matches!(self.slab[slot].state, State::Free | State::Closed) {
                self.arm_timer(slot);
            }
        }
    }

    fn due(&mut self, slot: u32, tick: u32) {
        let connection = &self.slab[slot];
        let state_over = tick >= connection.state_tick;
        match connection.state {
            State::Free | State::Closed => {}
            State::Upgrading | State::Closing if state_over => self.close_now(slot),
            State::Upgrading | State::Closing => {}
            _ if tick >= self.tick_at(connection.expires_s) => {
                self.close(slot, CloseCode::UNAUTHORIZED, "the token is expired");
            }
            State::AwaitHello if state_over && connection.flags.has(Flag::Parked) => {
                self.close_over_limit(slot, "too many sessions open at once", OPENING_RETRY_MS);
            }
            State::AwaitHello if state_over => self.close(slot, CloseCode::MISUSE, "no hello came"),
            State::Opening if state_over => self.close_unavailable(slot, OPENING_RETRY_MS),
            State::AwaitHello | State::Opening => {}
            State::Open | State::Echo => self.heartbeat(slot, tick),
        }
    }

    fn heartbeat(&mut self, slot: u32, tick: u32) {
        let connection = &mut self.slab[slot];
        if tick < self.excused_tick && tick > connection.heard_tick + ticks(ABSENCE_MS) {
            (connection.heard_tick, connection.pings) = (tick, 0);
        }
        let silent = connection.state == State::Open
            && !connection.flags.has(Flag::Silent)
            && tick >= silence_tick(connection, &self.settings);
        if silent {
            connection.flags.set(Flag::Silent);
            self.tell_heard(slot, false);
        }
        let connection = &mut self.slab[slot];
        if tick < heartbeat_tick(connection, &self.settings) {
            return;
        }
        if connection.pings == PINGS_MAX {
            self.close(slot, CloseCode::HEARTBEAT, "two pings were not answered");
            return;
        }
        connection.pings += 1;
        self.counters.pings += 1;
        let ping = self.ping.clone();
        self.push(slot, ping);
    }

    /// Tells the user's owner that a session is silent, or is heard again.
    pub(super) fn tell_heard(&mut self, slot: u32, heard: bool) {
        let caller = self.caller(slot, Asks::Session, 0);
        let user = self.user_key(slot);
        self.tell_slot(Slot::of_user(&user), ToRouter::SessionHeard { caller, user, heard });
    }
}
