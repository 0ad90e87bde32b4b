//! What the bytes of Murmuring mean: ids, events, client frames, WebSocket framing and the upgrade, envelopes and how they
//! travel between nodes.
//!
//! Nothing here does I/O, reads a clock, or keeps more state than one connection's framing.

pub mod envelope;
pub mod error;
pub mod event;
pub mod frame;
pub mod id;
pub mod limits;
pub mod link;
pub mod pair;
pub mod placement;
pub mod rate;
pub mod time;
pub mod upgrade;
pub mod websocket;
