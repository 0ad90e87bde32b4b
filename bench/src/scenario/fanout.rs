//! `fanout`: one large conversation; time from a send to its last delivery.
