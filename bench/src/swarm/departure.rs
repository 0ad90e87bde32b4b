//! Why a client is away again, and what a well-behaved client does then (PROTOCOL, section 4).

use crate::wire::{Refused, Violation};

/// Why a client is no longer connecting or online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The dial failed, with this `errno`.
    Dial(i32),
    /// The upgrade was answered with something else.
    Upgrade(Refused),
    /// The server closed, with this code.
    Closed(u16),
    /// The socket ended without a close frame: `errno`, 0 for a plain end.
    Ended(i32),
    /// No `welcome` in time.
    Late,
    /// The server broke the framing.
    Framing(Violation),
    /// The server said something that is no frame of the protocol before `welcome`.
    Frame,
}

/// What to do after a departure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// Stay away.
    Never,
    /// Come back after so many milliseconds, as the server said.
    After(u32),
    /// Come back after a pause that grows with each try.
    Backoff,
}

impl Departure {
    /// The sort, as a figure's name.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Dial(error) => format!("dial_error_{error}"),
            Self::Upgrade(Refused::Status { status, .. }) => format!("upgrade_status_{status}"),
            Self::Upgrade(_) => "upgrade_broken".to_owned(),
            Self::Closed(code) => format!("closed_{code}"),
            Self::Ended(error) => format!("ended_{error}"),
            Self::Late => "late".to_owned(),
            Self::Framing(_) => "broken_framing".to_owned(),
            Self::Frame => "broken_frame".to_owned(),
        }
    }

    /// What the protocol wants of a client; `told_ms` is what the server said about when to come back.
    pub(super) fn followed_by(self, told_ms: Option<u32>) -> Return {
        match self {
            Self::Closed(1002 | 1003 | 1007 | 1009 | 4400 | 4401 | 4403 | 4409)
            | Self::Framing(_)
            | Self::Frame => Return::Never,
            Self::Upgrade(Refused::Status { retry_after_s: Some(seconds), .. }) => {
                Return::After(seconds.saturating_mul(1_000))
            }
            Self::Upgrade(Refused::Status { status: 429 | 500..=599, .. }) => Return::Backoff,
            Self::Upgrade(_) => Return::Never,
            Self::Closed(_) | Self::Dial(_) | Self::Ended(_) | Self::Late => {
                told_ms.map_or(Return::Backoff, Return::After)
            }
        }
    }
}

/// The milliseconds that the reason of a close names: "…; retry after 250 ms".
pub(super) fn told_ms(reason: &str) -> Option<u32> {
    let (_, rest) = reason.rsplit_once("after ")?;
    rest.strip_suffix(" ms")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Departure, Return, told_ms};
    use crate::wire::Refused;

    #[test]
    fn clients_come_back_as_the_protocol_says() {
        let status = |status, retry_after_s| Departure::Upgrade(Refused::Status { status, retry_after_s });
        for (departure, told, expected) in [
            (Departure::Closed(4409), Some(5), Return::Never),
            (Departure::Closed(4429), Some(5), Return::After(5)),
            (Departure::Closed(4408), None, Return::Backoff),
            (Departure::Dial(111), None, Return::Backoff),
            (status(503, Some(2)), None, Return::After(2_000)),
            (status(503, None), None, Return::Backoff),
            (status(401, None), None, Return::Never),
        ] {
            assert_eq!(departure.followed_by(told), expected, "{departure:?}");
        }
    }

    #[test]
    fn the_reason_of_a_close_says_when() {
        assert_eq!(told_ms("connections; retry after 1250 ms"), Some(1_250));
        assert_eq!(told_ms("the session can't be opened now"), None);
        assert_eq!(told_ms("after x ms"), None);
    }
}
