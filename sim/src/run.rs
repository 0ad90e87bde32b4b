//! One run from its seed to its verdict: the storm, the calm in which all must come to its end, the last look.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::checker::Violation;
use crate::cluster::{Cluster, Event, INSPECT_US, Plan};
use crate::coverage::Coverage;
use crate::tier::Doctor;

/// Microseconds after the storm within which every client must have its answers and stand at its heads.
const SETTLE_US: u64 = 180_000_000;
/// Microseconds within which everything must be closed and empty once clients have left.
const LEAVE_US: u64 = 120_000_000;
/// Microseconds beyond the patience of gateway shards within which every send is answered, once faults have stopped.
const ANSWER_US: u64 = 5_000_000;
/// Microseconds that a drain may take.
const DRAIN_US: u64 = 30_000_000;
/// Events of one run: more is an endless loop.
const EVENTS_MAX: u64 = 20_000_000;
/// The kernel's bounds are checked once in so many events.
const INVARIANTS_EVERY: u64 = 64;

/// What a run was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Hash of all operations: the same for the same seed.
    pub hash: u64,
    /// Virtual time at its end, microseconds.
    pub virtual_us: u64,
    /// Events that happened.
    pub events: u64,
    /// What it met.
    pub coverage: Coverage,
}

/// A run that broke a promise or an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// It was run as that of a server which is all there is.
    pub alone: bool,
    /// Which promise, and what was seen.
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, alone, reason } = self;
        let how = if *alone { "--alone " } else { "" };
        write!(f, "seed {seed} failed: {reason}\nreplay it: cargo run -p sim -- {how}{seed}")
    }
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Storm,
    Settling { since_us: u64 },
    Leaving { since_us: u64 },
    Over,
}

/// Runs a seed; with `tracing`, every step is written to standard output.
///
/// # Errors
/// [`Failure`] when a promise was broken, a shard's assertion failed, or something did not come to its end.
pub fn run(seed: u64, tracing: bool) -> Result<Report, Failure> {
    run_plan(Plan { seed, ..Plan::default() }, tracing)
}

/// Runs a seed as that of a server which is all there is, whatever it says.
///
/// # Errors
/// As [`run`].
pub fn run_alone(seed: u64, tracing: bool) -> Result<Report, Failure> {
    run_plan(Plan { seed, alone: true, ..Plan::default() }, tracing)
}

/// Runs a seed with something wrong on purpose.
///
/// # Errors
/// As [`run`]: that is what it is for.
pub fn run_doctored(seed: u64, doctor: Doctor) -> Result<Report, Failure> {
    run_plan(Plan { seed, alone: false, doctor }, false)
}

fn run_plan(plan: Plan, tracing: bool) -> Result<Report, Failure> {
    let Plan { seed, alone, .. } = plan;
    let verdict = catch_unwind(AssertUnwindSafe(|| run_checked(plan, tracing)));
    match verdict {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(violation)) => Err(Failure { seed, alone, reason: violation.to_string() }),
        Err(panic) => Err(Failure { seed, alone, reason: words(&*panic) }),
    }
}

/// What a panic said.
pub(crate) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

fn run_checked(plan: Plan, tracing: bool) -> Result<Report, Violation> {
    let mut cluster = Cluster::new(plan, tracing);
    let mut phase = Phase::Storm;
    let mut events = 0;
    while phase != Phase::Over {
        let event = cluster.happen()?;
        events += 1;
        assert!(events < EVENTS_MAX, "the run does not end");
        if events.is_multiple_of(INVARIANTS_EVERY) {
            cluster.invariants();
        }
        if matches!(event, Event::Inspect) {
            phase = inspect(&mut cluster, phase)?;
            cluster.world.plan(INSPECT_US, Event::Inspect);
        }
    }
    last_look(&mut cluster)?;
    Ok(Report {
        seed: plan.seed,
        hash: cluster.world.hash(),
        virtual_us: cluster.world.now_us(),
        events,
        coverage: cluster.world.coverage.clone(),
    })
}

