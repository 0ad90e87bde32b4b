//! What every request may use: the calls, the canary, the limits. One for the life of the server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use protocol::error::{ErrorCode, Refusal};
use protocol::id::UserKey;
use tokio::sync::watch;

use crate::calls::Calls;
use crate::canary::Canary;
use crate::cluster::GiveOrder;
use crate::failure::Failure;
use crate::identity::{ApiKeys, Authenticate};
use crate::metrics::Registry;
use crate::rate::Rates;
use crate::settings::Settings;

pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) calls: Calls,
    pub(crate) canary: Canary,
    pub(crate) give_order: GiveOrder,
    pub(crate) authenticate: Authenticate,
    pub(crate) api_keys: ApiKeys,
    pub(crate) metrics: Arc<Registry>,
    /// The router shards are there.
    open: watch::Sender<bool>,
    draining: AtomicBool,
    started: Instant,
    rates: Mutex<Rates>,
}

/// After so many milliseconds a caller may find the server open.
const OPENING_RETRY_MS: u32 = 1_000;

impl Context {
    pub(crate) fn new(
        settings: Settings,
        calls: Calls,
        canary: Canary,
        give_order: GiveOrder,
        authenticate: Authenticate,
        metrics: Arc<Registry>,
    ) -> Self {
        let api_keys = ApiKeys::new(&settings.api_keys);
        let rates = Rates::new(settings.limits.sends_per_second, settings.limits.sends_burst);
        let open = watch::Sender::new(!settings.begins_closed);
        Self {
            settings,
            calls,
            canary,
            give_order,
            authenticate,
            api_keys,
            metrics,
            open,
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

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Whether there is anybody to ask: before, every call is refused.
    pub(crate) fn check_open(&self) -> Result<(), Failure> {
        if *self.open.borrow() {
            return Ok(());
        }
        let refusal = Refusal::retry(ErrorCode::Unavailable, NOT_OPEN, OPENING_RETRY_MS);
        Err(Failure::from(refusal))
    }

    pub(crate) async fn opened(&self) {
        // The sender is this context's: it does not go away.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// What callers are told before the server is open.
pub(crate) const NOT_OPEN: &str = "the store is not open yet";

/// Milliseconds since the Unix epoch; 0 when the clock stands before it.
pub(crate) fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
