//! The client protocol as a client reads and writes it, independent of the server's code: framing, upgrade, frames.
