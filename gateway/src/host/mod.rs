//! What a host and a process must give for so many connections: numbers, each with its reason and its source. Changes
//! nothing. `murmuring plan` prints them, `murmuring check` compares them, `serve` goes by them.

pub mod capacity;
pub mod memory;
pub mod process;
pub mod reading;
pub mod setting;
