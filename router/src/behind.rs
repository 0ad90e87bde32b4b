//! Gateway shards that missed publishes because their mailbox was full: one [`protocol::envelope::ToGateway::Head`] a
//! conversation makes up for all of them.

use std::collections::{BTreeMap, BTreeSet};

use protocol::envelope::GatewayId;

use crate::conversation::Place;
use crate::limits::{HEADS_A_ROUND, RETRY_MS};

/// Who is behind where. Bounded by the interest there is.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    gateways: BTreeMap<GatewayId, BTreeSet<Place>>,
    retry_at: u64,
}

impl Behind {
    /// True when nobody is.
    pub(crate) fn is_empty(&self) -> bool {
        self.gateways.is_empty()
    }

    /// True when this gateway shard is, here.
    pub(crate) fn contains(&self, gateway: GatewayId, place: Place) -> bool {
        self.gateways.get(&gateway).is_some_and(|places| places.contains(&place))
    }

    /// A gateway shard missed something. Those who wait already wait no longer by that.
    pub(crate) fn add(&mut self, gateway: GatewayId, place: Place, now_ms: u64) {
        if self.is_empty() {
            self.retry_at = self.retry_at.max(now_ms + RETRY_MS);
        }
        self.gateways.entry(gateway).or_default().insert(place);
    }

    /// A gateway shard has no interest any more, or was told.
    pub(crate) fn remove(&mut self, gateway: GatewayId, place: Place) {
        if let Some(places) = self.gateways.get_mut(&gateway) {
            places.remove(&place);
            if places.is_empty() {
                self.gateways.remove(&gateway);
            }
        }
    }

    /// Nobody is behind in these conversations any more.
    pub(crate) fn forget(&mut self, forgotten: impl Fn(Place) -> bool) {
        self.gateways.retain(|_, places| {
            places.retain(|&place| !forgotten(place));
            !places.is_empty()
        });
    }

    /// A gateway shard is behind nowhere any more.
    pub(crate) fn lose(&mut self, gateway: GatewayId) {
        self.gateways.remove(&gateway);
    }

    /// Whom to tell now, of those that are `open`. They count as told until their mailbox gives it back.
    pub(crate) fn take(&mut self, now_ms: u64, open: impl Fn(GatewayId) -> bool) -> Vec<(GatewayId, Place)> {
        if now_ms < self.retry_at || self.is_empty() {
            return Vec::new();
        }
        self.retry_at = now_ms + RETRY_MS;
        let of_one = |(&gateway, places): (&GatewayId, &BTreeSet<Place>)| {
            let some = places.iter().take(HEADS_A_ROUND).map(move |&place| (gateway, place));
            some.collect::<Vec<_>>()
        };
        let taken: Vec<_> =
            self.gateways.iter().filter(|(gateway, _)| open(**gateway)).flat_map(of_one).collect();
        for &(gateway, place) in &taken {
            self.remove(gateway, place);
        }
        taken
    }

    /// When to try again, in monotonic milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.retry_at)
    }

    /// Everything that is behind.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (GatewayId, Place)> {
        self.gateways.iter().flat_map(|(&gateway, places)| places.iter().map(move |&place| (gateway, place)))
    }
}
