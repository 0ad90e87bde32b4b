//! The bare kernel on the same kind of sockets: the denominator of every ratio.
