//! `cluster`: which router node owns what, and changes of that, through the HTTP API of a router node.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use protocol::id::Tenant;
use serde_json::{Value, json};

use super::http::{self, Answer};
use super::{Failure, print};
use crate::config::Config;

const HELP: &str = "\
Asks the HTTP API at --api-listen [listen.api], which must be a router node's for changes.

Examples:
  murmuring cluster status
  murmuring cluster drain router-2 && systemctl stop murmuring-router
  murmuring cluster move 17 router-1 --core 3";

/// How often the state is looked at while a node empties.
const LOOK: Duration = Duration::from_millis(200);

/// Show and change which router node owns what.
#[derive(Debug, Subcommand)]
pub(super) enum Cluster {
    /// Show the router nodes and how many slots each owns
    #[command(after_help = HELP)]
    Status(Status),
    /// Move all slots of a node to the others, and wait until it has none
    Drain(Node),
    /// Let slots come to a node again
    Undrain(Node),
    /// Move one slot
    Move(Move),
}

/// Show the router nodes.
#[derive(Args, Debug)]
pub(super) struct Status {
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// A router node.
#[derive(Args, Debug)]
pub(super) struct Node {
    /// Its name
    #[arg(value_name = "NODE")]
    node: String,
}

/// Move one slot.
#[derive(Args, Debug)]
pub(super) struct Move {
    /// Which, from 0 to 4095
    #[arg(value_name = "SLOT", value_parser = clap::value_parser!(u16).range(..i64::from(protocol::placement::SLOTS)))]
    slot: u16,
    /// Name of the node that gets it
    #[arg(value_name = "NODE")]
    node: String,
    /// A core of that node; without it, the one with the fewest slots
    #[arg(long, value_name = "NUMBER")]
    core: Option<u16>,
}

impl Cluster {
    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        match self {
            Self::Status(Status { json: true }) => print(&format!("{}\n", status(config)?)),
            Self::Status(Status { json: false }) => print(&table(&status(config)?)),
            Self::Drain(Node { node }) => drain(config, node),
            Self::Undrain(Node { node }) => {
                order(config, "undrain", &json!({ "node": node }))?;
                print(&format!("{node} may have slots again\n"))
            }
            Self::Move(Move { slot, node, core }) => {
                let mut request = json!({ "slot": slot, "node": node });
                if let Some(core) = core {
                    request["core"] = json!(core);
                }
                let epoch = order(config, "move", &request)?["epoch"].clone();
                print(&format!("slot {slot} is {node}'s since table {epoch}\n"))
            }
        }
    }
}

fn status(config: &Config) -> Result<Value, Failure> {
    accepted(http::get(config, &Tenant::default_tenant(), "/v1/cluster")?)
}

fn order(config: &Config, what: &str, request: &Value) -> Result<Value, Failure> {
    accepted(http::post(config, &Tenant::default_tenant(), &format!("/v1/cluster/{what}"), request)?)
}

fn accepted(answer: Answer) -> Result<Value, Failure> {
    if answer.status == 200 { Ok(answer.body) } else { Err(Failure::failed(answer.refusal())) }
}

fn drain(config: &Config, node: &str) -> Result<(), Failure> {
    let mut state = order(config, "drain", &json!({ "node": node }))?;
    loop {
        let nodes = state["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let left = nodes.iter().find(|of| of["name"] == node).and_then(|of| of["slots"].as_u64());
        match left {
            Some(left) if left > 0 => thread::sleep(LOOK),
            Some(_) => return print(&format!("{node} has no slots any more\n")),
            None => return print(&format!("{node} is gone\n")),
        }
        state = status(config)?;
    }
}

/// For people.
fn table(state: &Value) -> String {
    let mut text = format!("table {}\n", state["epoch"]);
    let nodes = state["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    // Writing into a string can't fail.
    let _ = writeln!(text, "{:<24} {:>6} {:<24} {:>5} {:>6}", "node", "number", "address", "cores", "slots");
    for node in nodes {
        let word = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
        let draining = if node["draining"] == true { "  draining" } else { "" };
        let _ = writeln!(
            text,
            "{:<24} {:>6} {:<24} {:>5} {:>6}{draining}",
            word("name"),
            node["number"],
            word("address"),
            node["cores"],
            node["slots"],
        );
    }
    if state["unowned"] != 0 {
        let _ = writeln!(text, "{} slots have no owner", state["unowned"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_a_node() {
        let node = |name: &str, slots: u16, draining: bool| json!({ "name": name, "number": 1, "address": "127.0.0.1:1", "cores": 2, "slots": slots, "draining": draining });
        let state =
            json!({ "epoch": 7, "nodes": [node("a", 4000, false), node("b", 90, true)], "unowned": 6 });
        let text = table(&state);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[2].starts_with("a ") && lines[2].ends_with("4000"), "{text}");
        assert!(lines[3].ends_with("90  draining") && lines[4] == "6 slots have no owner", "{text}");
    }
}
