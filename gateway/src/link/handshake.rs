//! The handshake of either end: who says what when, and whom to believe. Frames, time and memory are the link's.

use protocol::link::{Body, Control, Frame, Greeting, TooLarge};

use super::common::Local;
use super::proof::{Prover, Statement};
use super::{Nonce, Reason, Role};

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    Hello,
    Challenge,
    Proof,
}

/// One end's handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    awaits: Awaits,
    nonce: Nonce,
    /// Zeros until it came.
    peer_nonce: Nonce,
}

/// What a frame did.
#[derive(Debug)]
pub(super) enum Progress {
    /// The next one is awaited.
    Going,
    /// Both are proved.
    Done { peer: Greeting, version: u8 },
    /// The peer is proved, and no use.
    Refused(Reason),
}

impl Handshake {
    pub(super) const fn dial(nonce: Nonce) -> Self {
        Self { awaits: Awaits::Challenge, nonce, peer_nonce: [0; _] }
    }

    pub(super) const fn accept(nonce: Nonce) -> Self {
        Self { awaits: Awaits::Hello, nonce, peer_nonce: [0; _] }
    }

    /// Whether this end has dialled and proved itself, and the peer has not said a word to that.
    pub(super) fn awaits_welcome(&self, role: Role) -> bool {
        self.awaits == Awaits::Proof && matches!(role, Role::Dialler { .. })
    }

    /// Takes the peer's frame; what is to be said to it is appended to `reply`.
    pub(super) fn take(
        &mut self,
        frame: &Frame<'_>,
        role: Role,
        local: &Local,
        reply: &mut Vec<u8>,
    ) -> Result<Progress, Reason> {
        let Body::Control { kind, bytes, .. } = frame.body else { return Err(Reason::Unexpected) };
        let control = Control::read(kind, bytes).map_err(Reason::Malformed)?;
        match (self.awaits, control) {
            (Awaits::Hello, Some(Control::Hello { nonce })) => {
                self.peer_nonce = *nonce;
                self.awaits = Awaits::Proof;
                say(&Control::Challenge { nonce: &self.nonce }, reply);
                Ok(Progress::Going)
            }
            (Awaits::Challenge, Some(Control::Challenge { nonce })) => {
                self.peer_nonce = *nonce;
                self.awaits = Awaits::Proof;
                self.say_proof(Prover::Dialler, [&local.greeting_bytes, &[]], local, reply);
                Ok(Progress::Going)
            }
            (Awaits::Proof, Some(Control::Proof { mac, greeting })) => match role {
                Role::Acceptor { .. } => {
                    self.check(Prover::Dialler, [greeting, &[]], mac, local)?;
                    let progress = welcome(greeting, role, local)?;
                    self.say_proof(Prover::Acceptor, [greeting, &local.greeting_bytes], local, reply);
                    Ok(progress)
                }
                Role::Dialler { .. } => {
                    self.check(Prover::Acceptor, [&local.greeting_bytes, greeting], mac, local)?;
                    welcome(greeting, role, local)
                }
            },
            _ => Err(Reason::Unexpected),
        }
    }

    const fn statement<'a>(&'a self, prover: Prover, by: Prover, greetings: [&'a [u8]; 2]) -> Statement<'a> {
        let (dialler_nonce, acceptor_nonce) = match by {
            Prover::Dialler => (&self.nonce, &self.peer_nonce),
            Prover::Acceptor => (&self.peer_nonce, &self.nonce),
        };
        Statement { prover, dialler_nonce, acceptor_nonce, greetings }
    }

    /// Proves this end. The dialler's proof is over its own greeting, the acceptor's over both.
    fn say_proof(&self, own: Prover, greetings: [&[u8]; 2], local: &Local, reply: &mut Vec<u8>) {
        let mac = local.key.prove(&self.statement(own, own, greetings));
        say(&Control::Proof { mac: &mac, greeting: &local.greeting_bytes }, reply);
    }

    /// Checks the proof of the other end.
    fn check(
        &self,
        peer: Prover,
        greetings: [&[u8]; 2],
        mac: &[u8; protocol::link::MAC_BYTES],
        local: &Local,
    ) -> Result<(), Reason> {
        let own = match peer {
            Prover::Dialler => Prover::Acceptor,
            Prover::Acceptor => Prover::Dialler,
        };
        let holds = local.key.holds(&self.statement(peer, own, greetings), mac);
        if holds { Ok(()) } else { Err(Reason::Unproved) }
    }
}

/// What comes of a peer that has proved itself.
fn welcome(greeting: &[u8], role: Role, local: &Local) -> Result<Progress, Reason> {
    let peer = Greeting::read(greeting).map_err(Reason::Malformed)?;
    if let Role::Dialler { wanted } = role
        && wanted.is_some_and(|wanted| wanted != peer.node)
    {
        return Ok(Progress::Refused(Reason::OtherNode(peer.node)));
    }
    let (oldest, newest) = (peer.oldest, peer.newest);
    let version = local.greeting.version_with(&peer);
    Ok(version.map_or(Progress::Refused(Reason::Version { oldest, newest }), |version| Progress::Done {
        peer,
        version,
    }))
}

fn say(control: &Control<'_>, reply: &mut Vec<u8>) {
    let written: Result<(), TooLarge> = control.write(reply);
    written.expect("a handshake's frames are small");
}
