//! The swarm: the clients, a thread a ring, and the script that says what they do.
