//! What an operator or a test chooses about a router shard. Bounds between modules are in `limits`.

/// Choices of one router shard; all bounds are per shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Conversations that [`protocol::envelope::ToGateway::SessionOpened`] lists at most (1 to 1,000).
    pub conversations_attached: u16,
    /// Conversations in memory, with interest or without. Past it new ones are refused as `unavailable`.
    pub conversations_max: u32,
    /// Conversations that stay in memory although no gateway shard is interested and nothing is under way.
    pub conversations_idle_max: u32,
    /// Known roles and cursors in memory, over all conversations (about 40 bytes each).
    pub members_max: u32,
    /// Bytes of recent events in memory, over all conversations.
    pub recent_bytes_max: usize,
    /// Sessions registered. Past it a new one is refused as `unavailable`.
    pub sessions_max: u32,
    /// Users whose presence somebody watches. Past it a watch is answered once and not kept.
    pub watched_max: u32,
    /// Bytes of events that wait for the store or are on their way to it. Past it sends are `unavailable`.
    pub pending_bytes_max: usize,
    /// Members above which receipts tell counts in place of users.
    pub large_members: u64,
    /// Members from which on what is stored is published together with what is stored right behind it: a packet less for each
    /// member is worth the time of a commit.
    pub held_members_min: u64,
    /// How long after it was last heard a user counts as online, in milliseconds.
    pub offline_ms: u64,
    /// How often changes of presence are told, in milliseconds.
    pub presence_batch_ms: u64,
    /// How often receipts are told, in milliseconds.
    pub receipt_batch_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            conversations_attached: 1_000,
            conversations_max: 1_000_000,
            conversations_idle_max: 65_536,
            members_max: 2_000_000,
            recent_bytes_max: 64 << 20,
            sessions_max: 2_000_000,
            watched_max: 1_000_000,
            pending_bytes_max: 64 << 20,
            large_members: 100,
            held_members_min: 8,
            offline_ms: 60_000,
            presence_batch_ms: 500,
            receipt_batch_ms: 200,
        }
    }
}
