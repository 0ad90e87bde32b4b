//! The logs: one a power of ten, known by its size, so that a later run finds it again.

use serde::Deserialize;

use super::Point;
use crate::server::{Api, ServerError};
use crate::swarm::name;

/// The smallest log: 10^2 events.
const POWER_MIN: u32 = 2;

/// A log.
#[derive(Clone, Debug)]
pub struct Log {
    /// The conversation's id.
    pub conversation: String,
    /// Events it is to have, at least.
    pub events: u64,
}

/// Logs of 100 events, of ten times as many, and so on, up to 10^`power_max`.
#[must_use]
pub fn logs(power_max: u32) -> Vec<Log> {
    let powers = POWER_MIN..=power_max.max(POWER_MIN);
    let events = powers.map(|power| 10_u64.pow(power));
    events.map(|events| Log { conversation: format!("history-{events}"), events }).collect()
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Entry>,
    head: u64,
}

#[derive(Deserialize)]
struct Entry {
    seq: u64,
    time: u64,
}

impl Log {
    /// Makes the conversation with the first `readers` users as members, unless it is there.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub fn create(&self, api: &Api, readers: u32) -> Result<(), ServerError> {
        let users: Vec<String> = (0..readers).map(name::user).collect();
        api.create(&self.conversation, &users)
    }

    /// The last seq.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub fn head(&self, api: &Api) -> Result<u64, ServerError> {
        Ok(self.page(api, "limit=1")?.head)
    }

    /// The event at a seq.
    ///
    /// # Errors
    /// The server does not answer, or refuses, or has no such event.
    pub fn point(&self, api: &Api, seq: u64) -> Result<Point, ServerError> {
        let query = format!("after={}&limit=1", seq - 1);
        let page = self.page(api, &query)?;
        let found = page.events.first().filter(|event| event.seq == seq);
        let missing = || ServerError::Refused {
            call: format!("GET {}", self.path(&query)),
            status: 200,
            words: format!("no event {seq} in a log up to {}", page.head),
        };
        found.map(|event| Point { seq, time: event.time }).ok_or_else(missing)
    }

    fn path(&self, query: &str) -> String {
        format!("/v1/conversations/{}/messages?{query}", self.conversation)
    }

    fn page(&self, api: &Api, query: &str) -> Result<Page, ServerError> {
        let path = self.path(query);
        let answer = api.call("GET", &path, None::<&()>)?;
        let refused = |words: String| ServerError::Refused {
            call: format!("GET {path}"),
            status: answer.status,
            words,
        };
        match answer.status {
            200 => serde_json::from_str(&answer.text).map_err(|error| refused(error.to_string())),
            _ => Err(refused(answer.text.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn logs_grow_by_powers_of_ten() {
        let events: Vec<u64> = super::logs(4).iter().map(|log| log.events).collect();
        assert_eq!(events, [100, 1_000, 10_000]);
        assert_eq!(super::logs(0).len(), 1);
    }
}
