//! Reading a peer's frames: out of the received bytes where a frame lies in them whole, and otherwise gathered in memory of
//! the caller.
//!
//! ```text
//! let mut input = received;
//! while let Some(frame) = reader.read(&mut input, &mut assembly, frame_bytes_max)? { … }
//! // `assembly` is empty unless a frame is unfinished.
//! ```

use xxhash_rust::xxh3::xxh3_64;

use super::{
    CHECKED, CHECKSUM, CONTROL, FRAME_BYTES_MAX, HEAD_BYTES, Malformed, Route, Sentences, TO_GATEWAY,
    TO_ROUTER, VERSION, VERSION_OLDEST, v1,
};
use crate::envelope::{GatewayId, ToGateway, ToRouter};

/// One frame of a peer: whole, of a known kind and version, its checksum right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Between which shards.
    pub route: Route,
    /// What it carries.
    pub body: Body<'a>,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// An envelope to a router shard.
    ToRouter(ToRouterBytes<'a>),
    /// An envelope to a gateway shard.
    ToGateway(ToGatewayBytes<'a>),
    /// The link's own; whether an unknown one ends the link or is passed over is for the link to say.
    Control {
        /// From [`CONTROL`] on.
        kind: u8,
        /// As the sender wrote it: looked at by nobody before.
        version: u8,
        /// As the sender wrote them.
        bytes: &'a [u8],
    },
}

/// An envelope to a router shard, not validated yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToRouterBytes<'a>(&'a [u8]);

/// An envelope to a gateway shard, not validated yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToGatewayBytes<'a>(&'a [u8]);

impl ToRouterBytes<'_> {
    /// Validates the envelope, once. `gateway` is the number under which this node knows the gateway shard that sent it
    /// (`route.from` of the peer): the envelope names it as caller, and so will the answer.
    ///
    /// # Errors
    /// What is wrong with it first. The link ends.
    pub fn decode(self, gateway: GatewayId) -> Result<ToRouter, Malformed> {
        v1::to_router(self.0, gateway)
    }
}

impl ToGatewayBytes<'_> {
    /// Validates the envelope, once. `gateway` is this node's number of the gateway shard that it is for (`route.to`): an
    /// answer names it as caller. `sentences` are the core's.
    ///
    /// # Errors
    /// What is wrong with it first. The link ends.
    pub fn decode(self, gateway: GatewayId, sentences: &mut Sentences) -> Result<ToGateway, Malformed> {
        v1::to_gateway(self.0, gateway, sentences)
    }
}

/// What the assembly holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nothing, or the first bytes of a frame.
    #[default]
    Frame,
    /// A frame that was given.
    Given,
    /// After an error: nothing is read any more.
    End,
}

/// The framing state of one link's receiving side.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    place: Place,
}

impl Reader {
    /// The state of a new link.
    #[must_use]
    pub const fn new() -> Self {
        Self { place: Place::Frame }
    }

