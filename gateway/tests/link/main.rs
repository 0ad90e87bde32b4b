//! The promises of a link between two nodes, one file each: two ends, bytes between them, and a clock that tests move.

mod flow;
mod garbage;
mod handshake;
mod pausing;
mod samples;
mod timing;
mod traffic;
mod wire;
mod words;
