//! What became of the clients that a run lost or could not bring online: the verdicts and figures that scenarios share.

use crate::report::{Report, Verdict};
use crate::swarm::{Counters, Finished};

/// The sum of what all clients did.
pub(super) fn sum<S>(finished: &[Finished<S>]) -> Counters {
    let mut sum = Counters::default();
    finished.iter().for_each(|part| sum.add(&part.counters));
    sum
}

/// The promise that clients came online so often, and no socket said anything that is not of the protocol.
pub(super) fn everyone_came<S>(finished: &[Finished<S>], times: u64) -> Verdict {
    let all = sum(finished);
    let missing = times.saturating_sub(all.welcomed);
    Verdict::of(all.welcomed, missing + all.broken, || {
        format!("{missing} of {times} are missing, {} sockets broke the protocol", all.broken)
    })
}

/// The promise that nobody who was online left without having been told to.
pub(super) fn nobody_was_lost<S>(finished: &[Finished<S>]) -> Verdict {
    let all = sum(finished);
    Verdict::of(all.welcomed, all.lost, || {
        let Counters {
            closed_heartbeat, closed_over_limit, closed_draining, closed_otherwise, ended, ..
        } = all;
        format!(
            "sessions lost; of all sockets {closed_heartbeat} were closed for a missed heartbeat, {closed_over_limit} over \
             a limit, {closed_draining} draining, {closed_otherwise} otherwise, {ended} ended without a word"
        )
    })
}

/// How connects failed, where they did, and what the generator's rings did.
pub(super) fn tell<S>(report: &mut Report, finished: &[Finished<S>]) {
    let all = sum(finished);
    for (name, count) in [
        ("refused_dials", all.refused_dials),
        ("refused_upgrades", all.refused_upgrades),
        ("closed_over_limit", all.closed_over_limit),
        ("closed_draining", all.closed_draining),
        ("closed_otherwise", all.closed_otherwise),
        ("ended_without_close", all.ended),
        ("late_connects", all.late),
    ] {
        if count > 0 {
            report.figure(name, count as f64);
        }
    }
    report.figure("generator_ring_enters", all.enters as f64);
}
