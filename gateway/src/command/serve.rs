//! `serve`, `gateway` and `router`: a whole server, or its part of one.

use super::Failure;
use crate::config::Config;
use crate::serve::{self, Role};

pub(super) const HELP: &str = "\
Prints one line on stdout once it accepts connections: ready client=<address> api=<address>
SIGTERM or Ctrl-C drains and exits with 0, a second one exits at once; SIGHUP reads the key files again.
With --link-listen it is a router node of a cluster as well, and the line also has link=<address>.

Examples:
  murmuring serve
  murmuring serve --config murmuring.toml --data /var/lib/murmuring
  murmuring serve --engine memory --listen 127.0.0.1:0 --api-listen 127.0.0.1:0";

pub(super) const GATEWAY_HELP: &str = "\
Takes clients' connections and has no store: router nodes own conversations and users. Prints one line on stdout once it
has reached one: ready client=<address> api=<address>
SIGTERM drains: clients are told to go, and go on at any other gateway node with their ticket.

Examples:
  murmuring gateway --routers 127.0.0.1:8802
  murmuring gateway --config murmuring.toml --node gateway-3";

pub(super) const ROUTER_HELP: &str = "\
Owns conversations and users, for gateway nodes that link to it. One alone may have the embedded store; several share a
FoundationDB cluster. Prints one line on stdout once it owns its share: ready link=<address> api=<address>
SIGTERM hands its slots to the other router nodes first.

Examples:
  murmuring router --link-listen 127.0.0.1:8802
  murmuring router --config murmuring.toml --node router-2 --engine foundationdb";

pub(super) fn run(config: &Config, role: Role) -> Result<(), Failure> {
    serve::run(config, role).map_err(|error| {
        if error.is_configuration() { Failure::usage(error) } else { Failure::failed(error) }
    })
}
