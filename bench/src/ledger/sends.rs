//! The messages of one thread, from their intended time until they are acknowledged and heard: an ack comes once, for a
//! message that was sent, and names the place where the sender itself hears it.

use std::collections::VecDeque;

use super::Broken;

/// A message that waits for its ack, for its event, or for both.
#[derive(Clone, Copy, Debug)]
struct Send {
    intended_ns: u64,
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
    pub fn begin(&mut self, conversation: u32, intended_ns: u64) -> u64 {
        self.waiting.push_back(Send { intended_ns, conversation, acknowledged: 0, heard: 0, settled: false });
        self.unanswered += 1;
        self.first + self.waiting.len() as u64 - 1
    }

    /// An ack says where a message is.
    ///
    /// # Errors
    /// [`Broken::Unasked`] or [`Broken::Misplaced`].
    pub fn acknowledge(&mut self, number: u64, seq: u64) -> Result<Answered, Broken> {
        let send = self.waiting(number)?;
        if send.acknowledged != 0 || seq == 0 {
            return Err(Broken::Unasked);
        }
        send.acknowledged = seq as u32;
        let answered = send.check()?;
        self.unanswered -= 1;
        self.retire();
        Ok(answered)
    }

    /// The sender hears its own message.
    ///
    /// # Errors
    /// [`Broken::Unasked`] or [`Broken::Misplaced`].
    pub fn hear(&mut self, number: u64, seq: u64) -> Result<Answered, Broken> {
        let send = self.waiting(number)?;
        if send.heard != 0 {
            return Err(Broken::Unasked);
        }
        send.heard = seq as u32;
        let answered = send.check()?;
        self.retire();
        Ok(answered)
    }

    /// A message was refused: it is nowhere.
    ///
    /// # Errors
    /// [`Broken::Unasked`].
    pub fn refuse(&mut self, number: u64) -> Result<Answered, Broken> {
        let send = self.waiting(number)?;
        if send.acknowledged != 0 {
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
        Answered { intended_ns: self.intended_ns, conversation: self.conversation }
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

    fn two() -> Sends {
        let mut sends = Sends::default();
        assert_eq!((sends.begin(7, 100), sends.begin(8, 200)), (0, 1));
        sends
    }

    #[test]
    fn a_message_is_answered_and_heard_in_either_order() {
        let mut sends = two();
        assert_eq!(sends.acknowledge(1, 5), Ok(Answered { intended_ns: 200, conversation: 8 }));
        assert_eq!(sends.hear(1, 5), Ok(Answered { intended_ns: 200, conversation: 8 }));
        assert_eq!(sends.unanswered(), 1);
        assert_eq!(sends.hear(0, 9), Ok(Answered { intended_ns: 100, conversation: 7 }));
        assert_eq!(sends.acknowledge(0, 9), Ok(Answered { intended_ns: 100, conversation: 7 }));
        assert_eq!((sends.unanswered(), sends.waiting.len()), (0, 0));
        assert_eq!(sends.begin(7, 300), 2);
    }

    #[test]
    fn an_ack_that_names_another_place_is_found() {
        let mut sends = two();
        sends.acknowledge(0, 5).unwrap();
        assert_eq!(sends.hear(0, 6), Err(Broken::Misplaced));
        sends.hear(1, 6).unwrap();
        assert_eq!(sends.acknowledge(1, 7), Err(Broken::Misplaced));
    }

    #[test]
    fn what_nobody_sent_is_found() {
        let mut sends = two();
        assert_eq!(sends.acknowledge(2, 5), Err(Broken::Unasked));
        sends.acknowledge(0, 5).unwrap();
        assert_eq!(sends.acknowledge(0, 5), Err(Broken::Unasked));
        assert_eq!(sends.acknowledge(1, 0), Err(Broken::Unasked));
        sends.hear(0, 5).unwrap();
        assert_eq!(sends.hear(0, 5), Err(Broken::Unasked));
        assert_eq!(sends.refuse(0), Err(Broken::Unasked));
        sends.refuse(1).unwrap();
        assert_eq!(sends.acknowledge(1, 6), Err(Broken::Unasked));
        assert_eq!(sends.unanswered(), 0);
    }
}