    /// The next frame. Takes what it reads off the front of `input`; `None` when all input is taken.
    ///
    /// `assembly` is this link's from the first byte of an unfinished frame to its end: the caller hands in the very bytes
    /// that the last call left there, and may drop the memory whenever it is empty after a `None` or a
    /// [`Reader::settle`]. It never holds more than one frame of `frame_bytes_max`, and never more than has come.
    ///
    /// A link that does not know its peer yet gives a small `frame_bytes_max`; no bound is over [`FRAME_BYTES_MAX`].
    ///
    /// # Errors
    /// The first malformed frame: its length as soon as that is there, everything else at the frame's end. From then on
    /// all input is ignored.
    pub fn read<'m, 'a: 'm>(
        &mut self,
        input: &mut &'a [u8],
        assembly: &'m mut Vec<u8>,
        frame_bytes_max: usize,
    ) -> Result<Option<Frame<'m>>, Malformed> {
        let frame = self.advance(input, assembly, frame_bytes_max.min(FRAME_BYTES_MAX));
        if frame.is_err() {
            self.place = Place::End;
        }
        frame
    }

    /// Takes out of `assembly` what [`Reader::read`] has given. The next `read` does so anyway; a caller that stops
    /// before a `None` calls this before it keeps the memory.
    pub fn settle(&mut self, assembly: &mut Vec<u8>) {
        match self.place {
            Place::Frame => {}
            Place::Given => {
                self.place = Place::Frame;
                assembly.clear();
            }
            Place::End => assembly.clear(),
        }
    }

    /// Asserts what must hold between two calls.
    ///
    /// # Panics
    /// When it does not: a fault of this module, or of a caller that handed in another link's assembly.
    pub fn invariants(&self, assembly: &[u8]) {
        assert!(assembly.len() <= FRAME_BYTES_MAX);
        assert!(self.place != Place::Given || assembly.len() >= HEAD_BYTES);
    }

    fn advance<'m, 'a: 'm>(
        &mut self,
        input: &mut &'a [u8],
        assembly: &'m mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Option<Frame<'m>>, Malformed> {
        self.settle(assembly);
        if self.place == Place::End {
            *input = &[];
            return Ok(None);
        }
        if assembly.is_empty() {
            if let Some(bytes) = frame_bytes(input, bytes_max)?.filter(|&bytes| bytes <= input.len()) {
                return open(take(input, bytes)).map(Some);
            }
            assembly.extend_from_slice(take(input, input.len()));
            return Ok(None);
        }
        if !gather(input, assembly, bytes_max)? {
            return Ok(None);
        }
        self.place = Place::Given;
        open(assembly).map(Some)
    }
}

/// Bytes of the frame that begins here, as its length says; `None` when the length is not all there yet.
fn frame_bytes(bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, Malformed> {
    let Some(length) = bytes.first_chunk() else { return Ok(None) };
    let frame_bytes = u64::from(u32::from_le_bytes(*length)) + CHECKSUM as u64;
    if frame_bytes < HEAD_BYTES as u64 {
        return Err(Malformed::TooShort);
    }
    if frame_bytes > bytes_max as u64 {
        return Err(Malformed::TooLarge);
    }
    Ok(Some(frame_bytes as usize))
}

/// Moves input behind the first bytes of a frame; true when it is whole.
fn gather(input: &mut &[u8], assembly: &mut Vec<u8>, bytes_max: usize) -> Result<bool, Malformed> {
    fill(input, assembly, CHECKSUM);
    let Some(bytes) = frame_bytes(assembly, bytes_max)? else { return Ok(false) };
    fill(input, assembly, bytes);
    Ok(assembly.len() == bytes)
}

/// Moves input until the assembly has so many bytes, or there is none left.
fn fill(input: &mut &[u8], assembly: &mut Vec<u8>, bytes: usize) {
    let missing = bytes.saturating_sub(assembly.len()).min(input.len());
    assembly.extend_from_slice(take(input, missing));
}

/// Takes `length` bytes off the front.
fn take<'a>(input: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (front, rest) = input.split_at(length);
    *input = rest;
    front
}

/// A whole frame, as far as one can tell without looking at its archive. The checksum is compared before anything that it
/// vouches for is believed.
fn open(frame: &[u8]) -> Result<Frame<'_>, Malformed> {
    let (_, rest) = frame.split_first_chunk::<CHECKSUM>().ok_or(Malformed::TooShort)?;
    let (checksum, checked) = rest.split_first_chunk().ok_or(Malformed::TooShort)?;
    if xxh3_64(checked) != u64::from_le_bytes(*checksum) {
        return Err(Malformed::Checksum);
    }
    let (&[version, kind, from_low, from_high, to_low, to_high], bytes) =
        checked.split_first_chunk::<{ HEAD_BYTES - CHECKED }>().ok_or(Malformed::TooShort)?;
    let route =
        Route { from: u16::from_le_bytes([from_low, from_high]), to: u16::from_le_bytes([to_low, to_high]) };
    if kind >= CONTROL {
        return Ok(Frame { route, body: Body::Control { kind, version, bytes } });
    }
    if !(VERSION_OLDEST..=VERSION).contains(&version) {
        return Err(Malformed::Version(version));
    }
    let body = match kind {
        TO_ROUTER => Body::ToRouter(ToRouterBytes(bytes)),
        TO_GATEWAY => Body::ToGateway(ToGatewayBytes(bytes)),
        _ => return Err(Malformed::Kind(kind)),
    };
    Ok(Frame { route, body })
}
