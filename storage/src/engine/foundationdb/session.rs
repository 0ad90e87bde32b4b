//! One request's transactions in the cluster: a transaction of the library at a time, with its limits, from its first
//! read to its commit, and again after an error that is worth it.

use foundationdb::future::FdbValues;
use foundationdb::options::{StreamingMode, TransactionOption};
use foundationdb::{FdbError, FdbResult, RangeOption, Transaction};

use super::FoundationdbEngine;
use super::error::{During, engine_error, is_worth_a_pause};
use crate::kv::{EngineError, Found, Key, Read, Value, Write};

/// Reads at one version until a commit or an error, then at a newer one.
pub(super) struct Session<'a> {
    engine: &'a FoundationdbEngine,
    /// Begun, with its options.
    transaction: Option<Transaction>,
    /// Why nothing of this session can go on: its limits of time and tries are used up.
    over: Option<EngineError>,
}

impl<'a> Session<'a> {
    pub(super) const fn new(engine: &'a FoundationdbEngine) -> Self {
        Self { engine, transaction: None, over: None }
    }

    /// The transaction under way, or a new one.
    fn take(&mut self) -> Result<Transaction, EngineError> {
        if let Some(over) = &self.over {
            return Err(over.clone());
        }
        match self.transaction.take() {
            Some(transaction) => Ok(transaction),
            None => begin(self.engine).map_err(|error| engine_error(error, During::Read)),
        }
    }

    /// Reads all of these, at one version with what was read before.
    ///
    /// # Errors
    /// What the cluster answered first that was no answer; after it the session has begun anew, where that is worth it.
    pub(super) async fn read(&mut self, reads: &[Read]) -> Result<Vec<Found>, EngineError> {
        let transaction = self.take()?;
        match read_all(self.engine, &transaction, reads).await {
            Ok(found) => {
                self.transaction = Some(transaction);
                Ok(found)
            }
            Err(error) => {
                let meaning = self.heard(engine_error(error, During::Read));
                if is_worth_a_pause(&meaning) {
                    self.begin_again(transaction.on_error(error).await);
                }
                Err(meaning)
            }
        }
    }

    /// An error is an answer, too, unless it says that there was none.
    fn heard(&self, error: EngineError) -> EngineError {
        if error != EngineError::TimedOut {
            self.engine.made_progress();
        }
        error
    }

    /// Commits all of `writes` or nothing, unless what was read with `conflict` was changed.
    ///
    /// # Errors
    /// As [`Session::read`]. After [`EngineError::TimedOut`], and after an [`EngineError::Unknown`] that is none of the
    /// library's 1021, the commit may still be under way.
    pub(super) async fn commit(&mut self, writes: &[Write]) -> Result<(), EngineError> {
        let transaction = self.take()?;
        for write in writes {
            self.engine.write(&transaction, write);
        }
        let failed = match transaction.commit().await {
            Ok(_) => {
                self.engine.made_progress();
                return Ok(());
            }
            Err(failed) => failed,
        };
        let meaning = self.heard(engine_error(*failed, During::Commit));
        if is_worth_a_pause(&meaning) {
            self.begin_again(failed.on_error().await);
        }
        Err(meaning)
    }

    /// Keeps what the library made of a failed transaction: the same anew, under the same limits, or their end.
    fn begin_again(&mut self, paused: Result<Transaction, FdbError>) {
        let begun = paused.and_then(configure);
        match begun {
            Ok(transaction) => self.transaction = Some(transaction),
            Err(error) => {
                let meaning = engine_error(error, During::Read);
                // The library gives the error itself back when it has been tried often enough.
                let over = if is_worth_a_pause(&meaning) { EngineError::Unavailable } else { meaning };
                self.over = Some(over);
            }
        }
    }
}

fn begin(engine: &FoundationdbEngine) -> Result<Transaction, FdbError> {
    configure(engine.database().create_trx()?)
}

/// No transaction of ours reads what it has written, so the library need not look for that. The option ends with each
/// reset; the limits of time and tries are the database's and stay.
fn configure(transaction: Transaction) -> Result<Transaction, FdbError> {
    transaction.set_option(TransactionOption::ReadYourWritesDisable)?;
    Ok(transaction)
}

