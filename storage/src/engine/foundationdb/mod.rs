//! The engine for clusters: FoundationDB through its client library. Transactions of any number of processes run side
//! by side; a commit is durable when it is answered.
//!
//! ```text
//!  store thread                    client library's network thread         cluster
//!  perform(request) ── asks ──────► one queue, one thread a process ──────► reads, commits
//!        ▲                                       │
//!        └──── a waker that costs a swap ◄───────┘
//! ```
//!
//! Nothing here blocks but what says so: the tools' part at the end. All keys lie behind the configured prefix. The
//! library needs `libfdb_c` of version 7.3 or newer, which is why this is a feature of its own.

mod error;
mod format;
mod network;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fmt, fs, io};

use foundationdb::options::DatabaseOption;
use foundationdb::{Database, FdbError, Transaction};
use futures::executor::block_on;

use crate::kv::{EngineError, Found, KEY_BYTES_MAX, Key, PREFIX_BYTES_MAX, Read, Write};
use crate::request::{Outcome, Request};
use crate::setback::Setbacks;
use crate::transaction::{ATTEMPTS_MAX, Clears, Reply, Step};

pub use format::FormatError;
use session::Session;

/// Longest key that FoundationDB takes, in bytes ("Known limitations").
const CLUSTER_KEY_BYTES_MAX: usize = 10_000;
const _: () =
    assert!(PREFIX_BYTES_MAX + KEY_BYTES_MAX <= CLUSTER_KEY_BYTES_MAX, "every key fits with its prefix");

/// How the engine is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The cluster file; `None`: the library's own choice (FDB_CLUSTER_FILE, ./fdb.cluster, /etc/foundationdb/fdb.cluster).
    pub cluster_file: Option<String>,
    /// In front of every key, so that several stores can share a cluster; at most [`PREFIX_BYTES_MAX`] bytes.
    pub prefix: Vec<u8>,
    /// Limits of each transaction.
    pub limits: Limits,
}

/// Limits of each transaction, kept by the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A transaction, its tries and pauses together, ends after so many milliseconds (error 1031).
    pub timeout_ms: u32,
    /// The longest pause before a transaction begins again, in milliseconds.
    pub pause_ms_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        // Five seconds are the cluster's own limit of a read version; a longer wait helps no sender.
        Self { timeout_ms: 5_000, pause_ms_max: 500 }
    }
}

/// A store that could not be set up: nothing was asked of the cluster yet.
#[derive(Debug)]
pub enum ConnectError {
    /// The library's network could not be started.
    Network(FdbError),
    /// The cluster file is missing or can't be read.
    File(String, io::Error),
    /// The library does not take the cluster file.
    Cluster(Option<String>, FdbError),
    /// The prefix is longer than [`PREFIX_BYTES_MAX`], in bytes.
    Prefix(usize),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(error) => write!(
                f,
                "the FoundationDB client library can't be used: {error}: this build needs libfdb_c 7.3 or newer"
            ),
            Self::File(file, error) => write!(f, "store.cluster_file: {file}: {error}"),
            Self::Cluster(Some(file), error) => write!(f, "store.cluster_file: {file}: {error}"),
            Self::Cluster(None, error) => write!(
                f,
                "no cluster file: {error}: store.cluster_file names one, or FDB_CLUSTER_FILE, or it is \
                 /etc/foundationdb/fdb.cluster"
            ),
            Self::Prefix(bytes) => {
                write!(f, "store.key_prefix has {bytes} bytes, and at most {PREFIX_BYTES_MAX}")
            }
        }
    }
}

impl std::error::Error for ConnectError {}

/// A store in a cluster. Clones share it.
#[derive(Clone)]
pub struct FoundationdbEngine {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    prefix: Vec<u8>,
    /// Answers of the cluster so far: a cluster that gives none is away.
    progress: AtomicU64,
    commits: AtomicU64,
    poisoned: AtomicBool,
}

impl fmt::Debug for FoundationdbEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoundationdbEngine").field("prefix", &self.shared.prefix).finish_non_exhaustive()
    }
}

