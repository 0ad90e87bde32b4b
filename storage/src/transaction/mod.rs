//! Every store request as a pure state machine: it says what to read and what to commit, and is told what came of it.
//! The store thread, an asynchronous engine's driver and the simulator all drive the same ones.
//!
//! ```text
//! Transaction::begin(request) ──► Step::Read ──► resume(found) ──► Step::Commit ──► resume(committed) ──► Step::Done
//!                                   ▲   ▲ └──────────┘                 │
//!                                   │   └──── removals go on ──────────┤
//!                                   └── Conflict, TooOld, Behind, Busy, Unknown: begin again, at most ATTEMPTS_MAX times
//! ```
//!
//! No clock, no I/O, no engine here.

mod answers;
mod append;
mod beat;
mod claim;
mod commit;
mod conversations;
mod create;
mod fence;
mod load;
mod mark;
mod members;
mod membership;
mod page;
mod place;
mod remove;
mod seen;

use crate::damage::Damage;
use crate::kv::{EngineError, Found, Read, Write};
use crate::request::{Failure, Outcome, Request};

use answers::Answers;
use append::Append;
use beat::Beat;
use claim::Claim;
use conversations::Conversations;
use create::Create;
use load::Load;
use mark::Marks;
use members::Members;
use page::Page;
use place::Place;
pub use remove::Clears;
use remove::Remove;
use seen::{LastSeen, Seen};

/// How often a transaction begins before it gives up.
pub const ATTEMPTS_MAX: u32 = 16;

/// What a transaction wants next.
#[derive(Debug)]
pub enum Step {
    /// Read these, all at one version.
    Read(Vec<Read>),
    /// Commit these, unless a key that was read with `conflict` since the transaction last began was changed.
    Commit(Vec<Write>),
    /// It is over.
    Done(Outcome),
}

/// What came of a step.
#[derive(Debug)]
pub enum Reply {
    /// Of [`Step::Read`], in its order.
    Found(Vec<Found>),
    /// Of [`Step::Commit`]. What follows begins at a new version.
    Committed,
}

/// A request on its way.
#[derive(Debug)]
pub struct Transaction {
    work: Work,
    attempts: u32,
    /// A commit was answered with `Unknown` and nothing since has told what came of it.
    in_doubt: bool,
    /// One of several commits has happened: the request is done in part.
    in_part: bool,
    committing: bool,
}

/// The state machine of each request. Each has `begin` (forget the last attempt), `found`, and, where it commits, `committed`.
#[derive(Debug)]
enum Work {
    Append(Append),
    Create(Box<Create>),
    Load(Load),
    Page(Page),
    Members(Members),
    Conversations(Conversations),
    Mark(Marks),
    Seen(Seen),
    LastSeen(LastSeen),
    Remove(Remove),
    Claim(Claim),
    Beat(Beat),
    Place(Place),
}

impl Work {
    fn of(request: Request, clears: Clears) -> Self {
        match request {
            Request::Append(batch) => Self::Append(Append::new(batch)),
            Request::Create { epoch, conversation, members } => {
                Self::Create(Box::new(Create::new(epoch, conversation, &members, clears)))
            }
            Request::Load { conversation, users } => Self::Load(Load::new(conversation, users)),
            Request::Page { conversation, range, limit, bytes_max } => {
                Self::Page(Page::new(conversation, range, limit, bytes_max))
            }
            Request::Members { conversation, after, limit } => {
                Self::Members(Members::new(conversation, after, limit))
            }
            Request::Conversations { user, after, limit } => {
                Self::Conversations(Conversations::new(user, after, limit))
            }
            Request::Mark { marks } => Self::Mark(Marks::new(marks)),
            Request::Seen { seen } => Self::Seen(Seen::new(seen)),
            Request::LastSeen { user } => Self::LastSeen(LastSeen::new(user)),
            Request::Remove { epoch, conversation } => Self::Remove(Remove::new(epoch, conversation, clears)),
            Request::Claim { slots } => Self::Claim(Claim::new(slots)),
            Request::Beat { lease, known } => Self::Beat(Beat::new(lease, known)),
            Request::Place { base, table, holder, removed } => {
                Self::Place(Place::new(base, *table, holder, removed))
            }
        }
    }

    fn begin(&mut self) -> Step {
        match self {
            Self::Append(work) => work.begin(),
            Self::Create(work) => work.begin(),
            Self::Load(work) => work.begin(),
            Self::Page(work) => work.begin(),
            Self::Members(work) => work.begin(),
            Self::Conversations(work) => work.begin(),
            Self::Mark(work) => work.begin(),
            Self::Seen(work) => work.begin(),
            Self::LastSeen(work) => work.begin(),
            Self::Remove(work) => work.begin(),
            Self::Claim(work) => work.begin(),
            Self::Beat(work) => work.begin(),
            Self::Place(work) => work.begin(),
        }
    }