/// Asks for everything, then waits for everything: one round trip, as long as no range comes in pieces.
async fn read_all(
    engine: &FoundationdbEngine,
    transaction: &Transaction,
    reads: &[Read],
) -> Result<Vec<Found>, FdbError> {
    let mut values = Vec::with_capacity(reads.len());
    let mut ranges = Vec::new();
    for read in reads {
        match read {
            Read::Get { key, conflict } => values.push(transaction.get(&engine.outside(key), !conflict)),
            Read::Range { .. } => ranges.push(Pieces::begin(engine, read).map(|pieces| {
                let first = pieces.ask(transaction);
                (pieces, first)
            })),
        }
    }
    let mut found = Vec::with_capacity(reads.len());
    // The last first: answers come in order, as a rule, so all the others are there with it, and the library's thread
    // wakes this one once.
    for read in reads.iter().rev() {
        found.push(match read {
            Read::Get { .. } => {
                let value = values.pop().expect("each get was asked for").await?;
                Found::Value(value.map(|value| value.to_vec()))
            }
            Read::Range { .. } => match ranges.pop().expect("each range was asked for") {
                Some((pieces, first)) => pieces.read(engine, transaction, first).await?,
                None => Found::Pairs { pairs: Vec::new(), more: false },
            },
        });
    }
    engine.made_progress();
    found.reverse();
    Ok(found)
}

/// A range while it is read, piece by piece, up to its bounds and one pair more: that one says whether there are more.
struct Pieces {
    option: RangeOption<'static>,
    pairs: Vec<(Key, Value)>,
    bytes: usize,
    limit: usize,
    bytes_max: usize,
}

impl Pieces {
    /// `None` for a range without a key.
    fn begin(engine: &FoundationdbEngine, read: &Read) -> Option<Self> {
        let Read::Range { begin, end, limit, bytes_max, reverse } = read else {
            unreachable!("the caller looked");
        };
        assert!(*limit > 0, "a range asks for at least one pair");
        if begin >= end {
            return None;
        }
        let option = RangeOption {
            limit: Some(limit.saturating_add(1)),
            mode: StreamingMode::WantAll,
            reverse: *reverse,
            ..RangeOption::from((engine.outside(begin), engine.outside(end)))
        };
        let (pairs, bytes) = (Vec::new(), 0);
        Some(Self { option, pairs, bytes, limit: *limit, bytes_max: *bytes_max }.bounded())
    }

    /// The library ends a piece after some 100 KB by itself. One that ends at our bound of bytes is followed by one with a
    /// single pair, or none.
    fn bounded(mut self) -> Self {
        self.option.target_bytes = self.bytes_max.saturating_sub(self.bytes).clamp(1, i32::MAX as usize);
        self
    }

    fn ask(&self, transaction: &Transaction) -> impl Future<Output = FdbResult<FdbValues>> + use<> {
        transaction.get_range(&self.option, 1, true)
    }

    /// Takes a piece; false when a bound ended the range before its last pair.
    fn take(&mut self, engine: &FoundationdbEngine, piece: &FdbValues) -> bool {
        for pair in piece {
            if self.pairs.len() == self.limit || (self.bytes >= self.bytes_max && !self.pairs.is_empty()) {
                return false;
            }
            let key = engine.inside(pair.key());
            self.bytes += key.len() + pair.value().len();
            self.pairs.push((key, pair.value().to_vec()));
        }
        true
    }

    async fn read(
        mut self,
        engine: &FoundationdbEngine,
        transaction: &Transaction,
        first: impl Future<Output = FdbResult<FdbValues>>,
    ) -> FdbResult<Found> {
        let mut piece = first.await?;
        loop {
            engine.made_progress();
            if !self.take(engine, &piece) {
                return Ok(Found::Pairs { pairs: self.pairs, more: true });
            }
            let Some(next) = self.option.clone().next_range(&piece) else {
                return Ok(Found::Pairs { pairs: self.pairs, more: false });
            };
            self.option = next;
            self = self.bounded();
            piece = self.ask(transaction).await?;
        }
    }
}
