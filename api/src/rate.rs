//! How often a user may send over HTTP: the rate of one connection (PROTOCOL, section 4), a user. Reads no clock.

use std::collections::HashMap;
use std::time::Duration;

use protocol::error::{ErrorCode, Refusal};
use protocol::id::UserKey;

/// Users remembered at once: those who sent within the time that a whole burst takes to come back.
const USERS_MAX: usize = 100_000;

/// One number a user: the time at which all of its sends are paid for (the generic cell rate algorithm,
/// ITU-T I.371). A user that owes nothing is forgotten.
pub(crate) struct Rates {
    interval: Duration,
    burst: Duration,
    paid: HashMap<UserKey, Duration>,
}

impl Rates {
    /// `per_second` sends a second for long, `burst` at once after a pause; both at least 1.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, burst: interval * burst.max(1), paid: HashMap::new() }
    }

    /// Takes one send at `now`, a time since whatever moment.
    pub(crate) fn take(&mut self, user: UserKey, now: Duration) -> Result<(), Refusal> {
        self.make_room(now)?;
        let paid = self.paid.entry(user).or_insert(now);
        let next = (*paid).max(now) + self.interval;
        if let Some(early) = next.checked_sub(now + self.burst).filter(|early| !early.is_zero()) {
            return Err(refused(early));
        }
        *paid = next;
        Ok(())
    }

    fn make_room(&mut self, now: Duration) -> Result<(), Refusal> {
        if self.paid.len() < USERS_MAX {
            return Ok(());
        }
        self.paid.retain(|_, paid| *paid > now);
        if self.paid.len() < USERS_MAX { Ok(()) } else { Err(refused(self.burst)) }
    }
}

fn refused(early: Duration) -> Refusal {
    let milliseconds = u32::try_from(early.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX);
    Refusal::retry(
        ErrorCode::RateLimited,
        "too many sends; wait as long as `retry_after_ms` says",
        milliseconds,
    )
}

#[cfg(test)]
mod tests {
    use protocol::id::{Tenant, UserId};

    use super::*;

    fn user(name: &str) -> UserKey {
        UserKey { tenant: Tenant::default_tenant(), user: UserId::parse(name).unwrap() }
    }

    #[test]
    fn a_burst_passes_and_the_next_send_is_told_when() {
        let mut rates = Rates::new(20, 40);
        let start = Duration::from_secs(100);
        for _ in 0..40 {
            rates.take(user("alice"), start).unwrap();
        }
        let refusal = rates.take(user("alice"), start).unwrap_err();
        assert_eq!(refusal.retry_after_ms, Some(50));
        rates.take(user("bob"), start).unwrap();
        let almost = start + Duration::from_micros(49_999);
        assert_eq!(rates.take(user("alice"), almost).unwrap_err().retry_after_ms, Some(1));
        rates.take(user("alice"), start + Duration::from_millis(50)).unwrap();
        rates.take(user("alice"), start + Duration::from_millis(50)).unwrap_err();
    }

    #[test]
    fn a_pause_gives_the_burst_back_and_no_more() {
        let mut rates = Rates::new(10, 2);
        for second in [0, 1_000] {
            rates.take(user("alice"), Duration::from_secs(second)).unwrap();
            rates.take(user("alice"), Duration::from_secs(second)).unwrap();
            rates.take(user("alice"), Duration::from_secs(second)).unwrap_err();
        }
    }

    #[test]
    fn users_who_owe_nothing_are_forgotten_when_the_table_is_full() {
        let mut rates = Rates::new(20, 40);
        for number in 0..USERS_MAX {
            rates.take(user(&number.to_string()), Duration::ZERO).unwrap();
        }
        rates.take(user("late"), Duration::ZERO).unwrap_err();
        rates.take(user("late"), Duration::from_secs(1)).unwrap();
        assert_eq!(rates.paid.len(), 1);
    }
}
