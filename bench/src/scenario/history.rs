//! `history`: pages at the head and deep in logs of many sizes.
