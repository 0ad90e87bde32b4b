//! `history`: pages at the head and deep in logs of 10^2 to 10^7 events, which it fills itself, through the product.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::chance::Chance;
use crate::command::Failure;
use crate::ledger::Broken;
use crate::options::Options;
use crate::pages::{Ask, Cell, Fill, Filler, Log, Pager, Point, Reading, logs};
use crate::report::{Progress, Report, Verdict};
use crate::server::{Sample, Server, ServerError};
use crate::swarm::{Swarm, SwarmSettings};
use crate::talk::needs;

/// Points of a depth, and of the whole log, that pages are asked for by.
const POINTS: u64 = 16;
const POINTS_ANYWHERE: u64 = 64;
/// How often the filling is looked at, and how long it may go without an ack.
const GLANCE: Duration = Duration::from_millis(100);
const FILL_PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);

/// Pages at the head and deep in logs of 10^2 to 10^7 events; with --data, the logs are there for the next run
#[derive(Args, Clone, Debug)]
pub struct HistoryOptions {
    /// The largest log has 10 to the power of this events
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=9))]
    pub power: u32,
    /// Clients that read at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub readers: u32,
    /// Events of a page
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub limit: u16,
    /// Seconds for each log, depth and way to ask
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub time: f64,
}

/// Where in a log.
const DEPTHS: [&str; 4] = ["head", "middle", "beginning", "anywhere"];

/// The whole scenario.
///
/// # Errors
/// The host or the server is not as needed, or a promise was broken.
pub fn run(options: &Options, history: &HistoryOptions) -> Result<(), Failure> {
    let needs = needs(history.readers);
    let mut server = Server::start_or_attach(&options.server, &needs).map_err(Failure::failed)?;
    let mut report = Report::new("history", Some(&server));
    report.setting("largest", 10_u64.pow(history.power));
    report.setting("readers", history.readers);
    report.setting("limit", history.limit);
    report.setting("subprotocol", options.swarm.subprotocol.name());
    report.setting("engine", options.server.engine.name());
    let logs = logs(history.power);
    logs.iter().try_for_each(|log| log.create(server.api(), history.readers)).map_err(Failure::failed)?;
    fill(options, &mut server, &logs, &mut report)?;
    let cells = cells(&server, &logs, history, options.seed).map_err(Failure::failed)?;
    let reading = Arc::new(Reading::new(cells, options.seed));
    let before = server.sample_settled().map_err(Failure::failed)?;
    let cpu = read(options, history, &mut server, &reading)?;
    let after = server.sample().map_err(Failure::failed)?;
    report.cpu(&after.since(&before));
    tell(&reading, &logs, &cpu, &mut report);
    server.stop().map_err(Failure::failed)?;
    report.finish(options.json.as_deref())
}

/// Fills each log up to its events, if it has not been.
fn fill(options: &Options, server: &mut Server, logs: &[Log], report: &mut Report) -> Result<(), Failure> {
    let lack = |log: &Log| Ok((log.clone(), log.events.saturating_sub(log.head(server.api())?)));
    let logs: Vec<(Log, u64)> =
        logs.iter().map(lack).collect::<Result<_, ServerError>>().map_err(Failure::failed)?;
    let all: u64 = logs.iter().map(|(_, lacks)| lacks).sum();
    if all == 0 {
        return Ok(());
    }
    let fill = Arc::new(Fill { logs, left: AtomicU64::new(all), run: ring::clock::realtime_ms() });
    let before = server.sample().map_err(Failure::failed)?;
    let settings = SwarmSettings::new(1, server, &options.swarm, options.seed);
    let swarm = Swarm::start(&settings, |clients| Filler::new(Arc::clone(&fill), clients.start))?;
    watch(server, &fill, all)?;
    drop(swarm.finish());
    let after = server.sample().map_err(Failure::failed)?;
    tell_fill(&before, &after, all as f64, report);
    Ok(())
}

/// Waits until everything is written, as long as it goes on.
fn watch(server: &mut Server, fill: &Fill, all: u64) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let (mut last, mut since) = (u64::MAX, Instant::now());
    loop {
        let left = fill.left.load(Ordering::Relaxed);
        if left == 0 {
            return Ok(());
        }
        if left != last {
            (last, since) = (left, Instant::now());
        } else if since.elapsed() > FILL_PATIENCE {
            return Err(Failure::failed(format!(
                "{left} of {all} events were not acknowledged for a minute"
            )));
        }
        server.check().map_err(Failure::failed)?;
        progress.show(|| format!("{} of {all} events written", all - left));
        thread::sleep(GLANCE);
    }
}

fn tell_fill(before: &Sample, after: &Sample, events: f64, report: &mut Report) {
    let growth = after.since(before);
    report.figure("filled_events", events);
    report.figure("filled_events_per_second", growth.per_second(events));
    report.cpu_us_each("", "filled_event", &growth, events);
}

