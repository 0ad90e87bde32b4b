//! Resume tickets of a crowd, kept compactly: those of a million clients are a hundred megabytes. All are of one length,
//! because names are; one of another length is not kept.

/// Tickets by the place of their client; no ticket is as good as an empty one.
#[derive(Debug)]
pub(super) struct Tickets {
    /// Bytes of a ticket, once there is one.
    stride: usize,
    bytes: Vec<u8>,
    places: usize,
}

impl Tickets {
    /// Of so many clients.
    pub(super) fn new(places: usize) -> Self {
        Self { stride: 0, bytes: Vec::new(), places }
    }

    /// Keeps a client's newest.
    pub(super) fn put(&mut self, place: usize, ticket: &str) {
        if self.stride == 0 {
            self.stride = ticket.len();
            self.bytes = vec![0; self.places * self.stride];
        }
        let length = self.stride;
        let kept = &mut self.bytes[place * length..][..length];
        if ticket.len() == length {
            kept.copy_from_slice(ticket.as_bytes());
        } else {
            kept.fill(0);
        }
    }

    /// A client's newest.
    pub(super) fn get(&self, place: usize) -> Option<&str> {
        let ticket = self.bytes.get(place * self.stride..)?.get(..self.stride)?;
        let filled = ticket.first().is_some_and(|byte| *byte != 0);
        filled.then(|| str::from_utf8(ticket).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::Tickets;

    #[test]
    fn each_client_has_its_own_ticket_or_none() {
        let mut tickets = Tickets::new(3);
        assert_eq!(tickets.get(0), None);
        tickets.put(1, "first");
        tickets.put(2, "other");
        tickets.put(2, "long one");
        assert_eq!((tickets.get(0), tickets.get(1), tickets.get(2)), (None, Some("first"), None));
    }
}
