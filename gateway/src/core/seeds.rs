//! Seeds: where the router nodes are that the configuration names, as far as it is known now. Every core of a node looks at a
//! number once a turn, and at the addresses when that has changed. Looks nobody up: a thread of its own does (`serve::names`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The addresses, and whether somebody doubts them.
#[derive(Debug, Default)]
pub struct Seeds {
    /// Grows with each change of the addresses: written behind them.
    version: AtomicU64,
    inner: Mutex<Inner>,
    asked: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    addresses: Arc<[SocketAddr]>,
    /// Somebody was not reached since they were looked up.
    are_doubted: bool,
}

impl Seeds {
    /// These.
    #[must_use]
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        let seeds = Self::default();
        seeds.replace(addresses);
        seeds
    }

    /// Takes the addresses as they are now; false when they were so before.
    pub fn replace(&self, addresses: Vec<SocketAddr>) -> bool {
        let mut inner = self.lock();
        inner.are_doubted = false;
        if *inner.addresses == *addresses {
            return false;
        }
        inner.addresses = addresses.into();
        self.version.fetch_add(1, Ordering::Release);
        true
    }

    /// Waits until somebody doubts them.
    pub fn wait_for_doubt(&self) {
        let trusted = self.asked.wait_while(self.lock(), |inner| !inner.are_doubted);
        drop(trusted.unwrap_or_else(PoisonError::into_inner));
    }

    /// One of them was not reached: perhaps the names have other addresses by now.
    pub(super) fn ask(&self) {
        if !std::mem::replace(&mut self.lock().are_doubted, true) {
            self.asked.notify_all();
        }
    }

    /// Changes with the addresses.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The addresses, and their version or an earlier one.
    pub(super) fn addresses(&self) -> (u64, Arc<[SocketAddr]>) {
        let version = self.version();
        (version, Arc::clone(&self.lock().addresses))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
