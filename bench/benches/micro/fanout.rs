//! Fan-out: a publish to a room's members on one shard, from the envelope to the completed sends; an item is a
//! delivery. The copy of each event counts, since an event can be published once.

use gateway::shard::Completion;
use protocol::envelope::ToGateway;
use protocol::frame::Subprotocol;

use crate::gateway::Gateway;
use crate::path::Path;
use crate::sample;

pub(crate) fn paths() -> Vec<Path> {
    use Subprotocol::{Json, Rkyv};
    vec![
        room("fanout/json-2", Json, 2, 1),
        room("fanout/json-100", Json, 100, 1),
        room("fanout/json-1000", Json, 1_000, 1),
        room("fanout/rkyv-100", Rkyv, 100, 1),
        room("fanout/json-100-burst-10", Json, 100, 10),
        room("fanout/rkyv-100-burst-10", Rkyv, 100, 10),
    ]
}

/// Under the clock alone: caches count, instructions are those of the smaller room.
pub(crate) fn larger() -> Vec<Path> {
    vec![
        room("fanout/json-10000", Subprotocol::Json, 10_000, 1),
        room("fanout/json-10000-burst-10", Subprotocol::Json, 10_000, 10),
    ]
}

fn room(name: &'static str, subprotocol: Subprotocol, members: u32, burst: u64) -> Path {
    Path::new(name, move || publishing(subprotocol, members, burst)).of(u64::from(members) * burst)
}

fn publishing(subprotocol: Subprotocol, members: u32, burst: u64) -> impl FnMut() {
    let (mut gateway, _) = Gateway::with_sessions(subprotocol, members);
    let (template, mut head) = (sample::event(1), 0);
    move || {
        let events = (1..=burst).map(|ahead| sample::moved(&template, head + ahead)).collect();
        head += burst;
        let publish = ToGateway::Publish { conversation: sample::key(), events };
        gateway.complete(Completion::Envelope(publish));
        assert_eq!(gateway.deliveries(), head * u64::from(members));
    }
}
