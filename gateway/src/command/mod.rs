//! The command line: what each command takes, and exit codes (0 done, 1 failed, 2 wrong usage or configuration). What
//! a command does stands in a file of its name.

mod check;
mod cluster;
mod config;
mod conversation;
mod event_line;
mod http;
mod migrate;
mod plan;
mod send;
mod serve;
mod socket;
mod stores;
mod tail;
mod token;
mod verify;

use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Problems, Sources, load};
use crate::credentials::CredentialsError;
use crate::serve::Role;

const EXAMPLES: &str = "\
Examples:
  murmuring serve                                  on loopback, data in ./data
  murmuring conversation create general --members alice,bob
  murmuring tail --user bob                        in a second terminal
  murmuring send --user alice general 'hello'

Every command reads the same configuration: --config FILE, then MURMURING_<SECTION>_<KEY>
in the environment, then flags. `murmuring config default` shows it all.
Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.";

/// A chat and real-time messaging server: ordered, durable conversations over WebSocket.
#[derive(Debug, Parser)]
#[command(name = "murmuring", version, after_help = EXAMPLES, max_term_width = 100)]
struct CommandLine {
    #[command(flatten)]
    configuration: Configuration,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Configuration")]
struct Configuration {
    /// Read this TOML file first
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory [store.path]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    data: Option<String>,
    /// Address of WebSocket connections [listen.client]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address of the HTTP API, health and metrics [listen.api]
    #[arg(long, global = true, value_name = "ADDRESS")]
    api_listen: Option<String>,
    /// Number of shards; 0: one a CPU [core.shards]
    #[arg(long, global = true, value_name = "NUMBER")]
    shards: Option<String>,
    /// memory, embedded or foundationdb [store.engine]
    #[arg(long, global = true, value_name = "ENGINE")]
    engine: Option<String>,
    /// FoundationDB's cluster file [store.cluster_file]
    #[arg(long, global = true, value_name = "FILE")]
    cluster_file: Option<String>,
    /// This node's name in its cluster [cluster.node]
    #[arg(long, global = true, value_name = "NAME")]
    node: Option<String>,
    /// Address of other nodes' links, on a router node [cluster.listen]
    #[arg(long, global = true, value_name = "ADDRESS")]
    link_listen: Option<String>,
    /// Router nodes that a gateway node asks first, separated by commas [cluster.routers]
    #[arg(long, global = true, value_name = "ADDRESSES")]
    routers: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole server in this process
    #[command(after_help = serve::HELP)]
    Serve,
    /// Run the gateway role of a cluster: clients' connections, and links to router nodes
    #[command(after_help = serve::GATEWAY_HELP)]
    Gateway,
    /// Run the router role of a cluster: conversations and users, their store, and links of other nodes
    #[command(after_help = serve::ROUTER_HELP)]
    Router,
    /// Show and change which router node owns what
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Show the configuration, or check one
    #[command(subcommand)]
    Config(config::Config),
    /// Print a signed token
    #[command(after_help = token::HELP)]
    Token(token::Token),
    /// Manage conversations through the HTTP API
    #[command(subcommand)]
    Conversation(conversation::Conversation),
    /// Send a message
    #[command(after_help = send::HELP)]
    Send(send::Send),
    /// Watch conversations live
    #[command(after_help = tail::HELP)]
    Tail(tail::Tail),
    /// Prove that the store is whole
    #[command(after_help = verify::HELP)]
    Verify,
    /// Copy the whole store from one engine into another
    #[command(after_help = migrate::HELP)]
    Migrate(migrate::Migrate),
    /// Compare this host with what the configuration needs
    #[command(after_help = check::HELP)]
    Check(check::Check),
    /// Work out what a number of connections, or of users, needs
    #[command(after_help = plan::HELP)]
    Plan(plan::Plan),
}

/// Why a command ends with another code than 0.
#[derive(Debug)]
enum Failure {
    /// Exit code 1: the world is not as the command needs it.
    Failed(Box<dyn core::error::Error>),
    /// Exit code 2: the command or the configuration is wrong.
    Usage(Box<dyn core::error::Error>),
    /// Exit code 1; everything was said already.
    Told,
}

impl Failure {
    fn failed(error: impl Into<Box<dyn core::error::Error>>) -> Self {
        Self::Failed(error.into())
    }