impl FoundationdbEngine {
    /// Sets the library up. Asks nothing of the cluster: it may be away.
    ///
    /// # Errors
    /// [`ConnectError`]: the library, the cluster file or the prefix can't be used.
    pub fn connect(settings: &Settings) -> Result<Self, ConnectError> {
        if settings.prefix.len() > PREFIX_BYTES_MAX {
            return Err(ConnectError::Prefix(settings.prefix.len()));
        }
        if let Some(file) = &settings.cluster_file {
            // The library itself says this only when it is asked for something, and again and again.
            fs::File::open(file).map_err(|error| ConnectError::File(file.clone(), error))?;
        }
        network::start().map_err(ConnectError::Network)?;
        let database =
            open(settings).map_err(|error| ConnectError::Cluster(settings.cluster_file.clone(), error))?;
        let shared = Shared {
            database,
            prefix: settings.prefix.clone(),
            progress: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Runs a request from its beginning to its end. What it commits is durable when this is answered.
    ///
    /// `doubt` is true while a commit is under way, or was and nothing has told since what came of it: whoever gives the
    /// request up then must not say that nothing happened. Every try that failed is counted in `setbacks`.
    pub async fn perform(&self, request: Request, doubt: &AtomicBool, setbacks: &Setbacks) -> Outcome {
        let (mut transaction, mut step) = crate::transaction::Transaction::begin_for(request, Clears::Whole);
        let mut session = Session::new(self);
        loop {
            let result = match step {
                Step::Read(reads) => session.read(&reads).await.map(Reply::Found),
                Step::Commit(writes) => {
                    doubt.store(true, Ordering::Relaxed);
                    self.commit_in(&mut session, &writes).await
                }
                Step::Done(outcome) => return outcome,
            };
            if let Err(error) = &result {
                setbacks.count(error);
            }
            step = transaction.resume(result);
            doubt.store(transaction.is_in_doubt(), Ordering::Relaxed);
        }
    }

    async fn commit_in(&self, session: &mut Session<'_>, writes: &[Write]) -> Result<Reply, EngineError> {
        if self.shared.poisoned.load(Ordering::Relaxed) {
            return Err(EngineError::Poisoned("a fault of the store's own, earlier".to_owned()));
        }
        session.commit(writes).await?;
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        Ok(Reply::Committed)
    }

    /// Reads what has been committed, all at one version and in a transaction of its own.
    ///
    /// # Errors
    /// When the cluster does not answer within the limits.
    pub async fn read_once(&self, reads: &[Read]) -> Result<Vec<Found>, EngineError> {
        let mut session = Session::new(self);
        let mut attempts = 1;
        loop {
            match session.read(reads).await {
                Err(error) if error::is_worth_a_pause(&error) && attempts < ATTEMPTS_MAX => attempts += 1,
                result => return result,
            }
        }
    }

    /// Whether the cluster answers: reads one key, once.
    ///
    /// # Errors
    /// What it answered instead, or [`EngineError::TimedOut`].
    pub async fn probe(&self) -> Result<(), EngineError> {
        let reads = [Read::Get { key: format::KEY.to_vec(), conflict: false }];
        Session::new(self).read(&reads).await.map(|_| ())
    }

    /// Answers of the cluster so far: while this grows, it is there.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.shared.progress.load(Ordering::Relaxed)
    }

    /// Commits so far that are known to have happened.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// Takes no commits any more, after a fault of our own.
    pub fn poison(&self) {
        self.shared.poisoned.store(true, Ordering::Relaxed);
    }

    fn database(&self) -> &Database {
        &self.shared.database
    }

    fn made_progress(&self) {
        self.shared.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// A key as the cluster knows it.
    fn outside(&self, key: &[u8]) -> Vec<u8> {
        [&self.shared.prefix, key].concat()
    }

    /// A key of ours, from one that the cluster gave.
    fn inside(&self, key: &[u8]) -> Key {
        key[self.shared.prefix.len()..].to_vec()
    }

    fn write(&self, transaction: &Transaction, write: &Write) {
        match write {
            Write::Set(key, value) => transaction.set(&self.outside(key), value),
            Write::Clear(key) => transaction.clear(&self.outside(key)),
            Write::ClearRange(begin, end) => {
                // The library takes a range that ends before it begins for a fault of the program.
                if begin < end {
                    transaction.clear_range(&self.outside(begin), &self.outside(end));
                }
            }
        }
    }
}

/// The part for tools and tests: each call blocks its thread until it is done.
impl FoundationdbEngine {
    /// Runs a request from its beginning to its end.
    #[must_use]
    pub fn run(&self, request: Request) -> Outcome {
        block_on(self.perform(request, &AtomicBool::new(false), &Setbacks::default()))
    }

    /// Reads what has been committed, all at one version.
    ///
    /// # Errors
    /// When the cluster does not answer within the limits.
    pub fn read(&self, reads: &[Read]) -> Result<Vec<Found>, EngineError> {
        block_on(self.read_once(reads))
    }

    /// Commits all of `writes`, which depend on nothing that was read: made twice they come to the same.
    ///
    /// # Errors
    /// When the cluster does not take them within the limits: they may have been committed or not.
    pub fn commit(&self, writes: &[Write]) -> Result<(), EngineError> {
        block_on(async {
            let mut session = Session::new(self);
            let mut attempts = 1;
            loop {
                match self.commit_in(&mut session, writes).await {
                    Err(error) if error::is_worth_a_pause(&error) && attempts < ATTEMPTS_MAX => attempts += 1,
                    result => return result.map(|_| ()),
                }
            }
        })
    }
}

fn open(settings: &Settings) -> Result<Database, FdbError> {
    let database = Database::new(settings.cluster_file.as_deref())?;
    let limit = |milliseconds: u32| i32::try_from(milliseconds).unwrap_or(i32::MAX);
    database.set_option(DatabaseOption::TransactionTimeout(limit(settings.limits.timeout_ms)))?;
    database.set_option(DatabaseOption::TransactionMaxRetryDelay(limit(settings.limits.pause_ms_max)))?;
    database.set_option(DatabaseOption::TransactionRetryLimit(limit(ATTEMPTS_MAX)))?;
    Ok(database)
}
