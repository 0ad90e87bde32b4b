//! What a router shard has counted.

use api::metrics::Metric;
use router::Counters;

use super::{COUNTS, US_AS_SECONDS, counter, gauge, of_shard};

/// Appends a sample, or one a label, for each of the shard's counters.
pub(super) fn push(samples: &mut Vec<Metric>, counters: &Counters) {
    conversations(samples, counters);
    store(samples, counters);
    slots(samples, counters);
}

fn conversations(samples: &mut Vec<Metric>, counters: &Counters) {
    samples.extend([
        gauge("murmuring_router_conversations", "Conversations in memory now.", counters.conversations),
        gauge("murmuring_router_sessions", "Sessions registered now.", counters.sessions),
        gauge("murmuring_router_watched", "Users watched for presence now.", counters.watched),
        gauge("murmuring_router_waiting", "Requests waiting for a load now.", counters.waiting),
        gauge("murmuring_router_returned", "Envelopes waiting for a full mailbox now.", counters.returned),
        counter("murmuring_router_refused_total", "Requests refused.", counters.refused),
        counter(
            "murmuring_router_unavailable_total",
            "Requests refused as unavailable.",
            counters.unavailable,
        ),
        counter("murmuring_router_strangers_total", "Requests of strangers.", counters.strangers),
        counter("murmuring_publishes_total", "Publishes to gateway shards.", counters.publishes),
        counter(
            "murmuring_publishes_missed_total",
            "Publishes that a full mailbox gave back.",
            counters.publishes_missed,
        ),
        counter("murmuring_heads_total", "Heads sent in place of missed publishes.", counters.heads),
        counter(
            "murmuring_router_ephemeral_dropped_total",
            "Ephemeral envelopes dropped.",
            counters.ephemeral_dropped,
        ),
        counter(
            "murmuring_router_returned_total",
            "Required envelopes that a full mailbox gave back.",
            counters.required_returned,
        ),
        Metric::histogram(
            "murmuring_publish_gateways",
            "Gateway shards that a publish goes to.",
            of_shard(&counters.fan_out, &COUNTS, 1.0),
        ),
    ]);
}

fn store(samples: &mut Vec<Metric>, counters: &Counters) {
    let pages = "Pages of history answered.";
    samples.extend([
        gauge("murmuring_store_requests", "Store requests under way now.", counters.store_requests),
        counter("murmuring_appends_total", "Events asked to be stored.", counters.appends),
        counter("murmuring_stored_total", "Events stored.", counters.stored),
        counter("murmuring_duplicates_total", "Events that had been stored before.", counters.duplicates),
        counter("murmuring_commits_failed_total", "Transactions that failed.", counters.commits_failed),
        counter("murmuring_catch_ups_total", "Logs read again after an unknown commit.", counters.catch_ups),
        counter("murmuring_loads_total", "Conversations loaded.", counters.loads),
        counter("murmuring_pages_total", pages, counters.pages_recent).with_label("from", "memory"),
        counter("murmuring_pages_total", pages, counters.pages_stored).with_label("from", "store"),
        counter(
            "murmuring_store_full_total",
            "Requests that the store's queue gave back.",
            counters.store_full,
        ),
        counter("murmuring_marks_total", "Read and received cursors stored.", counters.marks),
        counter("murmuring_marks_dropped_total", "Cursors dropped over a bound.", counters.marks_dropped),
        Metric::histogram(
            "murmuring_commit_seconds",
            "From handing a transaction to the store until its answer.",
            of_shard(&counters.commit_us, &US_AS_SECONDS, 1e-6),
        ),
        Metric::histogram(
            "murmuring_batch_events",
            "Events of a transaction.",
            of_shard(&counters.batch_events, &COUNTS, 1.0),
        ),
    ]);
}

/// What comes of slots that move, and of nodes that go.
fn slots(samples: &mut Vec<Metric>, counters: &Counters) {
    samples.extend([
        gauge("murmuring_slots_owned", "Slots owned now.", counters.slots_owned),
        counter("murmuring_slots_gained_total", "Slots that came by a table.", counters.slots_gained),
        counter("murmuring_slots_lost_total", "Slots that a table took away.", counters.slots_lost),
        counter(
            "murmuring_router_misplaced_total",
            "Requests told that another shard has their slot.",
            counters.misplaced,
        ),
        counter(
            "murmuring_appends_fenced_total",
            "Transactions that another owner's fence refused.",
            counters.appends_fenced,
        ),
        counter(
            "murmuring_appends_tried_alone_total",
            "Batches tried again by themselves behind such a transaction.",
            counters.tried_alone,
        ),
        counter(
            "murmuring_router_passed_on_total",
            "Cursors and memberships passed on to the shard that has their slot.",
            counters.passed_on,
        ),
        counter(
            "murmuring_router_passed_on_dropped_total",
            "Cursors and memberships dropped instead, over a bound.",
            counters.passed_on_dropped,
        ),
        counter(
            "murmuring_gateways_gone_total",
            "Gateway shards of other nodes that ended.",
            counters.gateways_gone,
        ),
        counter(
            "murmuring_gateways_cut_total",
            "Gateway shards of other nodes given up since they took nothing.",
            counters.gateways_cut,
        ),
    ]);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_exported, histogram};
    use super::*;

    #[test]
    fn every_counter_is_exported() {
        let mut last = 0;
        let mut next = || {
            last += 1;
            last
        };
        let counters = Counters {
            appends: next(),
            stored: next(),
            duplicates: next(),
            refused: next(),
            unavailable: next(),
            strangers: next(),
            commits_failed: next(),
            publishes: next(),
            publishes_missed: next(),
            heads: next(),
            ephemeral_dropped: next(),
            required_returned: next(),
            pages_recent: next(),
            pages_stored: next(),
            loads: next(),
            catch_ups: next(),
            store_full: next(),
            marks: next(),
            marks_dropped: next(),
            misplaced: next(),
            appends_fenced: next(),
            tried_alone: next(),
            passed_on: next(),
            passed_on_dropped: next(),
            slots_lost: next(),
            slots_gained: next(),
            gateways_gone: next(),
            gateways_cut: next(),
            slots_owned: next(),
            conversations: next(),
            sessions: next(),
            watched: next(),
            waiting: next(),
            store_requests: next(),
            returned: next(),
            commit_us: histogram(next()),
            batch_events: histogram(next()),
            fan_out: histogram(next()),
        };
        let mut samples = Vec::new();
        push(&mut samples, &counters);
        assert_exported(&samples, last);
    }
}
