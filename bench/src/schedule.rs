//! The open loop: when each message is meant to be sent, whatever became of the ones before. Latency counts from that
//! time, so a sender that is held up by a slow server is not taken for a fast one ("coordinated omission").

use clap::ValueEnum;

use crate::chance::Chance;

/// How the intended times follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// At the same distance.
    Constant,
    /// At distances as of many independent senders (exponential, from the seed).
    Poisson,
}

/// Intended times of one sender, in nanoseconds of the run's clock.
#[derive(Clone, Debug)]
pub struct Schedule {
    next_ns: f64,
    interval_ns: f64,
    arrivals: Arrivals,
    chance: Chance,
}

impl Schedule {
    /// From `start_ns` on, `rate` a second on average; without a rate, never.
    ///
    /// Several senders that share a rate begin at different points of the interval, by their seeds.
    #[must_use]
    pub fn new(start_ns: u64, rate: f64, arrivals: Arrivals, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let interval_ns = 1e9 / rate.max(0.0);
        let first = match arrivals {
            Arrivals::Constant => interval_ns * chance.fraction(),
            Arrivals::Poisson => exponential(interval_ns, &mut chance),
        };
        Self { next_ns: start_ns as f64 + first, interval_ns, arrivals, chance }
    }

    /// The intended time of the next message, if it has come: call it until it says no.
    pub fn due(&mut self, now_ns: u64) -> Option<u64> {
        let intended_ns = self.next_ns()?;
        if intended_ns > now_ns {
            return None;
        }
        self.next_ns += match self.arrivals {
            Arrivals::Constant => self.interval_ns,
            Arrivals::Poisson => exponential(self.interval_ns, &mut self.chance),
        };
        Some(intended_ns)
    }

    /// When the next message is due; none when there is no rate.
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        self.next_ns.is_finite().then_some(self.next_ns as u64)
    }
}

fn exponential(mean: f64, chance: &mut Chance) -> f64 {
    -mean * f64::ln(1.0 - chance.fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(schedule: &mut Schedule, until_ns: u64) -> Vec<u64> {
        std::iter::from_fn(|| schedule.due(until_ns)).collect()
    }

    #[test]
    fn a_constant_rate_keeps_its_distance() {
        let mut schedule = Schedule::new(5_000, 1_000.0, Arrivals::Constant, 1);
        let times = times(&mut schedule, 1_000_005_000);
        assert!((999..=1_001).contains(&times.len()), "{}", times.len());
        assert!(times.windows(2).all(|pair| pair[1].abs_diff(pair[0] + 1_000_000) <= 1));
        assert!(times[0] >= 5_000 && times[0] < 1_005_000);
    }

    #[test]
    fn chance_has_the_rate_on_average_and_the_seed_in_every_time() {
        let run = |seed| times(&mut Schedule::new(0, 1_000.0, Arrivals::Poisson, seed), 100_000_000_000);
        let first = run(1);
        assert!((98_000..102_000).contains(&first.len()), "{}", first.len());
        let short = first.windows(2).filter(|pair| pair[1] - pair[0] < 1_000_000).count();
        let share = short as f64 / first.len() as f64;
        assert!((0.62..0.645).contains(&share), "1 - 1/e of all distances are below the mean, not {share}");
        assert_eq!(first, run(1));
        assert_ne!(first, run(2));
    }

    #[test]
    fn who_comes_late_gets_what_it_missed_with_its_own_time() {
        let mut schedule = Schedule::new(0, 10.0, Arrivals::Constant, 3);
        assert!(schedule.next_ns().is_some());
        assert_eq!(times(&mut schedule, 2_000_000_000).len(), 20);
        assert_eq!(schedule.due(2_000_000_000), None);
    }

    #[test]
    fn no_rate_is_never() {
        let mut schedule = Schedule::new(0, 0.0, Arrivals::Poisson, 3);
        assert_eq!((schedule.due(u64::MAX), schedule.next_ns()), (None, None));
    }
}
