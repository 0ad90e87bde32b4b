//! Settings: an operator's choices for a gateway shard. Where they are read from and checked is the configuration's.

use protocol::frame::ClientLimits;
use protocol::limits::PAGE_EVENTS_MAX;
use protocol::placement::NodeId;

use super::seats::Seats;

/// What the clients of a listening socket are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// Clients of the protocol, at `GET /v1/connect`.
    Client,
    /// For conformance suites: every WebSocket message, on any path, is echoed by the very same connection code.
    Echo,
}

/// An operator's choices. Every number is a bound; [`Settings::default`] holds the defaults of PROTOCOL, section 4.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What listens, by the listener's place in the ring's configuration.
    pub listeners: Vec<ListenerKind>,
    /// WebSockets of all shards of the node; further ones are closed with 4429.
    pub seats: Seats,
    /// WebSockets of this shard, fewer than its slots: those that are left over tell the others that it is full.
    pub connections_max: u32,
    /// What `welcome.limits` tells.
    pub limits: ClientLimits,
    /// Frames of any kind a second a connection; past it they are refused, and a client that goes on is closed.
    pub frames_per_second: u32,
    /// Frames at once after a pause.
    pub frames_burst: u32,
    /// Milliseconds without traffic from a client after which it is pinged; after two unanswered it is closed.
    pub heartbeat_ms: u32,
    /// Milliseconds of silence after which a session does not count for presence.
    pub offline_ms: u32,
    /// Milliseconds for a whole upgrade request, from the connection on.
    pub upgrade_timeout_ms: u32,
    /// Milliseconds for `hello`, from the upgrade on; and for the server to answer it.
    pub hello_timeout_ms: u32,
    /// Milliseconds for a close handshake, from the first close frame on.
    pub close_timeout_ms: u32,
    /// Life of a resume ticket in milliseconds; it never outlives its token.
    pub ticket_ttl_ms: u64,
    /// Bytes of unsent events a connection; past it the conversation lags.
    pub outbox_bytes: u32,
    /// Unsent packets of events a connection; past it the conversation lags.
    pub outbox_packets: u32,
    /// Unsent bytes of all connections of the shard together, shared ones counted each time.
    pub outbox_total_bytes: u64,
    /// Bytes of unfinished frames and of input put aside, of all connections of the shard together.
    pub input_total_bytes: u64,
    /// Events behind which a connection is told `lagging` instead of being sent what it missed.
    pub lag_events_max: u64,
    /// Users watched a connection.
    pub watch_users_max: u32,
    /// Requests of one connection that wait for a router, one for a page counted as 32; past it the connection is not read.
    pub requests_in_flight_max: u16,
    /// Sessions of the shard that open at a time; further `hello`s wait their turn.
    pub openings_max: u32,
    /// Envelopes kept a router shard whose mailbox is full; past it connections are not read. In a cluster, past twice as many requests
    /// for that shard are refused, and only who has said something else to it is not read.
    pub router_queue_max: u32,
    /// True: owners are on other nodes too, and have slots until a newer table says otherwise.
    pub clustered: bool,
    /// In a cluster: the node whose router shards are in this process, always within reach; [`NodeId::NONE`] when there are none.
    pub node: NodeId,
    /// In a cluster: milliseconds after which a request that no owner has answered is refused as `unavailable`.
    pub request_patience_ms: u32,
    /// Milliseconds over which a drain closes its connections.
    pub drain_ms: u32,
    /// Longest message on an echo listener, in bytes.
    pub echo_message_bytes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listeners: vec![ListenerKind::Client],
            seats: Seats::new(u32::MAX),
            connections_max: u32::MAX,
            limits: ClientLimits {
                frame_bytes: 64 * 1024,
                body_bytes: 8 * 1024,
                meta_bytes: 2 * 1024,
                sends_per_second: 20,
                sends_burst: 40,
                conversations_attached: 1_000,
                page_events: PAGE_EVENTS_MAX,
            },
            frames_per_second: 100,
            frames_burst: 200,
            heartbeat_ms: 30_000,
            offline_ms: 60_000,
            upgrade_timeout_ms: 10_000,
            hello_timeout_ms: 10_000,
            close_timeout_ms: 5_000,
            ticket_ttl_ms: 24 * 60 * 60 * 1_000,
            outbox_bytes: 256 * 1024,
            outbox_packets: 1_024,
            outbox_total_bytes: 1 << 30,
            input_total_bytes: 256 << 20,
            lag_events_max: 100_000,
            watch_users_max: 1_000,
            requests_in_flight_max: 128,
            openings_max: 512,
            router_queue_max: 4_096,
            clustered: false,
            node: NodeId::ALONE,
            request_patience_ms: 6_000,
            drain_ms: 10_000,
            echo_message_bytes: 16 << 20,
        }
    }
}