    fn usage(error: impl Into<Box<dyn core::error::Error>>) -> Self {
        Self::Usage(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) | Self::Usage(error) => error.fmt(f),
            Self::Told => f.write_str("see above"),
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::usage(problems)
    }
}

impl From<CredentialsError> for Failure {
    fn from(error: CredentialsError) -> Self {
        if error.is_configuration() { Self::usage(error) } else { Self::failed(error) }
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let CommandLine { configuration, command } = CommandLine::parse();
    match run(&configuration, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Failed(error) => {
            eprintln!("murmuring: {error}");
            ExitCode::from(1)
        }
        Failure::Usage(error) => {
            eprintln!("murmuring: {error}");
            ExitCode::from(2)
        }
        Failure::Told => ExitCode::from(1),
    }
}

fn run(configuration: &Configuration, command: Command) -> Result<(), Failure> {
    match command {
        Command::Config(config) => config.run(configuration),
        Command::Serve => serve::run(&configuration.load()?, Role::Both),
        Command::Gateway => serve::run(&configuration.load()?, Role::Gateway),
        Command::Router => serve::run(&configuration.load()?, Role::Router),
        Command::Cluster(cluster) => cluster.run(&configuration.load()?),
        Command::Token(token) => token.run(&configuration.load()?),
        Command::Conversation(conversation) => conversation.run(&configuration.load()?),
        Command::Send(send) => send.run(&configuration.load()?),
        Command::Tail(tail) => tail.run(&configuration.load()?),
        Command::Verify => verify::run(&configuration.load()?),
        Command::Migrate(migrate) => migrate.run(&configuration.load()?),
        Command::Check(check) => check.run(&configuration.load()?),
        Command::Plan(plan) => plan.run(&configuration.load()?),
    }
}

impl Configuration {
    fn sources(&self) -> Sources {
        let flags = [
            ("--listen", "listen.client", &self.listen),
            ("--api-listen", "listen.api", &self.api_listen),
            ("--data", "store.path", &self.data),
            ("--shards", "core.shards", &self.shards),
            ("--engine", "store.engine", &self.engine),
            ("--cluster-file", "store.cluster_file", &self.cluster_file),
            ("--node", "cluster.node", &self.node),
            ("--link-listen", "cluster.listen", &self.link_listen),
            ("--routers", "cluster.routers", &self.routers),
        ];
        let given = |(flag, key, value): (_, _, &Option<String>)| Some((flag, key, value.clone()?));
        Sources {
            file: self.config.clone(),
            environment: std::env::vars_os().collect(),
            flags: flags.into_iter().filter_map(given).collect(),
        }
    }

    fn load(&self) -> Result<Config, Problems> {
        load(&self.sources())
    }
}

/// Prints to stdout; a reader that left early (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Failure::failed),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn configuration_flags_work_before_and_after_the_command() {
        for line in [["murmuring", "--data", "d", "serve"], ["murmuring", "serve", "--data", "d"]] {
            let parsed = CommandLine::try_parse_from(line).unwrap();
            assert_eq!(parsed.configuration.data.as_deref(), Some("d"));
        }
    }

    #[test]
    fn every_flag_of_the_configuration_names_a_key_that_takes_it() {
        let line = "murmuring serve --data d --listen 127.0.0.1:1 --api-listen 127.0.0.1:2 --shards 3 --engine memory --cluster-file f --node n --link-listen 127.0.0.1:3 --routers 127.0.0.1:4,h:5";
        let parsed = CommandLine::try_parse_from(line.split(' ')).unwrap();
        let sources = Sources { environment: Vec::new(), ..parsed.configuration.sources() };
        assert_eq!(sources.flags.len(), 9);
        let config = load(&sources).unwrap();
        assert_eq!((config.store.path.as_str(), config.core.shards), ("d", 3));
        assert_eq!(config.store.cluster_file, "f");
        assert_eq!((config.cluster.node.as_str(), config.cluster.listen.unwrap().port()), ("n", 3));
        assert_eq!(config.cluster.routers, ["127.0.0.1:4", "h:5"]);
        assert_eq!((config.listen.client.port(), config.listen.api.port()), (1, 2));
    }
}
