//! What the clients of a thread do and have done, as numbers that the scenario may read at any time.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $about:literal])+ $name:ident,)+) => {
        /// Numbers of the clients of one thread, or of all.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $about])+ pub $name: u64,)+
        }

        /// The same, for other threads to read. As of the end of some turn, each number by itself.
        #[derive(Debug, Default)]
        pub struct Counts {
            $($name: AtomicU64,)+
        }

        impl Counters {
            /// Those of another thread, too.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }
        }

        impl Counts {
            /// The numbers now.
            #[must_use]
            pub fn load(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }

            pub(super) fn store(&self, counters: &Counters) {
                $(self.$name.store(counters.$name, Ordering::Relaxed);)+
            }
        }
    };
}

counters! {
    /// Clients between dialling and `welcome` now.
    connecting,
    /// Clients that are online now.
    online,
    /// Clients that wait to connect: for a place among those connecting, or for their backoff.
    waiting,
    /// Dials begun.
    dialled,
    /// Times a client came online.
    welcomed,
    /// Times a client that was online left without having been told to.
    lost,
    /// Times a client that was connecting failed.
    failed,
    /// Failed dials.
    refused_dials,
    /// Upgrades that were answered with another status than 101.
    refused_upgrades,
    /// Closes with 4429: over a limit.
    closed_over_limit,
    /// Closes with 4408: heartbeat missed.
    closed_heartbeat,
    /// Closes with 4503: draining.
    closed_draining,
    /// Closes with any other code.
    closed_otherwise,
    /// Ends without a close frame.
    ended,
    /// Connects that took too long.
    late,
    /// Servers' bytes that broke the framing or the protocol.
    broken,
    /// Pings answered.
    pongs,
    /// Data messages heard.
    messages,
    /// Bytes received.
    received_bytes,
    /// Frames given to send.
    frames,
    /// Bytes sent.
    sent_bytes,
    /// System calls of the rings.
    enters,
}
