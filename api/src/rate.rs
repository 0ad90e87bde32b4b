//! How often a user may send over HTTP: the rate of one connection (PROTOCOL, section 4), a user. Reads no clock.

use std::collections::HashMap;
use std::time::Duration;

use protocol::error::{ErrorCode, Refusal};
use protocol::id::UserKey;
use protocol::rate::{Bucket, Rate};

/// Users remembered at once: those who sent within the time that a whole burst takes to come back.
const USERS_MAX: usize = 100_000;

/// A bucket a user. A user whose bucket is full is as good as forgotten.
pub(crate) struct Rates {
    rate: Rate,
    buckets: HashMap<UserKey, Bucket>,
}

impl Rates {
    /// `per_second` sends a second for long, `burst` at once after a pause; both at least 1.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { rate: Rate::new(per_second, burst), buckets: HashMap::new() }
    }

    /// Takes one send at `now`, a time since whatever moment.
    pub(crate) fn take(&mut self, user: UserKey, now: Duration) -> Result<(), Refusal> {
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.make_room(now_us)?;
        let bucket = self.buckets.entry(user).or_insert(Bucket::full());
        bucket.take(self.rate, now_us).map_err(refused)
    }

    fn make_room(&mut self, now_us: u64) -> Result<(), Refusal> {
        if self.buckets.len() < USERS_MAX {
            return Ok(());
        }
        self.buckets.retain(|_, bucket| !bucket.is_full(now_us));
        if self.buckets.len() < USERS_MAX { Ok(()) } else { Err(refused(self.rate.whole_ms())) }
    }
}

fn refused(retry_after_ms: u32) -> Refusal {
    let message = "too many sends; wait as long as `retry_after_ms` says";
    Refusal::retry(ErrorCode::RateLimited, message, retry_after_ms)
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
    fn users_with_a_full_bucket_are_forgotten_when_the_table_is_full() {
        let mut rates = Rates::new(20, 40);
        for number in 0..USERS_MAX {
            rates.take(user(&number.to_string()), Duration::ZERO).unwrap();
        }
        rates.take(user("late"), Duration::ZERO).unwrap_err();
        rates.take(user("late"), Duration::from_secs(1)).unwrap();
        assert_eq!(rates.buckets.len(), 1);
    }
}
