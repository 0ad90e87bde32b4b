//! `serve`: the whole server.

use super::Failure;
use crate::config::Config;
use crate::serve;

pub(super) const HELP: &str = "\
Prints one line on stdout once it accepts connections: ready client=<address> api=<address>
SIGTERM or Ctrl-C drains and exits with 0, a second one exits at once; SIGHUP reads the key files again.

Examples:
  murmuring serve
  murmuring serve --config murmuring.toml --data /var/lib/murmuring
  murmuring serve --engine memory --listen 127.0.0.1:0 --api-listen 127.0.0.1:0";

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    serve::run(config).map_err(|error| {
        if error.is_configuration() { Failure::usage(error) } else { Failure::failed(error) }
    })
}
