//! Proofs: that an end knows the cluster's secret, by HMAC-SHA-256 (RFC 2104) of what both ends have said.

use aws_lc_rs::hmac;
use protocol::link::MAC_BYTES;

use super::Nonce;

/// Shortest secret of a cluster, in bytes.
pub const SECRET_BYTES_MIN: usize = 32;

/// Keeps the domain of these codes apart from whatever else the same secret is used for.
const DOMAIN: &[u8] = b"murmuring link 1";

/// A secret has fewer than [`SECRET_BYTES_MIN`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortSecret;

/// What the nodes of a cluster know, and nobody else.
#[derive(Clone)]
pub struct ClusterKey {
    key: hmac::Key,
}

impl core::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClusterKey")
    }
}

/// Whose proof: part of what it is over, so that an end's own proof that comes back to it proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prover {
    Dialler,
    Acceptor,
}

/// What a proof is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statement<'a> {
    pub(super) prover: Prover,
    pub(super) dialler_nonce: &'a Nonce,
    pub(super) acceptor_nonce: &'a Nonce,
    /// As they were sent: the dialler's, and in the acceptor's proof its own behind it.
    pub(super) greetings: [&'a [u8]; 2],
}

impl ClusterKey {
    /// The key of a secret.
    ///
    /// # Errors
    /// [`ShortSecret`].
    pub fn new(secret: &[u8]) -> Result<Self, ShortSecret> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(ShortSecret);
        }
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, DOMAIN).as_ref()) })
    }

    pub(super) fn prove(&self, statement: &Statement<'_>) -> [u8; MAC_BYTES] {
        let tag = hmac::sign(&self.key, &statement.bytes());
        *tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
    }

    /// In a time that does not hang on how much of the code is right.
    pub(super) fn holds(&self, statement: &Statement<'_>, mac: &[u8; MAC_BYTES]) -> bool {
        hmac::verify(&self.key, &statement.bytes(), mac).is_ok()
    }
}

impl Statement<'_> {
    /// No two statements have the same bytes: everything is of a fixed length or behind its length.
    fn bytes(&self) -> Vec<u8> {
        let prover: &[u8] = match self.prover {
            Prover::Dialler => b"dialler ",
            Prover::Acceptor => b"acceptor",
        };
        let mut bytes = [prover, self.dialler_nonce, self.acceptor_nonce].concat();
        for greeting in self.greetings {
            bytes.extend_from_slice(&(greeting.len() as u32).to_le_bytes());
            bytes.extend_from_slice(greeting);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"a secret of a cluster, 32 bytes and more";

    #[test]
    fn a_proof_is_of_one_secret_and_one_statement() {
        let key = ClusterKey::new(SECRET).unwrap();
        let (dialler, acceptor, other) = (Nonce::default(), [1; 32], [2; 32]);
        let statement = Statement {
            prover: Prover::Dialler,
            dialler_nonce: &dialler,
            acceptor_nonce: &acceptor,
            greetings: [b"ab", b"c"],
        };
        let mac = key.prove(&statement);
        assert!(key.holds(&statement, &mac));
        assert!(
            !ClusterKey::new(b"another secret of one, as long as that is").unwrap().holds(&statement, &mac)
        );
        let others = [
            Statement { prover: Prover::Acceptor, ..statement },
            Statement { dialler_nonce: &other, ..statement },
            Statement { acceptor_nonce: &other, ..statement },
            Statement { dialler_nonce: &acceptor, acceptor_nonce: &dialler, ..statement },
            Statement { greetings: [b"a", b"bc"], ..statement },
            Statement { greetings: [b"abc", b""], ..statement },
        ];
        for (number, other) in others.iter().enumerate() {
            assert!(!key.holds(other, &mac), "statement {number}");
        }
    }

    #[test]
    fn a_secret_has_at_least_32_bytes_and_any_length_beyond() {
        assert!(ClusterKey::new(&[7; SECRET_BYTES_MIN - 1]).is_err());
        assert!(ClusterKey::new(&[7; SECRET_BYTES_MIN]).is_ok());
        assert!(ClusterKey::new(&[7; 10_000]).is_ok());
    }
}
