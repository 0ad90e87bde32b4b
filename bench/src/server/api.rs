//! The measured server's HTTP API, as far as a run needs it: conversations and members before it begins, `/metrics`
//! meanwhile. Many calls at once, because each waits for the disk.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::{Metrics, ServerError};

/// How long an answer may take: a creation with 10,000 members on a busy host takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most members of one creation, and of one addition (PROTOCOL, section 5).
const CREATE_MEMBERS_MAX: usize = 10_000;
const ADD_MEMBERS_MAX: usize = 200;
/// How often a call that is refused for now is made, and the pause before the next.
const TRIES_MAX: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// Longest answer that is read, in bytes: `/metrics` of 1,024 shards.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A client of the HTTP API. Clones and threads share its connections.
#[derive(Clone, Debug)]
pub struct Api {
    agent: ureq::Agent,
    address: SocketAddr,
    key: String,
}

/// An answer of the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub text: String,
}

impl Api {
    /// A client for the API at `address`, with an API key.
    #[must_use]
    pub fn new(address: SocketAddr, key: &str) -> Self {
        let configuration = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .max_idle_connections(64)
            .max_idle_connections_per_host(64);
        Self { agent: configuration.build().into(), address, key: key.to_owned() }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One call, whatever its answer.
    ///
    /// # Errors
    /// [`ServerError::Unreachable`].
    pub fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Answer, ServerError> {
        let unreachable =
            |words: String| ServerError::Unreachable { call: format!("{method} {path}"), words };
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("Authorization", format!("Bearer {}", self.key))
            .header("Content-Type", "application/json");
        let body =
            body.map(serde_json::to_string).transpose().map_err(|error| unreachable(error.to_string()))?;
        let request =
            request.body(body.unwrap_or_default()).map_err(|error| unreachable(error.to_string()))?;
        let mut answer = self.agent.run(request).map_err(|error| unreachable(error.to_string()))?;
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| unreachable(error.to_string()))?;
        Ok(Answer { status: answer.status().as_u16(), text })
    }

    /// Creates a group with these users as members. One that is there already is left as it is.
    ///
    /// # Errors
    /// Unreachable, or refused for another reason than that it must be tried again.
    pub fn create(&self, conversation: &str, members: &[impl AsRef<str>]) -> Result<(), ServerError> {
        let users: Vec<&str> = members.iter().map(AsRef::as_ref).collect();
        let (first, further) = users.split_at(users.len().min(CREATE_MEMBERS_MAX));
        let body = json!({ "conversation": conversation, "kind": "group", "members": first });
        self.insist("/v1/conversations", &body)?;
        self.add(conversation, further)
    }

    /// Adds users to a conversation, as many at once as a call takes.
    ///
    /// # Errors
    /// As [`Api::create`].
    pub fn add(&self, conversation: &str, users: &[impl AsRef<str>]) -> Result<(), ServerError> {
        let path = format!("/v1/conversations/{conversation}/members");
        for users in users.chunks(ADD_MEMBERS_MAX) {
            let users: Vec<&str> = users.iter().map(AsRef::as_ref).collect();
            self.insist(&path, &json!({ "members": users }))?;
        }
        Ok(())
    }

    /// What the server says of itself. Each shard renews its numbers once a second.
    ///
    /// # Errors
    /// Unreachable or refused.
    pub fn metrics(&self) -> Result<Metrics, ServerError> {
        let path = "/metrics";
        let answer = self.call("GET", path, None::<&()>)?;
        match answer.status {
            200 => Ok(Metrics::parse(&answer.text)),
            _ => Err(answer.into_refusal("GET", path)),
        }
    }

    /// Makes a call that is harmless to repeat, until it is not refused for now.
    fn insist(&self, path: &str, body: &impl Serialize) -> Result<(), ServerError> {
        let mut tries = 1;
        loop {
            let answer = self.call("POST", path, Some(body))?;
            match answer.status {
                200..=299 => return Ok(()),
                429 | 503 if tries < TRIES_MAX => thread::sleep(PAUSE),
                _ => return Err(answer.into_refusal("POST", path)),
            }
            tries += 1;
        }
    }
}

impl Answer {
    pub(super) fn into_refusal(self, method: &str, path: &str) -> ServerError {
        ServerError::Refused { call: format!("{method} {path}"), status: self.status, words: self.text }
    }
}

/// Does `work` on each item, on so many threads. `done` counts while it goes on, for a progress line.
///
/// # Errors
/// The first fault of any thread, after which no further item is begun.
///
/// # Panics
/// When `work` does.
pub fn each_parallel<T: Send>(
    items: impl Iterator<Item = T> + Send,
    threads: usize,
    done: &AtomicU64,
    work: impl Fn(T) -> Result<(), ServerError> + Sync,
) -> Result<(), ServerError> {
    let items = Mutex::new(items);
    let failed = AtomicBool::new(false);
    let worker = || -> Result<(), ServerError> {
        while !failed.load(Ordering::Relaxed) {
            let item = items.lock().expect("no thread panics while it takes an item").next();
            let Some(item) = item else { break };
            work(item).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join().expect("no panic")).collect();
        results.into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        let (done, sum) = (AtomicU64::new(0), AtomicU64::new(0));
        let add = |item| {
            sum.fetch_add(item, Ordering::Relaxed);
            Ok(())
        };
        each_parallel(1..=1_000, 7, &done, add).unwrap();
        assert_eq!((done.into_inner(), sum.into_inner()), (1_000, 500_500));
    }

    #[test]
    fn the_first_fault_ends_the_work() {
        let done = AtomicU64::new(0);
        let fail = |item| if item == 5 { Err(ServerError::NoPort) } else { Ok(()) };
        let result = each_parallel(0_u64.., 3, &done, fail);
        assert!(matches!(result, Err(ServerError::NoPort)));
    }

    #[test]
    fn a_server_that_is_not_there_is_unreachable() {
        let api = Api::new("127.0.0.1:9".parse().unwrap(), "key");
        let error = api.create("c", &["u"]).unwrap_err();
        assert!(matches!(error, ServerError::Unreachable { .. }), "{error}");
    }
}
