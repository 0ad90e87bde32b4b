//! A table as bytes, for the store and for links: a version byte and an archive of frozen types (rkyv).
//!
//! Owners are told as places in a list of those there are, and tenures as how far they lie back, so that a table takes
//! some 24 KiB, a quarter of what the store takes as one value.

use core::net::SocketAddr;

use rkyv::rancor::{Failure, Panic};
use rkyv::{Archive, Deserialize, Serialize};

use super::table::{NAME_BYTES_MAX, NODES_MAX, NodeId, RouterNode, Table, Tenure};
use super::{Epoch, SLOTS};
use crate::envelope::RouterId;

/// The version that is written, and the only one so far.
const VERSION: u8 = 1;

/// Bytes of a table at most.
pub const TABLE_BYTES_MAX: usize = 95_000;

const _: () = assert!(
    SLOTS as usize * (2 + 4) + NODES_MAX * (NAME_BYTES_MAX + 64 + 64) + 16_384 <= TABLE_BYTES_MAX,
    "nodes and slots fit, and the list of owners of a usual cluster"
);

/// Bytes are not a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTable(pub &'static str);

#[derive(Archive, Serialize, Deserialize)]
struct NodeV1 {
    id: u16,
    name: String,
    address: String,
    cores: u16,
    draining: bool,
}

#[derive(Archive, Serialize, Deserialize)]
struct TableV1 {
    epoch: u64,
    nodes: Vec<NodeV1>,
    /// The owners that there are.
    owners: Vec<u32>,
    /// By slot: the place of its owner in `owners`.
    places: Vec<u16>,
    /// By slot: how far behind `epoch` its tenure began; the largest number for what lies further back.
    ages: Vec<u32>,
}

impl Table {
    /// The table's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut owners: Vec<u32> = self.tenures.iter().map(|tenure| tenure.owner.0).collect();
        owners.sort_unstable();
        owners.dedup();
        let place =
            |tenure: &Tenure| owners.binary_search(&tenure.owner.0).expect("the list has all owners") as u16;
        let age = |tenure: &Tenure| u32::try_from(self.epoch.0 - tenure.since.0).unwrap_or(u32::MAX);
        let nodes = self.nodes.iter().map(|node| NodeV1 {
            id: node.id.0,
            name: node.name.as_ref().into(),
            address: node.address.to_string(),
            cores: node.cores,
            draining: node.draining,
        });
        let table = TableV1 {
            epoch: self.epoch.0,
            nodes: nodes.collect(),
            places: self.tenures.iter().map(place).collect(),
            ages: self.tenures.iter().map(age).collect(),
            owners,
        };
        let mut bytes = vec![VERSION];
        let Ok(archive) = rkyv::to_bytes::<Panic>(&table);
        bytes.extend_from_slice(&archive);
        bytes
    }

    /// The table of these bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidTable> {
        let Some((&VERSION, archive)) = bytes.split_first() else {
            return Err(InvalidTable("a version that this node does not read"));
        };
        let table = rkyv::from_bytes::<TableV1, Failure>(archive)
            .map_err(|_| InvalidTable("not an archive of its version"))?;
        let slots = usize::from(SLOTS);
        if table.places.len() != slots || table.ages.len() != slots {
            return Err(InvalidTable("another number of slots"));
        }
        if table.nodes.len() > NODES_MAX {
            return Err(InvalidTable("too many nodes"));
        }
        let tenure = |(&place, &age): (&u16, &u32)| {
            let owner = table.owners.get(usize::from(place));
            let owner = *owner.ok_or(InvalidTable("a slot of an owner that is not there"))?;
            Ok(Tenure { owner: RouterId(owner), since: Epoch(table.epoch.saturating_sub(u64::from(age))) })
        };
        let tenures = table.places.iter().zip(&table.ages).map(tenure).collect::<Result<_, _>>()?;
        let nodes = table.nodes.iter().map(node).collect::<Result<Vec<_>, _>>()?;
        if !nodes.is_sorted_by(|a, b| a.id < b.id) {
            return Err(InvalidTable("nodes that are not in order"));
        }
        Ok(Self { epoch: Epoch(table.epoch), nodes, tenures })
    }
}

fn node(node: &NodeV1) -> Result<RouterNode, InvalidTable> {
    let address = node.address.parse::<SocketAddr>().map_err(|_| InvalidTable("an address that is none"))?;
    if node.name.is_empty() || node.name.len() > NAME_BYTES_MAX || node.cores == 0 {
        return Err(InvalidTable("a node without a name or a core"));
    }
    Ok(RouterNode {
        id: NodeId(node.id),
        name: node.name.as_str().into(),
        address,
        cores: node.cores,
        draining: node.draining,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let node = |id: u16| RouterNode {
            id: NodeId(id),
            name: format!("router-{id}").into(),
            address: format!("192.0.2.{id}:8802").parse().unwrap(),
            cores: 4,
            draining: id == 2,
        };
        let mut table = Table::empty();
        table.epoch = Epoch(70);
        table.nodes = vec![node(1), node(2)];
        for (slot, tenure) in table.tenures.iter_mut().enumerate().skip(1) {
            let owner = RouterId::new(NodeId(1 + (slot % 2) as u16), (slot % 4) as u16);
            *tenure = Tenure { owner, since: Epoch(slot as u64 % 70) };
        }
        table
    }

    #[test]
    fn a_table_comes_back_as_it_was() {
        let table = table();
        let bytes = table.to_bytes();
        assert!(bytes.len() < 26_000, "{} bytes", bytes.len());
        assert_eq!(Table::from_bytes(&bytes), Ok(table));
        assert_eq!(Table::from_bytes(&Table::empty().to_bytes()), Ok(Table::empty()));
    }

    #[test]
    fn the_largest_table_is_within_its_bound() {
        let mut table = table();
        let last = RouterNode { name: "n".repeat(NAME_BYTES_MAX).into(), ..table.nodes[1].clone() };
        table.nodes = (0..NODES_MAX as u16).map(|id| RouterNode { id: NodeId(id), ..last.clone() }).collect();
        for (slot, tenure) in table.tenures.iter_mut().enumerate() {
            tenure.owner = RouterId(slot as u32);
        }
        assert!(table.to_bytes().len() <= TABLE_BYTES_MAX, "{} bytes", table.to_bytes().len());
    }

    #[test]
    fn bytes_that_are_no_table_are_refused() {
        let bytes = table().to_bytes();
        for end in [0, 1, 2, bytes.len() / 2, bytes.len() - 1] {
            assert!(Table::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
        }
        let mut newer = bytes;
        newer[0] = VERSION + 1;
        assert_eq!(Table::from_bytes(&newer), Err(InvalidTable("a version that this node does not read")));
    }
}
