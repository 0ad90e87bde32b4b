//! `config default` and `config check`.

use clap::Subcommand;

use super::{Configuration, Failure, print};
use crate::config::{default_text, warnings};
use crate::credentials;

const CHECK_HELP: &str = "\
Checks the file given with --config, the environment and the flags together, and the key files they name.
Names everything that is wrong and exits with 2; unwise choices are told, but pass.

Example:
  murmuring config check --config murmuring.toml";

/// Show the configuration, or check one.
#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Print the whole configuration with its defaults and a comment a key
    Default,
    /// Name every wrong or unknown key of the configuration
    #[command(after_help = CHECK_HELP)]
    Check,
}

impl Config {
    pub(super) fn run(&self, configuration: &Configuration) -> Result<(), Failure> {
        match self {
            Self::Default => print(&default_text()),
            Self::Check => check(configuration),
        }
    }
}

fn check(configuration: &Configuration) -> Result<(), Failure> {
    let config = configuration.load()?;
    credentials::check_files(&config.auth)?;
    for warning in warnings(&config) {
        eprintln!("murmuring: warning: {warning}");
    }
    print("the configuration is right\n")
}
