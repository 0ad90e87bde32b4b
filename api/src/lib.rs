//! The HTTP API, health, metrics and OpenAPI (PROTOCOL, section 5), on a thread of its own.
//!
//! It asks the router shards through the same envelopes as a gateway shard does, as
//! [`GatewayId::API`](protocol::envelope::GatewayId::API), and is never on the path of a message between two sockets.

mod calls;
mod canary;
mod cluster;
mod connection;
mod context;
mod conversations;
mod failure;
mod fields;
mod health;
mod identity;
mod members;
mod messages;
pub mod metrics;
mod openapi;
mod port;
mod query;
mod random;
mod rate;
mod routes;
mod server;
mod settings;
mod users;

pub use cluster::{GiveOrder, Order, OrderError};
pub use identity::{Authenticate, Claims};
pub use port::{CurrentTable, Port, Push};
pub use server::{Handle, Server};
pub use settings::Settings;
