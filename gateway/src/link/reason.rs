//! Why a link ended.

use protocol::link::Malformed;
use protocol::placement::NodeId;

/// Why a link ended. Its owner dials again, later; what to do beside that, the sentence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The handshake took too long.
    Late,
    /// The peer's proof does not hold: it has another secret, or none.
    Unproved,
    /// The peer hung up on this end's proof: it has another secret.
    Rejected,
    /// There is no version of envelopes that both nodes read. These are the oldest and the newest of the peer's.
    Version {
        /// Its oldest.
        oldest: u8,
        /// Its newest.
        newest: u8,
    },
    /// Another node has the address: the table that named it is old, or the configuration wrong.
    OtherNode(NodeId),
    /// The peer's bytes are no frames, or a frame of theirs not what it says.
    Malformed(Malformed),
    /// A frame that has no place here: an envelope before a proof, or one in the wrong direction.
    Unexpected,
    /// An envelope from or for a core that is not at these ends.
    Misaddressed,
    /// Nothing was heard for [`SILENCE_MS`](super::SILENCE_MS).
    Silent,
    /// The peer follows a table that this node does not find in its store.
    Ahead,
    /// The peer does not read what it must be told.
    Stalled,
    /// The owner paused the link, and yet bytes came on and on.
    Overrun,
    /// The socket ended: with this `errno`, or 0 at the plain end of the stream.
    Socket(i32),
}

impl Reason {
    /// How many kinds of reasons there are.
    pub(super) const COUNT: usize = 13;
    /// The names of all kinds, as metrics have them, by number.
    pub(super) const NAMES: [&'static str; Self::COUNT] = [
        "late",
        "unproved",
        "version",
        "other_node",
        "malformed",
        "unexpected",
        "misaddressed",
        "silent",
        "stalled",
        "overrun",
        "socket",
        "rejected",
        "ahead",
    ];

    pub(super) const fn number(self) -> usize {
        match self {
            Self::Late => 0,
            Self::Unproved => 1,
            Self::Version { .. } => 2,
            Self::OtherNode(_) => 3,
            Self::Malformed(_) => 4,
            Self::Unexpected => 5,
            Self::Misaddressed => 6,
            Self::Silent => 7,
            Self::Stalled => 8,
            Self::Overrun => 9,
            Self::Socket(_) => 10,
            Self::Rejected => 11,
            Self::Ahead => 12,
        }
    }

    /// Its kind in one word, as metrics have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.number()]
    }

    /// One sentence for a person.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Late => "the peer did not finish its handshake in time",
            Self::Unproved => "the peer does not know this cluster's secret",
            Self::Rejected => {
                "the peer did not take this node's proof: cluster.secret is another there, or no router node listens there"
            }
            Self::Version { .. } => {
                "the peer and this node read no common version: bring the older one up to date first"
            }
            Self::OtherNode(_) => {
                "another node has the address: a node was replaced, or the address is wrong"
            }
            Self::Malformed(malformed) => malformed.message(),
            Self::Unexpected => "the peer sent a frame that has no place there",
            Self::Misaddressed => "the peer's envelope is from or for a core that is not there",
            Self::Silent => "the peer is silent: its node or the network is down",
            Self::Ahead => {
                "the peer follows a newer table than this node finds in its store: another store, or an older state of it"
            }
            Self::Stalled => "the peer does not read",
            Self::Overrun => "more came than a paused link may keep",
            Self::Socket(0) => "the peer closed the connection",
            Self::Socket(_) => "the connection broke",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_number_and_name() {
        let reasons = [
            Reason::Late,
            Reason::Unproved,
            Reason::Version { oldest: 1, newest: 1 },
            Reason::OtherNode(NodeId(1)),
            Reason::Malformed(Malformed::Order),
            Reason::Unexpected,
            Reason::Misaddressed,
            Reason::Silent,
            Reason::Stalled,
            Reason::Overrun,
            Reason::Socket(0),
            Reason::Rejected,
            Reason::Ahead,
        ];
        assert!(reasons.iter().map(|reason| reason.number()).eq(0..Reason::COUNT));
    }
}