/// All cells: logs, depths within each, ways to ask within those.
fn cells(
    server: &Server,
    logs: &[Log],
    history: &HistoryOptions,
    seed: u64,
) -> Result<Vec<Cell>, ServerError> {
    let (mut cells, mut chance) = (Vec::new(), Chance::new(seed));
    for log in logs {
        let head = log.head(server.api())?;
        for depth in DEPTHS {
            let seqs = seqs(depth, head, history.limit.into(), &mut chance);
            let points: Vec<Point> =
                seqs.into_iter().map(|seq| log.point(server.api(), seq)).collect::<Result<_, _>>()?;
            for ask in Ask::ALL {
                let (conversation, points, limit) = (log.conversation.clone(), points.clone(), history.limit);
                cells.push(Cell { conversation, head, ask, points, limit });
            }
        }
    }
    Ok(cells)
}

/// Places of a depth from which whole pages lie on both sides, where the log is long enough.
fn seqs(depth: &str, head: u64, limit: u64, chance: &mut Chance) -> Vec<u64> {
    let (low, high) = (limit + 1, head.saturating_sub(limit));
    let around =
        |middle: u64| (middle..middle + POINTS).map(|seq| seq.min(high).max(low).clamp(1, head)).collect();
    match depth {
        "head" => around(high.saturating_sub(POINTS)),
        "middle" => around(head / 2),
        "beginning" => around(low),
        _ => {
            let mut draw = || (low + chance.below(high.saturating_sub(low) + 1)).clamp(1, head);
            (0..POINTS_ANYWHERE).map(|_| draw()).collect()
        }
    }
}

/// Reads cell after cell; CPU time of the server, by cell.
fn read(
    options: &Options,
    history: &HistoryOptions,
    server: &mut Server,
    reading: &Arc<Reading>,
) -> Result<Vec<Option<Duration>>, Failure> {
    let settings = SwarmSettings::new(history.readers, server, &options.swarm, options.seed);
    let swarm = Swarm::start(&settings, |clients| Pager::new(Arc::clone(reading), clients))?;
    let begin = Instant::now();
    while swarm.counts().online < history.readers.into() {
        if begin.elapsed() > CONNECT_PATIENCE {
            return Err(Failure::failed("not all readers came online in a minute"));
        }
        thread::sleep(GLANCE);
    }
    let mut progress = Progress::new();
    let mut cpu = Vec::with_capacity(reading.cells.len());
    for (number, cell) in reading.cells.iter().enumerate() {
        progress.show(|| format!("{} {} of {}", cell.conversation, number + 1, reading.cells.len()));
        let before = server.cpu().map_err(Failure::failed)?;
        swarm.direct(number as u32 + 1);
        thread::sleep(Duration::from_secs_f64(history.time.max(0.05)));
        server.check().map_err(Failure::failed)?;
        let after = server.cpu().map_err(Failure::failed)?;
        cpu.push(after.zip(before).map(|(after, before)| after.saturating_sub(before)));
    }
    swarm.direct(reading.cells.len() as u32 + 1);
    thread::sleep(GLANCE);
    drop(swarm.finish());
    Ok(cpu)
}

/// A row a cell, a curve over the logs' sizes for each depth and way to ask, and how flat each is.
fn tell(reading: &Reading, logs: &[Log], cpu: &[Option<Duration>], report: &mut Report) {
    let mut pages = 0;
    for (depth, depth_name) in DEPTHS.iter().enumerate() {
        for (way, ask) in Ask::ALL.into_iter().enumerate() {
            let name = format!("{}_{depth_name}", ask.name());
            let mut costs = Vec::new();
            for (number, log) in logs.iter().enumerate() {
                let cell = (number * DEPTHS.len() + depth) * Ask::ALL.len() + way;
                let latency = reading.latency(cell);
                let each_us =
                    cpu[cell].map_or(f64::NAN, |cpu| cpu.as_secs_f64() * 1e6 / latency.count() as f64);
                report.latency(&format!("{name}_{}", log.events), &latency);
                report.point(
                    &name,
                    &[
                        ("events", log.events as f64),
                        ("server_cpu_us_per_page", each_us),
                        ("p50_us", latency.quantile_us(0.5) as f64),
                        ("p99_us", latency.quantile_us(0.99) as f64),
                    ],
                );
                pages += latency.count();
                costs.push(each_us);
            }
            // The smallest log lies whole among the recent events that its owner remembers: no page of it asks the store.
            let costs = if costs.len() > 2 { &costs[1..] } else { &costs[..] };
            let most = costs.iter().copied().fold(f64::NAN, f64::max);
            let least = costs.iter().copied().fold(f64::NAN, f64::min);
            report.figure(&format!("cpu_us_per_page_{name}"), most);
            report.figure(&format!("cpu_most_to_least_{name}"), most / least);
        }
    }
    let faults = reading.faults();
    let broken = [Broken::Page, Broken::Unasked, Broken::Undecodable];
    let times = broken.iter().map(|kind| faults.count(*kind)).sum();
    report
        .verdict("pages", Verdict::of(pages, times, || faults.first(&broken).unwrap_or_default().to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_in_the_log_and_where_whole_pages_are() {
        for depth in DEPTHS {
            for head in [1, 60, 101, 100_000] {
                let seqs = seqs(depth, head, 50, &mut Chance::new(1));
                assert!(seqs.iter().all(|seq| (1..=head).contains(seq)), "{depth} {head} {seqs:?}");
            }
            let seqs = seqs(depth, 100_000, 50, &mut Chance::new(1));
            assert!(seqs.iter().all(|seq| (51..=99_950).contains(seq)), "{depth} {seqs:?}");
        }
    }
}
