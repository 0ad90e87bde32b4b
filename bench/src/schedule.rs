//! The open loop: when each message is meant to be sent, whatever became of the ones before.
