//! Talkers: clients that send to their conversations at a pace, hear them, and hold everything against the ledger. What
//! `rooms`, `fanout`, `slow` and `durable` have in common; who they are and what they are ordered to do is the scenario's.

mod course;
mod message;
mod options;
mod population;
mod recent;
mod stage;
mod talker;

pub use self::course::{Course, Order, Pace, Reach, Tally};
pub use self::message::{BODY_BYTES_MIN, MessageIds, intended_ns, write_body};
pub use self::options::TalkOptions;
pub use self::population::Population;
pub use self::stage::{Ended, Measured, Stage, needs};
pub use self::talker::{Plan, SlowReaders, Talker};
