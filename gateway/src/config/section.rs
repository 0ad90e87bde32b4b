//! Every section and key of the configuration, with its type, default, bounds and comment: the one table that the
//! file, the environment, the flags and `config default` go by. Checks between keys live in `check`.

use std::net::{Ipv4Addr, SocketAddr};

use protocol::limits::{BODY_BYTES_CEILING, META_BYTES_CEILING, PAGE_EVENTS_MAX};

use super::value::{EngineKind, Format, Given, Level, Secret, Setting};

/// What a number may be, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Smallest.
    pub(super) min: u64,
    /// Largest.
    pub(super) max: u64,
    /// Why no other, to follow "from … to …: ".
    pub(super) reason: &'static str,
}

/// One key.
pub(super) struct Key {
    /// `section.key`.
    pub(super) name: &'static str,
    /// The comment, a line each.
    pub(super) about: &'static [&'static str],
    set: fn(&mut Config, Given<'_>) -> Result<(), String>,
    get: fn(&Config) -> toml::Value,
}

impl Key {
    /// Takes a value; the error is one sentence that shows no secret.
    pub(super) fn set(&self, config: &mut Config, given: Given<'_>) -> Result<(), String> {
        (self.set)(config, given)
    }

    /// The value as the file would have it.
    pub(super) fn get(&self, config: &Config) -> toml::Value {
        (self.get)(config)
    }

    /// The section's name.
    pub(super) fn section(&self) -> &'static str {
        self.name.split_once('.').expect("section.key").0
    }

    /// The key's name within its section.
    pub(super) fn key(&self) -> &'static str {
        self.name.split_once('.').expect("section.key").1
    }

    /// The environment variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!("{}{}", super::VARIABLE_PREFIX, self.name.replace('.', "_").to_ascii_uppercase())
    }
}

/// Reads a value and holds it against its bounds.
fn read<T: Setting>(given: Given<'_>, bounds: Option<Bounds>) -> Result<T, String> {
    let value = T::read(given)?;
    let Some((Bounds { min, max, reason }, number)) = bounds.zip(value.number()) else { return Ok(value) };
    if (min..=max).contains(&number) {
        Ok(value)
    } else {
        Err(format!("{number} is not from {min} to {max}: {reason}"))
    }
}

