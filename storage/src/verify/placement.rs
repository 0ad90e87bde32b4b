//! Proves what router nodes that share a store know of each other: the table agrees with its epoch and with the fences,
//! and no lease has a number that was never given.

use protocol::placement::Slot;

use crate::key::StoreKey;
use crate::value::{self, Lease};

use super::{Fault, Lookup, fault};

pub(super) fn visit(
    lookup: &mut Lookup<'_>,
    key: &StoreKey,
    bytes: &[u8],
    value: &[u8],
) -> Result<(), Fault> {
    match key {
        StoreKey::PlacementEpoch => {
            let epoch = value::open_epoch(bytes, Some(value))?;
            match lookup.open(&StoreKey::Placement, value::open_table)? {
                Some(table) if table.epoch == epoch => check_fences(lookup, key, &table),
                Some(table) => {
                    fault(key, format_args!("it says {}, the table says {}", epoch.0, table.epoch.0))
                }
                None => fault(key, "there is no table"),
            }
        }
        StoreKey::Placement => {
            value::open_table(bytes, value)?;
            match lookup.get(&StoreKey::PlacementEpoch)? {
                Some(_) => Ok(()),
                None => fault(key, "its epoch is missing"),
            }
        }
        StoreKey::LastNode => Ok(value::open_number(bytes, value).map(|_| ())?),
        StoreKey::Lease(_) => {
            Lease::open(bytes, value)?;
            match lookup.get(&StoreKey::LastNode)? {
                Some(_) => Ok(()),
                None => fault(key, "no number was ever given to a node"),
            }
        }
        other => unreachable!("{other} is not of a cluster"),
    }
}

/// A fence is the epoch of its slot's tenure: a larger one would keep the owner from committing.
fn check_fences(
    lookup: &mut Lookup<'_>,
    key: &StoreKey,
    table: &protocol::placement::Table,
) -> Result<(), Fault> {
    for slot in Slot::all() {
        let since = table.tenure(slot).since;
        let fence = lookup.open(&StoreKey::Fence(slot), |key, value| value::open_epoch(key, Some(value)))?;
        if fence != Some(since) {
            let fence = fence.unwrap_or_default().0;
            let what = format_args!("slot {} is its owner's since {}, its fence is {fence}", slot.0, since.0);
            return fault(key, what);
        }
    }
    Ok(())
}
