//! `rooms`: conversations of a size at a rate; ack and delivery latency.
