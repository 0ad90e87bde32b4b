//! Writing frames: each behind the last in memory of the caller, so that those of a turn leave in one write.

use rkyv::api::high::{HighSerializer, to_bytes_in};
use rkyv::rancor::Panic;
use rkyv::ser::allocator::ArenaHandle;
use xxhash_rust::xxh3::xxh3_64;

use super::v1::{ToGatewayV1, ToRouterV1};
use super::{CHECKED, CHECKSUM, CONTROL, FRAME_BYTES_MAX, HEAD_BYTES, Route, TO_GATEWAY, TO_ROUTER, VERSION};
use crate::envelope::{ToGateway, ToRouter};

/// An envelope does not fit a frame; nothing was written. A publish may become a
/// [`ToGateway::Head`], a request is refused as too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Appends the frame of an envelope to a router shard.
///
/// # Errors
/// [`TooLarge`] beyond [`FRAME_BYTES_MAX`].
///
/// # Panics
/// When the envelope names another gateway shard than `route.from`: the answer would go there.
pub fn write_to_router(envelope: &ToRouter, route: Route, out: &mut Vec<u8>) -> Result<(), TooLarge> {
    assert!(envelope.gateway().is_none_or(|gateway| gateway.0 == u32::from(route.from)));
    write(TO_ROUTER, route, &ToRouterV1::from(envelope), out)
}

/// Appends the frame of an envelope to a gateway shard.
///
/// # Errors
/// [`TooLarge`] beyond [`FRAME_BYTES_MAX`].
pub fn write_to_gateway(envelope: &ToGateway, route: Route, out: &mut Vec<u8>) -> Result<(), TooLarge> {
    write(TO_GATEWAY, route, &ToGatewayV1::from(envelope), out)
}

/// Appends a frame of the link's own: its kind from [`CONTROL`] on, its version and bytes as the link means them.
///
/// # Errors
/// [`TooLarge`] beyond [`FRAME_BYTES_MAX`].
///
/// # Panics
/// When the kind is an envelope's.
pub fn write_control(kind: u8, version: u8, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), TooLarge> {
    write_parts(kind, version, [bytes, &[]], out)
}

/// [`write_control`] of bytes that lie in two places.
pub(super) fn write_parts(
    kind: u8,
    version: u8,
    parts: [&[u8]; 2],
    out: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    assert!(kind >= CONTROL, "kinds below are for envelopes");
    let start = begin(version, kind, Route::default(), out);
    parts.into_iter().for_each(|part| out.extend_from_slice(part));
    end(start, out)
}

fn write<T>(kind: u8, route: Route, envelope: &T, out: &mut Vec<u8>) -> Result<(), TooLarge>
where
    T: for<'a> rkyv::Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, Panic>>,
{
    let start = begin(VERSION, kind, route, out);
    // Writing into memory fails only beyond the 2 GiB of an offset, and no shard makes an envelope of that size.
    let Ok(bytes) = to_bytes_in(envelope, core::mem::take(out));
    *out = bytes;
    end(start, out)
}

/// Appends a head without length and checksum, and returns where it begins.
fn begin(version: u8, kind: u8, route: Route, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    let mut head = [0; HEAD_BYTES];
    head[CHECKED] = version;
    head[CHECKED + 1] = kind;
    head[CHECKED + 2..CHECKED + 4].copy_from_slice(&route.from.to_le_bytes());
    head[CHECKED + 4..].copy_from_slice(&route.to.to_le_bytes());
    out.extend_from_slice(&head);
    start
}

/// Writes length and checksum into the head, or takes the frame away again.
fn end(start: usize, out: &mut Vec<u8>) -> Result<(), TooLarge> {
    if out.len() - start > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(TooLarge);
    }
    let frame = &mut out[start..];
    let length = (frame.len() - CHECKSUM) as u32;
    let checksum = xxh3_64(&frame[CHECKED..]);
    frame[..CHECKSUM].copy_from_slice(&length.to_le_bytes());
    frame[CHECKSUM..CHECKED].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}
