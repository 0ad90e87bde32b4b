//! Lists in archives, written element by element out of what the process holds: no list of archivable elements is made
//! first.

use ::rkyv::rancor::Fallible;
use ::rkyv::ser::{Allocator, Writer};
use ::rkyv::vec::{ArchivedVec, VecResolver};
use ::rkyv::with::{ArchiveWith, SerializeWith};
use ::rkyv::{Archive, Place, Serialize};

/// Has a frozen form for archives, made at no cost.
pub trait AsV1 {
    /// The frozen form.
    type V1<'a>: Archive
    where
        Self: 'a;

    /// Its frozen form.
    fn as_v1(&self) -> Self::V1<'_>;
}

/// Archives each element of a slice in its frozen form.
#[derive(Debug)]
pub struct Each;

impl<'a, T: AsV1> ArchiveWith<&'a [T]> for Each {
    type Archived = ArchivedVec<<T::V1<'a> as Archive>::Archived>;
    type Resolver = VecResolver;

    fn resolve_with(list: &&'a [T], resolver: Self::Resolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_len(list.len(), resolver, out);
    }
}

impl<'a, T, S> SerializeWith<&'a [T], S> for Each
where
    T: AsV1,
    T::V1<'a>: Serialize<S>,
    S: Fallible + Allocator + Writer + ?Sized,
{
    fn serialize_with(list: &&'a [T], serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        ArchivedVec::serialize_from_iter::<T::V1<'a>, _, S>(list.iter().map(T::as_v1), serializer)
    }
}
