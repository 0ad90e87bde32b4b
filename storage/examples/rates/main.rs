//! What the store costs, measured without a gateway: `cargo run --release -p storage --example rates -- <what>`.
//!
//! CPU time a piece of work, bytes written and requests a sync are what to believe on a machine that does other things,
//! too; rates are only good beside others of the same run.

mod appends;
#[cfg(feature = "foundationdb")]
mod cluster;
mod meter;
mod populate;
mod reads;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

/// The server's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: rates <what> [name=number …]

  appends    the engine alone (256 puts a commit and a sync), then the same time for transactions in many conversations and in one
             rounds=3 ms=3000 conversations=100000 body=64 flight=16 batch=256
  paced      appends at a given rate: acknowledgement times beside those of bare syncs
             rate=20000 ms=5000 conversations=100000 body=64
  pages      pages at the head and deep in logs of 10^2 to 10^max events
             max=6 body=64 pages=2000
  lists      chat lists, roles, and creations
             users=100000 conversations=50000 ms=3000
  cluster    appends on FoundationDB beside a bare loop of the same transactions (with --features foundationdb)
             cluster=FILE rounds=3 ms=3000 conversations=10000 body=64 flight=16 batch=64
  open       the start of a store: keep=directory of an earlier `pages`

The data lies in a directory under $TMPDIR that is removed at the end; keep=1 keeps it and says where.";

/// The choices of the command line.
struct Choices(Vec<(String, String)>);

impl Choices {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.text(name).map_or(default, |value| value.parse().expect("a number behind the ="))
    }
}

/// Where the data lies while the program runs.
struct Place {
    path: PathBuf,
    kept: bool,
}

impl Place {
    fn new(choices: &Choices) -> Self {
        let path = std::env::temp_dir().join(format!("murmuring-rates-{}", std::process::id()));
        Self { path, kept: choices.text("keep").is_some() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.kept {
            println!("kept {}", self.path.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("{}: {error}", self.path.display());
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let choices = arguments.map(|argument| {
        let (name, value) = argument.split_once('=').expect("name=value");
        (name.to_owned(), value.to_owned())
    });
    let choices = Choices(choices.collect());
    let place = Place::new(&choices);
    match what.as_str() {
        "appends" => appends::compare(&place.path, &choices),
        "paced" => appends::paced(&place.path, &choices),
        "pages" => reads::pages(&place.path, &choices),
        "lists" => populate::lists(&place.path, &choices),
        #[cfg(feature = "foundationdb")]
        "cluster" => cluster::compare(&choices),
        "open" => return reads::open(&choices),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
