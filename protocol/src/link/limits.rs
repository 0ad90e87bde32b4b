//! How large a frame may be, and why: the largest envelope that a shard makes fits, and little more.

use super::v1::{
    ArchivedAttachItemV1, ArchivedAttachedItemV1, ArchivedKeyV1, ArchivedMemberV1, ArchivedToGatewayV1,
    ArchivedToRouterV1,
};
use super::{HEAD_BYTES, SENTENCE_BYTES_MAX};
use crate::frame::rkyv::{ArchivedChatListEntryV1, ArchivedEventBytesV1};
use crate::limits::{
    CONVERSATIONS_LISTED_MAX, EVENT_BYTES_MAX, ID_BYTES_MAX, PAGE_EVENTS_MAX, TITLE_BYTES_MAX,
    WATCH_USERS_MAX,
};

/// Longest frame, in bytes, its length field included. An owner publishes two batches of a conversation together, each of
/// which was one transaction of less than 1,000,000 bytes; all else is smaller.
pub const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of events that surely fit one envelope: two batches. Who makes envelopes keeps below.
pub const ENVELOPE_EVENTS_BYTES_MAX: usize = 2_000_000;
/// Events that surely fit one envelope: two batches of 512.
pub const ENVELOPE_EVENTS_MAX: usize = 1_024;
/// Members, users, lines or conversations that surely fit one envelope: those of the largest creation.
pub const ENVELOPE_ITEMS_MAX: usize = 10_000;

/// Bytes of an envelope that hang on no list: the head, the root, and the few texts that each has at most one of.
const fn fixed_bytes(root: usize) -> usize {
    HEAD_BYTES + root + 8 * ID_BYTES_MAX + TITLE_BYTES_MAX + SENTENCE_BYTES_MAX
}

const ROOT_BYTES_MAX: usize = {
    let (router, gateway) = (size_of::<ArchivedToRouterV1<'_>>(), size_of::<ArchivedToGatewayV1<'_>>());
    if router > gateway { router } else { gateway }
};

/// The largest element of any list, with its texts: a user watched has two ids.
const ITEM_BYTES_MAX: usize = {
    let sizes = [
        size_of::<ArchivedAttachItemV1<'_>>() + ID_BYTES_MAX,
        size_of::<ArchivedAttachedItemV1<'_>>() + ID_BYTES_MAX,
        size_of::<ArchivedMemberV1<'_>>() + ID_BYTES_MAX,
        size_of::<ArchivedChatListEntryV1<'_>>() + ID_BYTES_MAX,
        size_of::<ArchivedKeyV1<'_>>() + 2 * ID_BYTES_MAX,
    ];
    let (mut largest, mut at) = (0, 0);
    while at < sizes.len() {
        if sizes[at] > largest {
            largest = sizes[at];
        }
        at += 1;
    }
    largest
};

const FIXED_BYTES_MAX: usize = fixed_bytes(ROOT_BYTES_MAX);
const EVENT_ITEM_BYTES: usize = size_of::<ArchivedEventBytesV1<'_>>();

// Publishes, pages and backlogs; one event of the largest size; lists.
const _: () = assert!(
    FIXED_BYTES_MAX + ENVELOPE_EVENTS_MAX * EVENT_ITEM_BYTES + ENVELOPE_EVENTS_BYTES_MAX <= FRAME_BYTES_MAX
);
const _: () = assert!(PAGE_EVENTS_MAX as usize <= ENVELOPE_EVENTS_MAX);
const _: () = assert!(EVENT_BYTES_MAX <= ENVELOPE_EVENTS_BYTES_MAX);
const _: () = assert!(FIXED_BYTES_MAX + ENVELOPE_ITEMS_MAX * ITEM_BYTES_MAX <= FRAME_BYTES_MAX);
const _: () =
    assert!(WATCH_USERS_MAX <= ENVELOPE_ITEMS_MAX && CONVERSATIONS_LISTED_MAX <= ENVELOPE_ITEMS_MAX);
// Offsets in an archive have 31 bits beside their sign.
const _: () = assert!(FRAME_BYTES_MAX < 1 << 31);
