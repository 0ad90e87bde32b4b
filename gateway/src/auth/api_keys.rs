//! API keys: the secrets of server-to-server calls, compared without telling by time how much of one was right.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// The configured API keys, as digests.
#[derive(Clone, Default)]
pub struct ApiKeys {
    digests: Vec<[u8; 32]>,
}

fn sha256(key: &str) -> [u8; 32] {
    digest(&SHA256, key.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl ApiKeys {
    /// The keys of a configuration; empty ones are left out, since nothing is a key.
    #[must_use]
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self { digests: keys.into_iter().filter(|key| !key.is_empty()).map(sha256).collect() }
    }

    /// True when `candidate` is one of the keys. Takes the same time for each wrong one.
    #[must_use]
    pub fn contains(&self, candidate: &str) -> bool {
        let candidate = sha256(candidate);
        self.digests.iter().fold(false, |found, key| found | verify_slices_are_equal(key, &candidate).is_ok())
    }
}

impl core::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ApiKeys({})", self.digests.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_configured_key_is_one() {
        let keys = ApiKeys::new(["alpha", "", "beta"]);
        assert!(keys.contains("alpha") && keys.contains("beta"));
        for wrong in ["", "alph", "alphaa", "Alpha", "gamma"] {
            assert!(!keys.contains(wrong), "{wrong}");
        }
        assert!(!ApiKeys::default().contains(""));
    }
}
