//! From the configuration's keys to what each part is started with. Decides nothing that the parts decide themselves.

use std::time::Duration;

use protocol::frame::ClientLimits;
use protocol::placement::NodeId;
use ring::limit::Limit;
use ring::listener::ListenerSettings;
use router::keeper::KeeperSettings;

use super::role::Role;
use super::store::Registration;
use crate::config::{Config, EngineKind};
use crate::core::{Brim, exchange};
use crate::host::process;
use crate::link::UNSENT_BYTES_MAX;
use crate::shard::{self, ListenerKind, Seats};

/// How long HTTP requests under way may take when the server stops.
const API_SHUTDOWN: Duration = Duration::from_secs(2);

/// Links to other nodes, and of other nodes, that a core has room for beside its clients.
const LINK_SLOTS: u32 = 512;
/// Links that a core makes at once.
const DIALS: u32 = 32;

/// Bytes of each sort that a shard may hold, however many there are.
const SHARE_BYTES_MIN: u64 = 8 << 20;

/// How many shards: as configured, or one a CPU.
pub(super) fn shards(config: &Config, cpus: usize) -> u16 {
    match config.core.shards {
        0 => u16::try_from(cpus).unwrap_or(u16::MAX).max(1),
        shards => shards,
    }
}

/// Whether each core has a CPU of its own.
pub(super) fn pins(config: &Config, shards: u16, cpus: usize) -> bool {
    config.core.pin && usize::from(shards) <= cpus
}

/// Who comes in at each core's doors, in the order of its listeners; that for links, if there is one, comes behind them.
pub(super) fn listeners(config: &Config, role: Role) -> Vec<ListenerKind> {
    if !role.has_clients() {
        return Vec::new();
    }
    let mut kinds = vec![ListenerKind::Client];
    kinds.extend(config.debug.echo.map(|_| ListenerKind::Echo));
    kinds
}

/// How many listeners a core has.
pub(super) fn listener_count(config: &Config, role: Role) -> u64 {
    let takes_links = role == Role::Router || role == Role::Both && config.cluster.listen.is_some();
    listeners(config, role).len() as u64 + u64::from(takes_links)
}

/// How large the mailboxes of a node are.
pub(super) fn exchange(config: &Config, cores: u16) -> exchange::Settings {
    let places = config.core.mailbox_envelopes as usize;
    let brim = Brim { envelopes: places, bytes: UNSENT_BYTES_MAX };
    exchange::Settings { cores, places, brim }
}

/// How clients' listeners are set up. What the kernel should decide is a zero in the configuration.
pub(super) fn listener(config: &Config) -> ListenerSettings {
    let listen = &config.listen;
    let chosen = |bytes: u32| (bytes > 0).then_some(bytes);
    ListenerSettings {
        backlog: listen.backlog,
        unsent_bytes: chosen(listen.unsent_bytes),
        send_buffer_bytes: None,
        receive_buffer_bytes: chosen(listen.receive_buffer_bytes).and_then(|bytes| i32::try_from(bytes).ok()),
    }
}

/// Slots that hold no WebSocket: each accept in flight has one, and whoever takes it is told that the server is full.
fn accepts(config: &Config, role: Role) -> u32 {
    process::slots_of_accepts(listener_count(config, role)) as u32
}

/// A core's ring.
pub(super) fn ring(config: &Config, role: Role, clustered: bool, shards: u16) -> ring::Settings {
    let (limit, listeners) = (Limit::descriptors().soft, listener_count(config, role));
    let connections_max = u64::from(config.core.connections_max);
    let slots = process::ring_slots(connections_max, limit, u64::from(shards), listeners);
    let banks = process::banks(slots, limit);
    ring::Settings {
        slots: u32::try_from(slots).unwrap_or(u32::MAX),
        bank_slots: u32::MAX,
        submissions: process::submissions(banks),
        completions: process::completions(banks),
        buffers: config.core.receive_buffers,
        buffer_bytes: config.core.receive_buffer_bytes,
        accepts: process::ACCEPTS,
        dials: if clustered { DIALS } else { 0 },
    }
}

fn client_limits(config: &Config) -> ClientLimits {
    let limits = &config.limits;
    ClientLimits {
        frame_bytes: limits.frame_bytes,
        body_bytes: limits.body_bytes,
        meta_bytes: limits.meta_bytes,
        sends_per_second: limits.sends_per_second,
        sends_burst: limits.sends_burst,
        conversations_attached: limits.conversations_attached,
        page_events: limits.page_events,
    }
}

/// The seats of a node.
pub(super) fn seats(config: &Config) -> Seats {
    Seats::new(match config.core.connections_max {
        0 => u32::MAX,
        connections => connections,
    })
}

