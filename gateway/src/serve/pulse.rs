//! Whether every core still turns, judged by the signs of life it gives. Reads no clock.

use std::time::{Duration, Instant};

/// The signs of life of all cores, as last seen.
#[derive(Debug)]
pub(super) struct Pulse {
    cores: Vec<(u32, Instant)>,
}

impl Pulse {
    /// All cores are taken for alive at `now`.
    pub(super) fn new(beats: impl Iterator<Item = u32>, now: Instant) -> Self {
        Self { cores: beats.map(|beat| (beat, now)).collect() }
    }

    /// Takes new counts, and says how long the most silent core has been silent.
    pub(super) fn silence(&mut self, beats: impl Iterator<Item = u32>, now: Instant) -> Duration {
        for ((seen, since), beat) in self.cores.iter_mut().zip(beats) {
            if *seen != beat {
                (*seen, *since) = (beat, now);
            }
        }
        let longest = self.cores.iter().map(|(_, since)| now.duration_since(*since)).max();
        longest.unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_silent_core_counts() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut pulse = Pulse::new([0, 7].into_iter(), begin);
        assert_eq!(pulse.silence([1, 8].into_iter(), after(1)), Duration::ZERO);
        assert_eq!(pulse.silence([2, 8].into_iter(), after(4)), Duration::from_secs(3));
        assert_eq!(pulse.silence([2, u32::MAX].into_iter(), after(5)), Duration::from_secs(1));
    }
}