    /// The last commit may or may not have happened: what is found of it from now on is this request's own.
    fn doubt(&mut self) {
        match self {
            Self::Append(work) => work.doubt(),
            Self::Create(work) => work.doubt(),
            Self::Place(work) => work.doubt(),
            // The others may happen twice.
            _ => {}
        }
    }

    fn found(&mut self, answers: Answers) -> Result<Step, Damage> {
        match self {
            Self::Append(work) => work.found(answers),
            Self::Create(work) => work.found(answers),
            Self::Load(work) => work.found(answers),
            Self::Page(work) => work.found(answers),
            Self::Members(work) => work.found(answers),
            Self::Conversations(work) => work.found(answers),
            Self::Mark(work) => work.found(answers),
            Self::Seen(work) => work.found(answers),
            Self::LastSeen(work) => work.found(answers),
            Self::Remove(work) => work.found(answers),
            Self::Claim(work) => work.found(answers),
            Self::Beat(work) => work.found(answers),
            Self::Place(work) => work.found(answers),
        }
    }

    fn committed(&mut self) -> Step {
        match self {
            Self::Append(work) => work.committed(),
            Self::Create(work) => work.committed(),
            Self::Mark(work) => work.committed(),
            Self::Seen(work) => work.committed(),
            Self::Remove(work) => work.committed(),
            Self::Claim(work) => work.committed(),
            Self::Beat(work) => work.committed(),
            Self::Place(work) => work.committed(),
            Self::Load(_) | Self::Page(_) | Self::Members(_) | Self::Conversations(_) | Self::LastSeen(_) => {
                unreachable!("a request that only reads commits nothing")
            }
        }
    }
}

impl Transaction {
    /// Takes a request up, for an engine that clears ranges in pieces.
    #[must_use]
    pub fn begin(request: Request) -> (Self, Step) {
        Self::begin_for(request, Clears::Pieces)
    }

    /// Takes a request up, for an engine that clears ranges like this.
    #[must_use]
    pub fn begin_for(request: Request, clears: Clears) -> (Self, Step) {
        let mut transaction = Self {
            work: Work::of(request, clears),
            attempts: 1,
            in_doubt: false,
            in_part: false,
            committing: false,
        };
        let step = transaction.work.begin();
        let step = transaction.went_on(step);
        (transaction, step)
    }

    /// Goes on with what came of the last step. After [`Step::Done`] there is nothing to resume.
    pub fn resume(&mut self, result: Result<Reply, EngineError>) -> Step {
        let step = match result {
            Ok(Reply::Found(found)) => {
                assert!(!self.committing, "a commit is answered with Committed");
                self.work.found(Answers::new(found)).unwrap_or_else(|damage| self.failed(damage.into()))
            }
            Ok(Reply::Committed) => {
                assert!(self.committing, "a read is answered with Found");
                self.in_doubt = false;
                self.in_part = true;
                self.work.committed()
            }
            Err(error) => self.refused(error),
        };
        self.went_on(step)
    }

    /// True when a commit may have happened, and nothing since has told, or has happened and others are to follow:
    /// whoever gives up now must not say that nothing was done.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.in_doubt || self.in_part
    }

    fn went_on(&mut self, step: Step) -> Step {
        self.committing = matches!(step, Step::Commit(_));
        step
    }

    /// Begins again where that may help.
    fn refused(&mut self, error: EngineError) -> Step {
        if self.committing && matches!(error, EngineError::Unknown | EngineError::TimedOut) {
            self.in_doubt = true;
            self.work.doubt();
        }
        match error {
            EngineError::Conflict
            | EngineError::Unknown
            | EngineError::TooOld
            | EngineError::Behind
            | EngineError::Busy => {
                if self.attempts == ATTEMPTS_MAX {
                    return self.failed(Failure::Unavailable);
                }
                self.attempts += 1;
                self.work.begin()
            }
            EngineError::Unavailable | EngineError::TimedOut => self.failed(Failure::Unavailable),
            EngineError::TooLarge | EngineError::Refused(_) => {
                self.failed(Failure::Refused(error.to_string()))
            }
            EngineError::Poisoned(why) => self.failed(Failure::Poisoned(why)),
        }
    }

    fn failed(&self, failure: Failure) -> Step {
        Step::Done(Outcome::Failed(match failure {
            Failure::Unavailable | Failure::Refused(_) if self.is_in_doubt() => Failure::Unknown,
            other => other,
        }))
    }
}
