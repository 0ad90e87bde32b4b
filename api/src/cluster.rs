//! The router nodes of a cluster: who owns how much, and orders to their keeper. For operators alone: an API key, or, where
//! the server has none, an admin's token of the default tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::envelope::RouterId;
use protocol::error::ErrorCode;
use protocol::id::Tenant;
use protocol::placement::{NodeId, SLOTS, Slot, Table};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::context::Context;
use crate::failure::Failure;
use crate::fields::Body;
use crate::identity::Identity;

/// What an operator wants of the keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A node's slots go to the others, and no slot comes to it.
    Drain {
        /// The node's name.
        node: String,
    },
    /// Slots may come to a node again.
    Undrain {
        /// The node's name.
        node: String,
    },
    /// A slot goes to a node.
    Move {
        /// Which.
        slot: Slot,
        /// The node's name.
        node: String,
        /// A core of it; `None`: the one with the fewest slots.
        core: Option<u16>,
    },
}

/// Why an order was not carried out, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// It makes no sense as things are.
    Refused(String),
    /// It may succeed later, or was done after all: the state tells.
    Unavailable(String),
}

/// Hands an order to the keeper of this process; what comes of it comes later, with one sentence when it is refused. `None`
/// when there is no keeper here, or too many orders wait.
pub type GiveOrder = Arc<dyn Fn(Order) -> Option<oneshot::Receiver<Result<(), OrderError>>> + Send + Sync>;

/// `GET /v1/cluster`
pub(crate) async fn status(
    identity: Identity,
    State(context): State<Arc<Context>>,
) -> Result<Json<Value>, Failure> {
    admit(&context, &identity)?;
    let (_, table) = context.canary.table();
    Ok(Json(status_json(&table)))
}

fn status_json(table: &Table) -> Value {
    let mut by_node: BTreeMap<NodeId, BTreeMap<u16, u16>> = BTreeMap::new();
    let mut unowned = 0;
    for tenure in &table.tenures {
        if tenure.owner == RouterId::NOBODY {
            unowned += 1;
        } else {
            *by_node.entry(tenure.owner.node()).or_default().entry(tenure.owner.core()).or_default() += 1;
        }
    }
    let nodes: Vec<Value> = table
        .nodes
        .iter()
        .map(|of| {
            let cores = by_node.remove(&of.id).unwrap_or_default();
            let slots_of_cores: Vec<u16> =
                (0..of.cores).map(|core| cores.get(&core).copied().unwrap_or(0)).collect();
            json!({
                "name": &*of.name,
                "number": of.id.0,
                "address": of.address.to_string(),
                "cores": of.cores,
                "slots": slots_of_cores.iter().map(|&slots| u32::from(slots)).sum::<u32>(),
                "slots_of_cores": slots_of_cores,
                "draining": of.draining,
            })
        })
        .collect();
    json!({ "epoch": table.epoch.0, "nodes": nodes, "unowned": unowned })
}

/// `POST /v1/cluster/drain`
pub(crate) async fn drain(
    identity: Identity,
    State(context): State<Arc<Context>>,
    body: Body,
) -> Result<Json<Value>, Failure> {
    admit(&context, &identity)?;
    let node = node_of(&body)?;
    carry_out(&context, Order::Drain { node }).await
}

/// `POST /v1/cluster/undrain`
pub(crate) async fn undrain(
    identity: Identity,
    State(context): State<Arc<Context>>,
    body: Body,
) -> Result<Json<Value>, Failure> {
    admit(&context, &identity)?;
    let node = node_of(&body)?;
    carry_out(&context, Order::Undrain { node }).await
}

/// `POST /v1/cluster/move`
pub(crate) async fn move_slot(
    identity: Identity,
    State(context): State<Arc<Context>>,
    body: Body,
) -> Result<Json<Value>, Failure> {
    admit(&context, &identity)?;
    let node = node_of(&body)?;
    let fields = body.fields()?;
    let slot = fields.number("slot", u64::from(SLOTS) - 1)?;
    let slot = slot.ok_or_else(|| Failure::bad_request("`slot` is missing"))?;
    let core = fields.number("core", u64::from(u16::MAX))?;
    let order = Order::Move { slot: Slot(slot as u16), node, core: core.map(|core| core as u16) };
    carry_out(&context, order).await
}

/// Who operates the server, and not a tenant of it.
fn admit(context: &Context, identity: &Identity) -> Result<(), Failure> {
    let may = match identity {
        Identity::Key(_) => true,
        Identity::Admin(user) => context.api_keys.are_none() && user.tenant == Tenant::default_tenant(),
        Identity::User(_) => false,
    };
    may.then_some(()).ok_or_else(|| Failure::new(ErrorCode::Forbidden, "for operators alone: use an API key"))
}

fn node_of(body: &Body) -> Result<String, Failure> {
    let node = body.fields()?.text("node")?.map(std::borrow::Cow::into_owned);
    node.ok_or_else(|| Failure::bad_request("`node` is missing: the name of a router node"))
}

async fn carry_out(context: &Context, order: Order) -> Result<Json<Value>, Failure> {
    let Some(answer) = (context.give_order)(order) else {
        return Err(Failure::new(
            ErrorCode::Unavailable,
            "no router node of a cluster runs here; ask the API of one",
        ));
    };
    match timeout(context.settings.call_timeout, answer).await {
        Ok(Ok(Ok(()))) => {
            let (_, table) = context.canary.table();
            Ok(Json(status_json(&table)))
        }
        Ok(Ok(Err(OrderError::Refused(why)))) => Err(Failure::new(ErrorCode::Conflict, why)),
        Ok(Ok(Err(OrderError::Unavailable(why)))) => Err(Failure::new(ErrorCode::Unavailable, why)),
        Ok(Err(_)) | Err(_) => Err(Failure::new(
            ErrorCode::Unavailable,
            "no answer in time; the state tells whether it was done",
        )),
    }
}

#[cfg(test)]
mod tests {
    use protocol::placement::{Epoch, RouterNode};

    use super::*;

    #[test]
    fn the_state_counts_every_slot_once() {
        let mut table = Table::empty();
        table.epoch = Epoch(9);
        table.nodes = vec![RouterNode {
            id: NodeId(3),
            name: "a".into(),
            address: "127.0.0.1:8802".parse().unwrap(),
            cores: 2,
            draining: false,
        }];
        for (slot, tenure) in table.tenures.iter_mut().enumerate().skip(96) {
            tenure.owner = RouterId::new(NodeId(3), (slot % 2) as u16);
        }
        let status = status_json(&table);
        assert_eq!((status["unowned"].as_u64(), status["epoch"].as_u64()), (Some(96), Some(9)));
        assert_eq!(status["nodes"][0]["slots"], 4_000);
        assert_eq!(status["nodes"][0]["slots_of_cores"], json!([2_000, 2_000]));
    }
}
