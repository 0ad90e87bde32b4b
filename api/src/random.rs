//! Ids that nobody guesses and no earlier run has used, out of the kernel's generator: the cryptographic library's own takes 50 ms of CPU
//! before its first byte.

use getrandom::fill;
use protocol::id::{ClientId, ConversationId};

use crate::failure::Failure;

/// 26 letters and digits: 130 bits of which 128 are random (Crockford's alphabet in lower case, 5 bits each).
fn text() -> Result<String, Failure> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = [0; 16];
    fill(&mut bytes).map_err(|_| Failure::unexpected())?;
    let number = u128::from_le_bytes(bytes);
    Ok((0..26).map(|place| char::from(ALPHABET[(number >> (5 * place)) as usize % 32])).collect())
}

/// The id of a conversation whose creator named none.
pub(crate) fn conversation_id() -> Result<ConversationId, Failure> {
    ConversationId::parse(format!("c{}", text()?)).map_err(|_| Failure::unexpected())
}

/// The id of a change or a canary: nobody retries it by name.
pub(crate) fn client_id() -> Result<ClientId, Failure> {
    ClientId::parse(format!("api-{}", text()?)).map_err(|_| Failure::unexpected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_differ() {
        assert_ne!(conversation_id().unwrap(), conversation_id().unwrap());
        assert_eq!(conversation_id().unwrap().as_str().len(), 27);
    }
}