/// A gateway shard, one of so many, whose ring has so many slots. `cluster` is the router node that the process is, where there
/// is a cluster.
pub(super) fn gateway(
    config: &Config,
    role: Role,
    cluster: Option<NodeId>,
    shards: u16,
    slots: u32,
    seats: &Seats,
) -> shard::Settings {
    let (limits, defaults) = (&config.limits, shard::Settings::default());
    let of_others = accepts(config, role) + cluster.map_or(0, |_| LINK_SLOTS);
    shard::Settings {
        listeners: listeners(config, role),
        clustered: cluster.is_some(),
        node: cluster.unwrap_or(NodeId::ALONE),
        request_patience_ms: config.cluster.patience_ms,
        seats: seats.clone(),
        connections_max: slots.saturating_sub(of_others).max(1),
        limits: client_limits(config),
        frames_per_second: limits.frames_per_second,
        frames_burst: limits.frames_burst,
        heartbeat_ms: limits.heartbeat_ms,
        offline_ms: limits.offline_ms,
        upgrade_timeout_ms: limits.hello_ms,
        hello_timeout_ms: limits.hello_ms,
        ticket_ttl_ms: u64::from(config.auth.ticket_ttl_s) * 1_000,
        outbox_bytes: limits.outbox_bytes,
        lag_events_max: u64::from(limits.lag_events_max),
        watch_users_max: limits.watch_users,
        drain_ms: config.drain.spread_ms,
        outbox_total_bytes: share(defaults.outbox_total_bytes, shards),
        input_total_bytes: share(defaults.input_total_bytes, shards),
        ..defaults
    }
}

/// A shard's share of what all shards of a node may hold: what it would hold of itself, as long as there are eight at most.
fn share(of_itself: u64, shards: u16) -> u64 {
    let share = of_itself.saturating_mul(8) / u64::from(shards);
    share.clamp(SHARE_BYTES_MIN.min(of_itself), of_itself)
}

/// A router shard, one of so many.
pub(super) fn router(config: &Config, shards: u16) -> router::Settings {
    let defaults = router::Settings::default();
    let share = |of_itself: usize| share(of_itself as u64, shards) as usize;
    router::Settings {
        recent_bytes_max: share(defaults.recent_bytes_max),
        pending_bytes_max: share(defaults.pending_bytes_max),
        conversations_attached: u16::try_from(config.limits.conversations_attached).unwrap_or(u16::MAX),
        offline_ms: u64::from(config.limits.offline_ms),
        ..defaults
    }
}

/// The keeper of a router node.
pub(super) fn keeper(config: &Config, registration: &Registration, node: NodeId) -> KeeperSettings {
    let Registration { name, address, cores, incarnation } = registration;
    let lease_ms = u64::from(config.cluster.lease_ms);
    KeeperSettings {
        beat_ms: (lease_ms / 4).max(1),
        lease_ms,
        exclusive: config.store.engine != EngineKind::Foundationdb,
        ..KeeperSettings::new(node, name, *address, *cores, *incarnation)
    }
}

/// The API.
pub(super) fn api(config: &Config) -> api::Settings {
    api::Settings {
        api_keys: config.auth.api_keys.iter().map(|key| key.reveal().to_owned()).collect(),
        limits: client_limits(config),
        shutdown_timeout: API_SHUTDOWN,
        begins_closed: true,
        ..api::Settings::new(config.listen.api)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_one_a_cpu_unless_configured() {
        let mut config = Config::default();
        assert_eq!(shards(&config, 4), 4);
        assert_eq!(shards(&config, 0), 1);
        config.core.shards = 60;
        assert_eq!(shards(&config, 4), 60);
    }

    #[test]
    fn configured_connections_are_shared_out_with_room_for_accepts() {
        let mut config = Config::default();
        config.core.connections_max = 1_000;
        assert_eq!(ring(&config, Role::Both, false, 1).slots, 1_016);
        assert_eq!(ring(&config, Role::Both, false, 4).slots, 250 + 64 + 16);
        config.core.connections_max = 3;
        assert_eq!(ring(&config, Role::Both, false, 2).slots, 3 + 16, "one core may get them all");
        config.core.connections_max = 1_000;
        config.debug.echo = Some("127.0.0.1:1".parse().unwrap());
        assert_eq!(ring(&config, Role::Both, false, 1).slots, 1_032);
    }

    #[test]
    fn connections_past_the_descriptor_limit_get_more_banks_with_smaller_queues() {
        let mut config = Config::default();
        let limit = Limit::descriptors().soft;
        let alone = ring(&config, Role::Both, false, 1);
        assert_eq!(u64::from(alone.slots), limit.min(process::BANK_SLOTS_MAX));
        config.core.connections_max = 3_000_000;
        let several = ring(&config, Role::Both, false, 1);
        assert_eq!(several.slots, 3_000_016);
        assert!(several.submissions < alone.submissions && several.completions < alone.completions);
    }

    #[test]
    fn many_shards_hold_no_more_together_than_a_few() {
        let config = Config::default();
        let bytes = |shards| router(&config, shards).recent_bytes_max;
        assert_eq!((bytes(1), bytes(8)), (64 << 20, 64 << 20));
        assert_eq!((bytes(16), bytes(1_024)), (32 << 20, 8 << 20));
    }

    #[test]
    fn every_limit_that_clients_are_told_comes_from_the_configuration() {
        let mut config = Config::default();
        config.limits.body_bytes = 7;
        config.limits.sends_burst = 3;
        let of = |config: &Config| gateway(config, Role::Both, None, 1, 100, &seats(config)).limits;
        let limits = of(&config);
        assert_eq!((limits.body_bytes, limits.sends_burst), (7, 3));
        assert_eq!(api(&config).limits, limits);
        assert_eq!(of(&Config::default()), shard::Settings::default().limits);
    }
}
