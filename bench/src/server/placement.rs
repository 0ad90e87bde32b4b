//! What a node says of the cluster's placement (`GET /v1/cluster`), and the order to move a slot.

use protocol::id::{ConversationId, ConversationKey, Tenant};
use protocol::placement::Slot;
use serde::Deserialize;
use serde_json::json;

use super::api::Answer;
use super::{Api, ServerError};

/// A router shard, as orders name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The name of its node.
    pub node: String,
    /// Its core there.
    pub core: u16,
}

/// The placement as one node tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The number of the table.
    pub epoch: u64,
    /// All router shards: those that follow each other are on different nodes, as far as there are such.
    pub shards: Vec<Shard>,
}

/// The answer's form.
#[derive(Deserialize)]
struct State {
    epoch: u64,
    nodes: Vec<NodeState>,
}

#[derive(Deserialize)]
struct NodeState {
    name: String,
    cores: u16,
}

impl Placement {
    const PATH: &str = "/v1/cluster";

    /// Asks a node.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn ask(api: &Api) -> Result<Self, ServerError> {
        let answer = api.call("GET", Self::PATH, None::<&()>)?;
        let read = (answer.status == 200).then(|| Self::read(&answer.text)).flatten();
        read.ok_or_else(|| answer.into_refusal("GET", Self::PATH))
    }

    /// Orders a slot to a router shard, and waits until a table says so: the placement then.
    ///
    /// # Errors
    /// The node does not answer, or refuses.
    pub fn move_slot(api: &Api, slot: u16, to: &Shard) -> Result<Self, ServerError> {
        let path = "/v1/cluster/move";
        let order = json!({ "slot": slot, "node": to.node, "core": to.core });
        let answer: Answer = api.call("POST", path, Some(&order))?;
        let read = (answer.status == 200).then(|| Self::read(&answer.text)).flatten();
        read.ok_or_else(|| answer.into_refusal("POST", path))
    }

    fn read(text: &str) -> Option<Self> {
        let state: State = serde_json::from_str(text).ok()?;
        let cores = state.nodes.iter().map(|node| node.cores).max().unwrap_or(0);
        let shards = (0..cores).flat_map(|core| {
            let has_it = state.nodes.iter().filter(move |node| core < node.cores);
            has_it.map(move |node| Shard { node: node.name.clone(), core })
        });
        Some(Self { epoch: state.epoch, shards: shards.collect() })
    }
}

/// The slot of a conversation of the default tenant; `None` for what is no conversation's id.
#[must_use]
pub(crate) fn slot_of(conversation: &str) -> Option<u16> {
    let conversation = ConversationId::parse(conversation).ok()?;
    Some(Slot::of_conversation(&ConversationKey { tenant: Tenant::default_tenant(), conversation }).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_alternate_between_nodes() {
        let node = |name: &str, cores: u16| json!({ "name": name, "number": 1, "address": "127.0.0.1:1", "cores": cores, "slots": 1 });
        let text = json!({ "epoch": 7, "nodes": [node("a", 2), node("b", 1), node("c", 2)], "unowned": 0 });
        let placement = Placement::read(&text.to_string()).unwrap();
        let shards: Vec<(&str, u16)> =
            placement.shards.iter().map(|shard| (&*shard.node, shard.core)).collect();
        assert_eq!(shards, [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("c", 1)]);
        assert!(placement.epoch == 7);
        assert_eq!(Placement::read("{}"), None);
    }

    #[test]
    fn a_conversations_slot_is_the_servers() {
        assert_eq!(slot_of("general"), Some(2_140));
        assert_eq!(slot_of(""), None);
    }
}
