//! What every request may use: the calls, the canary, the limits. One for the life of the server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use protocol::id::UserKey;

use crate::calls::Calls;
use crate::canary::Canary;
use crate::failure::Failure;
use crate::identity::{ApiKeys, Authenticate};
use crate::metrics::Registry;
use crate::rate::Rates;
use crate::settings::Settings;

pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) calls: Calls,
    pub(crate) canary: Canary,
    pub(crate) authenticate: Authenticate,
    pub(crate) api_keys: ApiKeys,
    pub(crate) metrics: Arc<Registry>,
    draining: AtomicBool,
    started: Instant,
    rates: Mutex<Rates>,
}

impl Context {
    pub(crate) fn new(
        settings: Settings,
        calls: Calls,
        authenticate: Authenticate,
        metrics: Arc<Registry>,
    ) -> Self {
        let canary = Canary::new(calls.routers());
        let api_keys = ApiKeys::new(&settings.api_keys);
        let rates = Rates::new(settings.limits.sends_per_second, settings.limits.sends_burst);
        Self {
            settings,
            calls,
            canary,
            authenticate,
            api_keys,
            metrics,
            draining: AtomicBool::new(false),
            started: Instant::now(),
            rates: Mutex::new(rates),
        }
    }

    /// Takes one of a user's sends, or says when there is one again.
    pub(crate) fn admit_send(&self, user: UserKey) -> Result<(), Failure> {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(user, self.started.elapsed()).map_err(Failure::from)
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Milliseconds since the Unix epoch; 0 when the clock stands before it.
pub(crate) fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
