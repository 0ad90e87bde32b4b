//! The load generator: holds hundreds of thousands of client sockets in one process, puts a load on a server, and checks
//! what it hears. Speaks the protocol through code of its own; shares no line with the server for what it asserts.

pub mod chance;
pub mod command;
pub mod floor;
pub mod ledger;
pub mod options;
pub mod pages;
pub mod plot;
pub mod report;
pub mod scenario;
pub mod schedule;
pub mod server;
pub mod swarm;
pub mod talk;
pub mod token;
pub mod wire;
