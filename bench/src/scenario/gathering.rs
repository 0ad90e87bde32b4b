//! Waiting until the clients of a swarm have come or gone, with a progress line, and an end to it when nothing moves.

use std::time::{Duration, Instant};

use crate::command::Failure;
use crate::report::Progress;
use crate::server::Server;
use crate::swarm::{Counters, Script, Swarm};

/// How long nothing may move: longer than any backoff.
const STANDSTILL: Duration = Duration::from_secs(90);

/// Waits until `done`. `line` is what the progress line says.
///
/// # Errors
/// The server has ended, a thread of the swarm has panicked, or nothing moves any more.
pub(super) fn wait<S: Script>(
    swarm: &Swarm<S>,
    server: &mut Server,
    done: impl Fn(&Counters) -> bool,
    line: impl Fn(&Counters) -> String,
) -> Result<Counters, Failure> {
    let mut progress = Progress::new();
    let (mut last, mut moved) = (Counters::default(), Instant::now());
    loop {
        let now = swarm.counts();
        if done(&now) {
            return Ok(now);
        }
        if (now.welcomed, now.online, now.failed) != (last.welcomed, last.online, last.failed) {
            (last, moved) = (now, Instant::now());
        }
        server.check().map_err(Failure::failed)?;
        if swarm.is_broken() || moved.elapsed() > STANDSTILL {
            return Err(Failure::failed(format!("the clients came to a standstill: {now:?}")));
        }
        progress.show(|| line(&now));
        std::thread::sleep(super::GLANCE);
    }
}

/// Waits until so many clients have come online since `before`, and none is under way.
///
/// # Errors
/// As [`wait`].
pub(super) fn wait_for_online<S: Script>(
    swarm: &Swarm<S>,
    server: &mut Server,
    online: u32,
    welcomed: u64,
) -> Result<Counters, Failure> {
    let done = |now: &Counters| now.online >= u64::from(online) && now.welcomed >= welcomed;
    wait(swarm, server, done, |now| {
        let Counters { online, connecting, waiting, failed, lost, .. } = now;
        format!("{online} online, {connecting} connecting, {waiting} waiting; {failed} failed, {lost} lost")
    })
}
