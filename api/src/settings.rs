//! What an operator chooses for the API, with the defaults. Reading it from files is the binary's.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::frame::ClientLimits;
use protocol::limits::PAGE_EVENTS_MAX;

/// What the API is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Keys for server-to-server calls. Each is allowed everything, in every tenant.
    pub api_keys: Vec<String>,
    /// The same limits as over the socket: `body_bytes`, `meta_bytes`, `page_events`, and the rate of a user's sends.
    pub limits: ClientLimits,
    /// Connections served at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Requests waiting for a router shard at once; further ones are answered `unavailable`.
    pub calls_max: usize,
    /// How long a request waits for a router shard before it is answered `unavailable`.
    pub call_timeout: Duration,
    /// How long a client may take to send a request's head, its body, or to take the answer's next bytes.
    pub client_timeout: Duration,
    /// Longest body of a request, in bytes.
    pub request_bytes_max: usize,
    /// How often the canary flies by itself; `/readyz` asks for a flight of its own when the last is over 250 ms old.
    pub canary_interval: Duration,
    /// How long a canary may fly before `/readyz` says no.
    pub canary_timeout: Duration,
    /// How long requests under way may take after [`crate::Handle::shutdown`].
    pub shutdown_timeout: Duration,
    /// True: `/readyz` says no and calls are answered `unavailable` until [`crate::Handle::open`].
    pub begins_closed: bool,
}

impl Settings {
    /// The defaults, listening on `listen`.
    #[must_use]
    pub const fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            api_keys: Vec::new(),
            limits: ClientLimits {
                frame_bytes: 64 * 1024,
                body_bytes: 8 * 1024,
                meta_bytes: 2 * 1024,
                sends_per_second: 20,
                sends_burst: 40,
                conversations_attached: 1_000,
                page_events: PAGE_EVENTS_MAX,
            },
            connections_max: 1_024,
            calls_max: 512,
            call_timeout: Duration::from_secs(10),
            client_timeout: Duration::from_secs(30),
            request_bytes_max: 1024 * 1024,
            canary_interval: Duration::from_secs(10),
            canary_timeout: Duration::from_secs(3),
            shutdown_timeout: Duration::from_secs(10),
            begins_closed: false,
        }
    }
}