fn inspect(cluster: &mut Cluster, phase: Phase) -> Result<Phase, Violation> {
    let now_us = cluster.world.now_us();
    cluster.checker.pass(now_us);
    inspect_drain(cluster, now_us)?;
    match phase {
        Phase::Storm if now_us < cluster.weather.storm_us => Ok(phase),
        Phase::Storm if cluster.draining_since_us.is_some() => Ok(phase),
        Phase::Storm => {
            cluster.calm();
            Ok(Phase::Settling { since_us: now_us })
        }
        Phase::Settling { since_us } => {
            let mut left = cluster.crowd.unsettled(&cluster.checker);
            left.extend(cluster.office.unsettled());
            let quiet = cluster.store.is_idle() && cluster.store.has_landed();
            if left.is_empty() && quiet && heads_are_known(cluster)? {
                let (crowd, mut scene) = cluster.scene();
                crowd.finish(&mut scene);
                return Ok(Phase::Leaving { since_us: now_us });
            }
            in_time(now_us, since_us + SETTLE_US, "after faults stop everything drains", &left)?;
            answered_in_time(cluster, since_us, now_us)?;
            Ok(phase)
        }
        Phase::Leaving { since_us } => {
            let left = leftovers(cluster);
            if left.is_empty() {
                return Ok(Phase::Over);
            }
            in_time(now_us, since_us + LEAVE_US, "after clients leave nothing stays", &left)?;
            Ok(phase)
        }
        Phase::Over => Ok(phase),
    }
}

/// A draining node gives way to the next once it is done.
fn inspect_drain(cluster: &mut Cluster, now_us: u64) -> Result<(), Violation> {
    let Some(since_us) = cluster.draining_since_us else { return Ok(()) };
    if cluster.has_drained() {
        cluster.stop_node();
        cluster.start_node();
        return Ok(());
    }
    let left = cluster.node.as_ref().map(|node| node.leftovers()).unwrap_or_default();
    in_time(now_us, since_us + DRAIN_US, "a drain ends", &left)
}

/// A cluster answers whatever is sent: by an owner, or by a gateway shard whose patience is over.
fn answered_in_time(cluster: &Cluster, since_us: u64, now_us: u64) -> Result<(), Violation> {
    let Some(tier) = &cluster.weather.tier else { return Ok(()) };
    let patience_us = u64::from(tier.patience_ms) * 1_000 + ANSWER_US;
    match cluster.crowd.overdue(since_us, now_us, patience_us) {
        Some(overdue) => Err(Violation::new("a send is answered in time", overdue)),
        None => Ok(()),
    }
}

fn in_time(now_us: u64, until_us: u64, promise: &'static str, left: &[String]) -> Result<(), Violation> {
    if now_us > until_us {
        return Err(Violation::new(promise, format!("left: {}", left.join("; "))));
    }
    Ok(())
}

/// Reads what became durable unseen; true when nobody is behind it.
fn heads_are_known(cluster: &mut Cluster) -> Result<bool, Violation> {
    let store = &cluster.store;
    cluster.checker.refresh_all(&mut |key, after| store.synced_log(key, after))?;
    Ok(cluster.crowd.unsettled(&cluster.checker).is_empty())
}

/// What is still there, of a run that should be over.
pub(crate) fn leftovers(cluster: &Cluster) -> Vec<String> {
    let mut left = cluster.node.as_ref().map(|node| node.leftovers()).unwrap_or_default();
    left.extend(cluster.tier.iter().flat_map(|tier| tier.leftovers()));
    for gateway in 0..usize::from(cluster.weather.shape.gateways) {
        let sockets = cluster.kernel.open_sockets(gateway);
        if sockets > 0 {
            left.push(format!("gateway {gateway}: {sockets} sockets"));
        }
    }
    if !cluster.store.is_idle() {
        left.push("the store has requests".to_owned());
    }
    left
}

/// Judges the whole history, and the store.
pub(crate) fn last_look(cluster: &mut Cluster) -> Result<(), Violation> {
    cluster.count();
    let Cluster { checker, store, world, .. } = cluster;
    checker.finish(&mut |key, after| store.synced_log(key, after), &mut world.coverage)?;
    store.verify()
}
