//! Whether a cluster is there: it is away when nothing that was asked of it is answered for a while, and back with the
//! first answer. No clock here.

use std::time::{Duration, Instant};

/// A cluster that answers nothing for so long, while it is asked, is away. A recovery within the cluster takes less, as a rule.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);
/// Looks further apart than this say nothing of the time between.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// From a probe that failed to the next one.
const PROBE_PAUSE: Duration = Duration::from_millis(200);

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// It has just gone.
    Gone,
    /// It has just come back.
    Back,
}

/// What is known of a cluster.
#[derive(Debug)]
pub(super) struct Health {
    away: bool,
    /// Answers so far, at the last look.
    answers: u64,
    /// When the last came, or something was asked after a time without anything to answer.
    heard: Instant,
    /// The last look.
    looked: Instant,
    /// A probe is under way.
    probing: bool,
    probe_at: Instant,
}

impl Health {
    pub(super) const fn new(now: Instant) -> Self {
        Self { away: false, answers: 0, heard: now, looked: now, probing: false, probe_at: now }
    }

    pub(super) const fn is_away(&self) -> bool {
        self.away
    }

    /// Nothing was asked before this time.
    pub(super) fn begins_to_ask(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Looks at how many answers came so far.
    pub(super) fn look(&mut self, answers: u64, now: Instant) -> Change {
        let silent = answers == self.answers;
        self.answers = answers;
        // Who did not look could not hear either: a thread that was stopped takes the cluster for silent.
        let slept = now.saturating_duration_since(self.looked) >= LOOK_MAX;
        self.looked = now;
        if !silent || slept {
            self.heard = now;
        }
        match (self.away, silent) {
            (true, false) => {
                self.away = false;
                Change::Back
            }
            (false, true) if now.saturating_duration_since(self.heard) >= SILENCE_MAX => {
                self.away = true;
                self.probing = false;
                self.probe_at = now;
                Change::Gone
            }
            _ => Change::None,
        }
    }

    /// True when a probe is to be sent now; then it is under way.
    pub(super) fn wants_probe(&mut self, now: Instant) -> bool {
        let wants = self.away && !self.probing && now >= self.probe_at;
        self.probing |= wants;
        wants
    }

    /// A probe is over.
    pub(super) fn probed(&mut self, now: Instant) {
        self.probing = false;
        self.probe_at = now + PROBE_PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_while_something_is_asked_means_away_and_the_first_answer_means_back() {
        let begin = Instant::now();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let mut health = Health::new(begin);
        assert_eq!(health.look(5, at(100)), Change::None);
        health.begins_to_ask(at(60_000));
        for look in 60_000..61_499 {
            assert_eq!(health.look(5, at(look)), Change::None);
        }
        assert_eq!(health.look(5, at(61_499)), Change::None);
        assert!(!health.wants_probe(at(61_499)));
        assert_eq!(health.look(5, at(61_500)), Change::Gone);
        assert!(health.is_away());
        assert!(health.wants_probe(at(61_500)));
        assert!(!health.wants_probe(at(61_500)), "one at a time");
        health.probed(at(66_500));
        assert!(!health.wants_probe(at(66_600)));
        assert!(health.wants_probe(at(66_700)));
        assert_eq!(health.look(5, at(66_701)), Change::None);
        assert_eq!(health.look(6, at(66_702)), Change::Back);
        assert!(!health.is_away());
        assert_eq!(health.look(6, at(66_703)), Change::None);
    }

    #[test]
    fn a_thread_that_was_stopped_does_not_take_the_cluster_for_silent() {
        let begin = Instant::now();
        let mut health = Health::new(begin);
        assert_eq!(health.look(0, begin + Duration::from_secs(100)), Change::None);
        assert_eq!(health.look(0, begin + Duration::from_millis(100_100)), Change::None);
    }

    #[test]
    fn slow_answers_are_answers() {
        let begin = Instant::now();
        let mut health = Health::new(begin);
        for second in 1..100 {
            assert_eq!(health.look(second, begin + Duration::from_secs(second)), Change::None);
        }
    }
}
