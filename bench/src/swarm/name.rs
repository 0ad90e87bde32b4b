//! Names: which user and device a client is. Of one length for all, so that tickets are, too.

/// The device of every client.
pub const DEVICE: &str = "bench";

/// The user that client `number` is, and nobody else.
#[must_use]
pub fn user(number: u32) -> String {
    format!("u{number:08}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_of_one_length() {
        assert_eq!(super::user(0), "u00000000");
        assert_eq!(super::user(12_345_678).len(), super::user(0).len());
    }
}
