//! Resume tickets: a session's identity under our own MAC, so that a storm of reconnects costs no signatures and no store.
//!
//! ```text
//! base64url, no padding, of
//! version 1 · flags 1 (bit 0: admin) · ticket_expires_ms 8 · token_expires_ms 8 · 3 × (length 1, bytes): tenant, user, device · MAC 32
//! ```
//! Numbers are little-endian; the MAC is HMAC-SHA-256 (RFC 2104) of all bytes before it.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::id::{DeviceId, Tenant, UserId};
use protocol::limits::ID_BYTES_MAX;

use super::{AuthError, Identity};

const VERSION: u8 = 1;
const FLAG_ADMIN: u8 = 1;
const MAC_BYTES: usize = 32;
const HEAD_BYTES: usize = 2 + 8 + 8;
const PLAIN_BYTES_MAX: usize = HEAD_BYTES + 3 * (1 + ID_BYTES_MAX) + MAC_BYTES;

/// Longest ticket, in bytes of its text.
pub const TICKET_BYTES_MAX: usize = PLAIN_BYTES_MAX.div_ceil(3) * 4;

/// Keeps the domain of this MAC apart from whatever else the same secret is used for.
const DOMAIN: &[u8] = b"murmuring resume ticket 1";

/// A ticket's text, inline: making one allocates nothing.
#[derive(Clone, Copy)]
pub struct Ticket {
    length: usize,
    text: [u8; TICKET_BYTES_MAX],
}

impl Ticket {
    /// The text, for `welcome.resume`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.text[..self.length]).expect("base64 is ASCII")
    }
}

pub(super) struct TicketKey {
    key: hmac::Key,
}

impl TicketKey {
    pub(super) fn new(secret: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, DOMAIN).as_ref()) }
    }

    pub(super) fn issue(&self, identity: &Identity, device: &DeviceId, ticket_expires_ms: u64) -> Ticket {
        let mut plain = [0; PLAIN_BYTES_MAX];
        let mut length = 0;
        let mut put = |bytes: &[u8]| {
            plain[length..length + bytes.len()].copy_from_slice(bytes);
            length += bytes.len();
        };
        put(&[VERSION, if identity.admin { FLAG_ADMIN } else { 0 }]);
        put(&ticket_expires_ms.min(identity.expires_ms).to_le_bytes());
        put(&identity.expires_ms.to_le_bytes());
        for id in [identity.tenant.as_str(), identity.user.as_str(), device.as_str()] {
            put(&[id.len() as u8]);
            put(id.as_bytes());
        }
        let signed = length;
        let mac = hmac::sign(&self.key, &plain[..signed]);
        plain[signed..signed + MAC_BYTES].copy_from_slice(mac.as_ref());
        let mut ticket = Ticket { length: 0, text: [0; TICKET_BYTES_MAX] };
        ticket.length = URL_SAFE_NO_PAD
            .encode_slice(&plain[..signed + MAC_BYTES], &mut ticket.text)
            .expect("the text has room for the longest ticket");
        ticket
    }

    pub(super) fn verify(
        &self,
        ticket: &str,
        device: &DeviceId,
        unix_ms: u64,
    ) -> Result<Identity, AuthError> {
        let mut buffer = [0; PLAIN_BYTES_MAX + 2];
        let length = URL_SAFE_NO_PAD.decode_slice(ticket, &mut buffer).map_err(|_| AuthError::Malformed)?;
        let signed = length.checked_sub(MAC_BYTES).ok_or(AuthError::Malformed)?;
        let (plain, mac) = buffer[..length].split_at(signed);
        hmac::verify(&self.key, plain, mac).map_err(|_| AuthError::Signature)?;
        let contents = read(plain).ok_or(AuthError::Malformed)?;
        if unix_ms >= contents.ticket_expires_ms {
            return Err(AuthError::Expired);
        }
        if contents.device != *device {
            return Err(AuthError::Device);
        }
        Ok(contents.identity)
    }
}

struct Contents {
    ticket_expires_ms: u64,
    identity: Identity,
    device: DeviceId,
}

fn read(plain: &[u8]) -> Option<Contents> {
    let (head, mut ids) = plain.split_at_checked(HEAD_BYTES)?;
    if head[0] != VERSION {
        return None;
    }
    let number = |at: usize| Some(u64::from_le_bytes(head[at..at + 8].try_into().ok()?));
    let mut id = || {
        let (&length, rest) = ids.split_first()?;
        let (id, rest) = rest.split_at_checked(usize::from(length))?;
        ids = rest;
        Some(id)
    };
    let tenant = Tenant::parse(id()?).ok()?;
    let user = UserId::parse(id()?).ok()?;
    let device = DeviceId::parse(id()?).ok()?;
    let admin = head[1] & FLAG_ADMIN != 0;
    let identity = Identity { tenant, user, admin, expires_ms: number(10)? };
    Some(Contents { ticket_expires_ms: number(2)?, identity, device })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            tenant: Tenant::parse("t".repeat(64)).unwrap(),
            user: UserId::parse("u".repeat(64)).unwrap(),
            admin: true,
            expires_ms: 10_000,
        }
    }

    #[test]
    fn a_ticket_names_its_session_until_it_or_its_token_ends() {
        let key = TicketKey::new(b"a secret of the whole cluster");
        let device = DeviceId::parse("d".repeat(64)).unwrap();
        for (ticket_expires_ms, ends_ms) in [(5_000, 5_000), (20_000, 10_000)] {
            let ticket = key.issue(&identity(), &device, ticket_expires_ms);
            assert!(ticket.as_str().len() <= TICKET_BYTES_MAX);
            assert_eq!(key.verify(ticket.as_str(), &device, ends_ms - 1), Ok(identity()));
            assert_eq!(key.verify(ticket.as_str(), &device, ends_ms), Err(AuthError::Expired));
        }
    }

    #[test]
    fn a_ticket_is_of_one_device_and_one_secret() {
        let key = TicketKey::new(b"a secret of the whole cluster");
        let device = DeviceId::parse("d").unwrap();
        let ticket = key.issue(&identity(), &device, 5_000);
        let other = DeviceId::parse("e").unwrap();
        assert_eq!(key.verify(ticket.as_str(), &other, 0), Err(AuthError::Device));
        let stranger = TicketKey::new(b"another secret");
        assert_eq!(stranger.verify(ticket.as_str(), &device, 0), Err(AuthError::Signature));
    }

    #[test]
    fn no_changed_ticket_is_taken() {
        let key = TicketKey::new(b"a secret of the whole cluster");
        let device = DeviceId::parse("d").unwrap();
        let ticket = key.issue(&identity(), &device, 5_000);
        let text = ticket.as_str();
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(key.verify(&changed, &device, 0).is_err(), "byte {at}");
            assert!(key.verify(&text[..at], &device, 0).is_err(), "cut at {at}");
        }
        for garbage in ["", "=", "****", &"A".repeat(2_000)] {
            assert!(key.verify(garbage, &device, 0).is_err());
        }
    }
}