macro_rules! sections {
    ($(
        $(#[doc = $about:literal])+
        $section:ident: $name:ident {$(
            $(#[doc = $key_about:literal])+
            $key:ident: $type:ty = $default:expr $(; $min:literal to $max:expr, $reason:literal)?,
        )+}
    )+) => {
        /// The whole configuration.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Config {
            $($(#[doc = $about])+ pub $section: $name,)+
        }

        $(
            $(#[doc = $about])+
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name {
                $($(#[doc = $key_about])+ pub $key: $type,)+
            }

            impl Default for $name {
                fn default() -> Self {
                    Self { $($key: $default,)+ }
                }
            }
        )+

        /// Every key, in the order of `config default`.
        pub(super) static KEYS: &[Key] = &[$($(
            Key {
                name: concat!(stringify!($section), ".", stringify!($key)),
                about: &[$($key_about),+],
                set: |config, given| {
                    let bounds: Option<Bounds> = None$(.or(Some(Bounds { min: $min, max: $max, reason: $reason })))?;
                    config.$section.$key = read(given, bounds)?;
                    Ok(())
                },
                get: |config| config.$section.$key.to_toml(),
            },
        )+)+];

        /// Every section and its comment, in the order of `config default`.
        pub(super) static SECTIONS: &[(&str, &[&str])] = &[$((stringify!($section), &[$($about),+])),+];
    };
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

sections! {
    /// Where to listen. Anything but loopback needs a secret or keys in `[auth]`.
    listen: Listen {
        /// WebSocket connections of clients. Port 0 takes a free one and `serve` prints it.
        client: SocketAddr = loopback(8800),
        /// HTTP API, health and metrics.
        api: SocketAddr = loopback(8801),
        /// Connections that the kernel holds for each shard until it accepts them; `net.core.somaxconn` bounds it.
        backlog: u32 = 65_535; 1 to i32::MAX as u64, "the kernel counts them in 31 bits",
        /// Gives a connection to the core on whose CPU its packets arrive, instead of spreading them by hash. For hosts
        /// whose network card has a queue for every CPU, with at most one shard a CPU and `core.pin`; otherwise it
        /// does nothing, or leaves cores without a queue idle.
        steer_by_cpu: bool = false,
        /// Bytes that the kernel takes for a slow client before it can send them (TCP_NOTSENT_LOWAT); what is on its way
        /// comes on top. 0: as many as net.ipv4.tcp_notsent_lowat and tcp_wmem allow, which is 4 MB a client.
        unsent_bytes: u32 = 32_768; 0 to i32::MAX as u64, "the kernel counts them in 31 bits",
        /// SO_RCVBUF: bytes of a client that the kernel holds while nobody reads them; it doubles the number for its own
        /// bookkeeping. The default is where Linux begins. 0: growing as far as net.ipv4.tcp_rmem allows.
        receive_buffer_bytes: u32 = 65_536; 0 to i32::MAX as u64, "the kernel counts them in 31 bits",
    }

    /// Threads and what each holds.
    core: Core {
        /// Shards, each a thread with a ring of its own. 0: one a CPU, which is best.
        shards: u16 = 0; 0 to 1024, "each shard is a thread",
        /// Connections in all. 0: as many in each shard as the process may open descriptors. A number past that is held, too:
        /// each ring gets more banks (io_urings), at a little more memory and CPU than a higher limit would take.
        connections_max: u32 = 0; 0 to 100_000_000, "a node that needs more should be two",
        /// Pins each core to a CPU of its own when there are enough of them.
        pin: bool = true,
        /// Receive buffers a core lends to sockets that have something to say.
        receive_buffers: u16 = 64; 1 to 32_768, "more than a turn has use for",
        /// Bytes of one receive buffer.
        receive_buffer_bytes: u32 = 16_384; 256 to 262_144, "smaller ones split every frame, larger ones lie idle",
        /// Places in a mailbox between two shards.
        mailbox_envelopes: u32 = 1_024; 64 to 1_048_576, "fewer stall every burst, more only hide a stall",
    }

    /// Who may connect. Tokens are JWTs: HS256 from a secret, RS256, ES256 and EdDSA from public keys.
    auth: Auth {
        /// Secret that HS256 tokens are signed with; use 32 bytes or more.
        /// Without any secret or key, `serve` keeps a generated development secret in the data directory.
        hs256_secret: Secret = Secret::default(),
        /// The same from a file; white space at its ends does not count.
        hs256_secret_file: String = String::new(),
        /// PEM files with public keys; the kind of key decides the algorithm.
        public_key_files: Vec<String> = Vec::new(),
        /// A JWKS file. SIGHUP reads it and the key files again.
        jwks_file: String = String::new(),
        /// A JWKS document on the web, fetched at start and then every `jwks_refresh_s`.
        jwks_url: String = String::new(),
        /// Seconds between two fetches of `jwks_url`.
        jwks_refresh_s: u32 = 300; 10 to 86_400, "a revoked key should not live for days",
        /// What a token's `aud` must name. Empty: not checked.
        audience: String = String::new(),
        /// What a token's `iss` must be. Empty: not checked.
        issuer: String = String::new(),
        /// Keys for server-to-server calls of the HTTP API; each is as good as every user's token.
        api_keys: Vec<Secret> = Vec::new(),
        /// Secret of resume tickets, 32 bytes or more; all nodes of a cluster share it. Empty: generated and kept.
        ticket_secret: Secret = Secret::default(),
        /// Seconds a resume ticket is good for, at most as long as its token.
        ticket_ttl_s: u32 = 86_400; 1 to 31_536_000, "a ticket is for the next connection, not for ever",
    }

    /// Where messages are kept.
    store: Store {
        /// memory (gone with the process), embedded (this node's disk) or foundationdb.
        engine: EngineKind = EngineKind::Embedded,
        /// The data directory: the embedded store, and what `serve` generates and keeps.
        path: String = String::from("data"),
        /// FoundationDB's cluster file. Empty: what its client library finds (FDB_CLUSTER_FILE, ./fdb.cluster,
        /// /etc/foundationdb/fdb.cluster).
        cluster_file: String = String::new(),
        /// In front of every key in FoundationDB, at most 64 bytes, so that several stores can share a cluster.
        key_prefix: String = String::new(),
        /// Memory of the embedded store's caches, in bytes: one half for records asked for by key, one for blocks of tables.
        cache_bytes: u64 = 33_554_432; 1_048_576 to 1_099_511_627_776, "below 1 MiB every read goes to the disk",
        /// Requests that wait for the store's thread at most; past it sends are answered `unavailable`.
        queue_requests: u32 = 4096; 64 to 1_048_576, "what waits longer than a client does is wasted",
        /// Bytes of the store's files that are checked at start, the newest first; what lies beyond is checked
        /// where it is read.
        check_bytes: u64 = 8_589_934_592; 0 to i64::MAX as u64, "TOML's integers end there",
    }

    /// Several processes as one server: `murmuring gateway` and `murmuring router`. A `serve` that has no `listen` here is a
    /// server of its own.
    cluster: Cluster {
        /// This node's name: of its own among all router nodes, and the same whenever it starts; at most 32 bytes of an id's
        /// alphabet. Empty: the host's name, and the port of its links or its API.
        node: String = String::new(),
        /// Where other nodes' links come in, on a router node. Port 0 takes a free one. Empty: 127.0.0.1:8802 for `router`, and none for `serve`.
        listen: Option<SocketAddr> = None,
        /// The address that other nodes reach `listen` at. Empty: `listen` itself.
        advertise: Option<SocketAddr> = None,
        /// Router nodes that a gateway node asks first, as `host:port`; the others it learns from them. A name
        /// is looked up at start, and again when a router node is not reached there.
        routers: Vec<String> = Vec::new(),
        /// Secret that nodes prove themselves to one another with, 32 bytes or more. Anything but loopback needs one; there,
        /// one is generated and kept in the data directory.
        secret: Secret = Secret::default(),
        /// The same from a file; white space at its ends does not count.
        secret_file: String = String::new(),
        /// Time after which a router node that does not renew its lease has lost its slots, in milliseconds.
        lease_ms: u32 = 2_000; 500 to 60_000, "shorter mistakes a pause for a death, longer keeps clients waiting",
        /// Time that a request waits for an owner that is away, in milliseconds; then it is answered `unavailable`.
        patience_ms: u32 = 6_000; 100 to 60_000, "clients give up after a minute",
    }

    /// For people who test servers.
    debug: Debug {
        /// An address, such as "127.0.0.1:9001", where every WebSocket on any path is echoed by the very same
        /// connection code. Empty: none.
        echo: Option<SocketAddr> = None,
    }

    /// What a client may do. `welcome.limits` tells clients those it names.
    limits: Limits {
        /// Longest frame from a client, in bytes.
        frame_bytes: u32 = 65_536; 128 to 1_048_576, "a hello needs 128 bytes, and a core holds unfinished frames",
        /// Longest `body`, in bytes.
        body_bytes: u32 = 8_192; 1 to BODY_BYTES_CEILING as u64, "an event must fit one value of the store",
        /// Longest `meta`, in bytes.
        meta_bytes: u32 = 2_048; 0 to META_BYTES_CEILING as u64, "an event must fit one value of the store",
        /// Sends a second a connection.
        sends_per_second: u32 = 20; 1 to 1_000_000, "at least one a second, or nobody could send",
        /// Sends at once after a pause.
        sends_burst: u32 = 40; 1 to 1_000_000, "at least one, or nobody could send",
        /// Frames of any sort a second a connection.
        frames_per_second: u32 = 100; 1 to 10_000_000, "at least one a second, or nobody could speak",
        /// Frames of any sort at once after a pause.
        frames_burst: u32 = 400; 1 to 10_000_000, "at least one, or nobody could speak",
        /// Conversations attached a connection; a user with more syncs the others.
        conversations_attached: u32 = 1_000; 1 to 1_000, "a chat list of the store has at most 1,000 lines",
        /// Longest page of history, in events.
        page_events: u16 = PAGE_EVENTS_MAX; 1 to PAGE_EVENTS_MAX as u64, "the protocol allows 200",
        /// Users watched for presence, a connection.
        watch_users: u32 = 500; 0 to 65_535, "each is an entry in memory for every watcher",
        /// Silence after which the server pings, in milliseconds.
        heartbeat_ms: u32 = 30_000; 100 to 3_600_000, "shorter is a flood, longer than an hour no heartbeat",
        /// Time from connecting to `hello`, for each of its two steps, in milliseconds.
        hello_ms: u32 = 10_000; 100 to 600_000, "a slow phone needs seconds, an attacker wants hours",
        /// Silence of all devices after which a user is offline, in milliseconds.
        offline_ms: u32 = 60_000; 1_000 to 3_600_000, "shorter flickers, longer lies",
        /// Bytes that wait for a slow reader at most; past it the server stops pushing that conversation.
        outbox_bytes: u32 = 262_144; 16_384 to 67_108_864, "it must hold a few of the largest events, and is a bound",
        /// Events a slow reader may be behind before the server says `lagging`.
        lag_events_max: u32 = 100_000; 1 to 1_000_000_000, "at least one event",
    }

    /// The log, on stderr.
    log: Log {
        /// error, warn, info or debug. Single connections are logged at debug only.
        level: Level = Level::Info,
        /// text for people, json for collectors (one object a line).
        format: Format = Format::Text,
    }

    /// What SIGTERM does: `goaway` to every client, closes in slots of time, flush, exit. A second one exits at once.
    drain: Drain {
        /// Milliseconds over which connections are closed, so that they do not come back all at once.
        spread_ms: u32 = 2_000; 0 to 3_600_000, "longer than an hour is not a stop",
        /// Milliseconds after which the process stops whoever is still connected.
        deadline_ms: u32 = 10_000; 100 to 3_600_000, "longer than an hour is not a stop",
    }
}
