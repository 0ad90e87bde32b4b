//! Logs of many sizes, and clients that read pages of them: what `history` measures. Logs are made through the product
//! itself, and stay in the server's data directory for the next run.

mod cell;
mod filler;
mod logs;
mod pager;

pub use self::cell::{Ask, Cell, Point};
pub use self::filler::{Fill, Filler};
pub use self::logs::{Log, logs};
pub use self::pager::{Pager, Reading};
