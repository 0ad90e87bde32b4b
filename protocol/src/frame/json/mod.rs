//! Frames as JSON (`murmuring.v1.json`): one object a frame, decoded in place out of the received bytes and encoded
//! into the packet, without a tree between. By hand, because no library does both without memory of its own.

mod cursor;
mod decode;
mod encode;
mod text;
mod write;

pub(super) use decode::{decode, is_object};
pub(super) use encode::{encode, event, refusal};
