//! The laws of the wire: bounds that both ends of a connection rely on (PROTOCOL, sections 1, 2 and 4).
//!
//! An operator's choice lives in the configuration; a bound between modules in that crate's `limits.rs`.

/// Longest id, in bytes.
pub const ID_BYTES_MAX: usize = 64;
/// Longest page of history, in events.
pub const PAGE_EVENTS_MAX: u16 = 200;
/// A page when the client names no limit, in events.
pub const PAGE_EVENTS_DEFAULT: u16 = 50;
/// Most users of one `watch` or `unwatch` frame.
pub const WATCH_USERS_MAX: usize = 500;
/// Conversations listed in `welcome`, and in one `conversations` answer when no limit is named.
pub const CONVERSATIONS_LISTED_MAX: usize = 200;
/// Most cursors in one `hello` or `sync`.
pub const CURSORS_MAX: usize = 1_000;
/// Longest `emoji` of a reaction, in bytes.
pub const EMOJI_BYTES_MAX: usize = 64;
/// Longest `kind` of a message, in bytes.
pub const KIND_BYTES_MAX: usize = 64;
/// Longest title of a conversation, in bytes.
pub const TITLE_BYTES_MAX: usize = 256;
/// Largest sequence number: the largest integer that a JSON reader with doubles keeps whole (2^53 - 1).
pub const SEQ_MAX: u64 = (1 << 53) - 1;
/// Deepest nesting of a JSON frame, in objects and arrays, itself included.
pub const JSON_DEPTH_MAX: u32 = 64;
/// Longest token or resume ticket, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4_096;

/// Largest operator's choice for `limits.body_bytes`.
pub const BODY_BYTES_CEILING: usize = 64 * 1024;
/// Largest operator's choice for `limits.meta_bytes`.
pub const META_BYTES_CEILING: usize = 16 * 1024;
/// Largest encoded event: a value of the store must stay under 100,000 bytes (FoundationDB, "Known limitations").
pub const EVENT_BYTES_MAX: usize = 90_000;

const _: () = assert!(BODY_BYTES_CEILING + META_BYTES_CEILING + 8 * ID_BYTES_MAX + 1_024 <= EVENT_BYTES_MAX);
