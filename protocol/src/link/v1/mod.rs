//! Version 1 of the archives on links. Frozen: a change to any type here, or to one that it is made of, is a new version;
//! the golden bytes of the tests hold us to it.

mod check;
mod parts;
mod to_gateway;
mod to_router;

use rkyv::rancor::Failure;

use super::{Malformed, Sentences};
use crate::envelope::{GatewayId, ToGateway, ToRouter};

pub(super) use parts::{ArchivedAttachItemV1, ArchivedAttachedItemV1, ArchivedKeyV1, ArchivedMemberV1};
pub(super) use to_gateway::{ArchivedToGatewayV1, ToGatewayV1};
pub(super) use to_router::{ArchivedToRouterV1, ToRouterV1};

/// The envelope to a router shard that an archive holds.
pub(super) fn to_router(archive: &[u8], gateway: GatewayId) -> Result<ToRouter, Malformed> {
    rkyv::access::<ArchivedToRouterV1<'_>, Failure>(archive)
        .map_err(|_| Malformed::Archive)?
        .envelope(gateway)
}

/// The envelope to a gateway shard that an archive holds.
pub(super) fn to_gateway(
    archive: &[u8],
    gateway: GatewayId,
    sentences: &mut Sentences,
) -> Result<ToGateway, Malformed> {
    rkyv::access::<ArchivedToGatewayV1<'_>, Failure>(archive)
        .map_err(|_| Malformed::Archive)?
        .envelope(gateway, sentences)
}
