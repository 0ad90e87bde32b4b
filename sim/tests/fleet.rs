//! The promise of docs/CAPACITY.md, of a small cluster: what links carry for a session and a message, and what follows when a
//! node is lost, added or drained, is what it says. `sim --fleet` runs a hundred nodes.

use sim::{FleetSettings, run_fleet};

const SMALL: FleetSettings = FleetSettings {
    seed: 1,
    gateway_nodes: 9,
    router_nodes: 3,
    gateway_cores: 2,
    router_cores: 2,
    clients: 300,
};

#[test]
fn a_fleet_does_what_capacity_says() {
    let report = run_fleet(SMALL, &mut |_| {}).unwrap_or_else(|reason| panic!("{reason}"));
    println!("{}", report.ledger);
    assert_eq!(report.ledger.broken(), Vec::<&str>::new());
    assert_eq!(report.ledger.value("clients"), Some(300.0));
    assert!(report.ledger.value("room of 10: messages").is_some_and(|messages| messages > 10.0));
}
