//! The messages of one thread, from their intended time until they are acknowledged and heard: an ack comes once, for a
//! message that was sent, and names the place where the sender itself hears it.

use std::collections::VecDeque;

use super::Broken;

/// A message that waits for its ack, for its event, or for both.
#[derive(Clone, Copy, Debug)]
struct Send {
    intended_ns: u64,
    client: u32,
    conversation: u32,
    /// What the ack said; 0 before.
    acknowledged: u32,
    /// Where the sender heard it; 0 before.
    heard: u32,
    /// Acknowledged and heard, or refused.
    settled: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// When it was meant to be sent.
    pub intended_ns: u64,
    /// By whom.
    pub client: u32,
    /// Where to.
    pub conversation: u32,
}

/// The messages of one thread, numbered from 0.
#[derive(Debug, Default)]
pub struct Sends {
    /// The number of the first of `waiting`.
    first: u64,
    waiting: VecDeque<Send>,
    unanswered: u64,
}

impl Sends {
    /// A message goes out; its number belongs into its id.
    pub fn begin(&mut self, client: u32, conversation: u32, intended_ns: u64) -> u64 {
        self.waiting.push_back(Send {
            intended_ns,
            client,
            conversation,
            acknowledged: 0,
            heard: 0,
            settled: false,
        });
        self.unanswered += 1;
        self.first + self.waiting.len() as u64 - 1
    }

    /// An ack tells a client where a message is.
    ///
    /// # Errors
    /// [`Broken::Unasked`] or [`Broken::Misplaced`].
    pub fn acknowledge(&mut self, number: u64, client: u32, seq: u64) -> Result<Answered, Broken> {
        let send = self.waiting(number)?;
        if send.acknowledged != 0 || seq == 0 || send.client != client {
            return Err(Broken::Unasked);
        }
        send.acknowledged = seq as u32;
        let answered = send.check()?;
        self.unanswered -= 1;
        self.retire();
        Ok(answered)
    }

    /// A client hears a message; `None` when it is another's, of which nothing more is known once that has heard it.
    ///
    /// # Errors
    /// [`Broken::Unasked`] or [`Broken::Misplaced`].
    pub fn hear(&mut self, number: u64, client: u32, seq: u64) -> Result<Option<Answered>, Broken> {
        if number >= self.first + self.waiting.len() as u64 {
            return Err(Broken::Unasked);
        }
        let Ok(send) = self.waiting(number) else { return Ok(None) };
        if send.client != client {
            return Ok(None);
        }
        if send.heard != 0 {
            return Err(Broken::Unasked);
        }
        send.heard = seq as u32;
        let answered = send.check()?;
        self.retire();
        Ok(Some(answered))
    }

    /// A message was refused: it is nowhere.
    ///
    /// # Errors
    /// [`Broken::Unasked`].
    pub fn refuse(&mut self, number: u64, client: u32) -> Result<Answered, Broken> {
        let send = self.waiting(number)?;
        if send.acknowledged != 0 || send.client != client {
            return Err(Broken::Unasked);
        }
        send.settled = true;
        let answered = send.answered();
        self.unanswered -= 1;
        self.retire();
        Ok(answered)
    }

    /// Messages without ack or error.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.unanswered
    }

    fn waiting(&mut self, number: u64) -> Result<&mut Send, Broken> {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let send = at.and_then(|at| self.waiting.get_mut(at)).filter(|send| !send.settled);
        send.ok_or(Broken::Unasked)
    }

    fn retire(&mut self) {
        while self.waiting.front().is_some_and(|send| send.settled) {
            self.waiting.pop_front();
            self.first += 1;
        }
    }
}

impl Send {
    fn answered(&self) -> Answered {
        Answered { intended_ns: self.intended_ns, client: self.client, conversation: self.conversation }
    }

    fn check(&mut self) -> Result<Answered, Broken> {
        if self.acknowledged != 0 && self.heard != 0 {
            self.settled = true;
            if self.acknowledged != self.heard {
                return Err(Broken::Misplaced);
            }
        }
        Ok(self.answered())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client 3 sends to conversation 7, client 4 to 8.
    fn two() -> Sends {
        let mut sends = Sends::default();
        assert_eq!((sends.begin(3, 7, 100), sends.begin(4, 8, 200)), (0, 1));
        sends
    }

    #[test]
    fn a_message_is_answered_and_heard_in_either_order() {
        let mut sends = two();
        let second = Answered { intended_ns: 200, client: 4, conversation: 8 };
        assert_eq!(sends.acknowledge(1, 4, 5), Ok(second));
        assert_eq!(sends.hear(1, 3, 5), Ok(None), "another member");
        assert_eq!(sends.hear(1, 4, 5), Ok(Some(second)));
        assert_eq!(sends.unanswered(), 1);
        let first = Answered { intended_ns: 100, client: 3, conversation: 7 };
        assert_eq!(sends.hear(0, 3, 9), Ok(Some(first)));
        assert_eq!(sends.acknowledge(0, 3, 9), Ok(first));
        assert_eq!((sends.unanswered(), sends.waiting.len()), (0, 0));
        assert_eq!(sends.hear(0, 4, 9), Ok(None), "a member who hears it late");
        assert_eq!(sends.begin(3, 7, 300), 2);
    }

    #[test]
    fn an_ack_that_names_another_place_is_found() {
        let mut sends = two();
        sends.acknowledge(0, 3, 5).unwrap();
        assert_eq!(sends.hear(0, 3, 6), Err(Broken::Misplaced));
        sends.hear(1, 4, 6).unwrap();
        assert_eq!(sends.acknowledge(1, 4, 7), Err(Broken::Misplaced));
    }

    #[test]
    fn what_nobody_sent_is_found() {
        let mut sends = two();
        assert_eq!(sends.acknowledge(2, 3, 5), Err(Broken::Unasked));
        assert_eq!(sends.acknowledge(0, 4, 5), Err(Broken::Unasked), "another's ack");
        sends.acknowledge(0, 3, 5).unwrap();
        assert_eq!(sends.acknowledge(0, 3, 5), Err(Broken::Unasked));
        assert_eq!(sends.acknowledge(1, 4, 0), Err(Broken::Unasked));
        assert_eq!(sends.hear(2, 3, 5), Err(Broken::Unasked));
        sends.hear(1, 4, 5).unwrap();
        assert_eq!(sends.hear(1, 4, 5), Err(Broken::Unasked));
        assert_eq!(sends.refuse(0, 3), Err(Broken::Unasked));
        sends.refuse(1, 4).unwrap();
        assert_eq!(sends.acknowledge(1, 4, 6), Err(Broken::Unasked));
        assert_eq!(sends.unanswered(), 0);
    }
}
