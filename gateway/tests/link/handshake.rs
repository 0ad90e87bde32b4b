//! The promise: whoever does not know the secret learns nothing and does nothing, and two that know it find a version.

use gateway::link::{Event, Reason};
use protocol::link::{Control, Greeting};
use protocol::placement::NodeId;

use crate::samples::append;
use crate::wire::{ACCEPTOR_NODE, End, Pair, SECRET, acceptor_greeting, at, dialler_greeting, key};

/// The frame of a challenge: the head, and a nonce.
const CHALLENGE_BYTES: usize = 18 + 32;

fn challenge() -> Vec<u8> {
    let mut out = Vec::new();
    Control::Challenge { nonce: &[0xAC; 32] }.write(&mut out).unwrap();
    assert_eq!(out.len(), CHALLENGE_BYTES);
    out
}

fn ended(end: &End) -> Option<Reason> {
    match end.events.last() {
        Some(Event::Ended(reason)) => Some(*reason),
        _ => None,
    }
}

#[test]
fn two_that_know_the_secret_learn_who_the_other_is() {
    let mut pair = Pair::of(dialler_greeting(), acceptor_greeting());
    pair.run(at(0));
    let peer = |end: &End| match &end.events[..] {
        [Event::Ready { peer, version: 1 }] => peer.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(peer(&pair.dialler), acceptor_greeting());
    assert_eq!(peer(&pair.acceptor), dialler_greeting());
    assert_eq!(pair.dialler.common.counters().ready + pair.acceptor.common.counters().ready, 2);
}

#[test]
fn every_split_of_a_handshake_does() {
    for piece in 1..200 {
        let mut pair = Pair::of(dialler_greeting(), acceptor_greeting());
        for _ in 0..3 {
            let there = pair.dialler.send(at(0), piece);
            there.chunks(piece).for_each(|bytes| pair.acceptor.receive(at(0), bytes));
            let back = pair.acceptor.send(at(0), piece);
            back.chunks(piece).for_each(|bytes| pair.dialler.receive(at(0), bytes));
        }
        assert!(pair.dialler.link.is_ready() && pair.acceptor.link.is_ready(), "pieces of {piece}");
    }
}

#[test]
fn a_stranger_gets_a_nonce_and_nothing_else() {
    let mut pair = Pair::of(dialler_greeting(), acceptor_greeting());
    pair.dialler = End::dialler(key(b"a secret of somebody else, as long as ours"), dialler_greeting());
    pair.run(at(0));
    assert_eq!(pair.acceptor.sent, challenge());
    assert_eq!(ended(&pair.acceptor), Some(Reason::Unproved));
    assert_eq!(pair.acceptor.refusals(), 1);
    assert!(pair.dialler.events.is_empty(), "it waits, and is late at last");
    pair.dialler.tick(at(5_000));
    assert_eq!(ended(&pair.dialler), Some(Reason::Late));
}

#[test]
fn an_acceptor_without_the_secret_is_not_believed() {
    let mut pair = Pair::of(dialler_greeting(), acceptor_greeting());
    // It takes any proof, and makes one with what it has.
    let mut accomplice = End::dialler(key(b"a secret of somebody else, as long as ours"), dialler_greeting());
    pair.acceptor = End::acceptor(key(b"a secret of somebody else, as long as ours"), acceptor_greeting());
    let hello = pair.dialler.send(at(0), usize::MAX);
    pair.acceptor.receive(at(0), &hello);
    let challenge = pair.acceptor.send(at(0), usize::MAX);
    pair.dialler.receive(at(0), &challenge);
    accomplice.send(at(0), usize::MAX);
    accomplice.receive(at(0), &challenge);
    let proof = accomplice.send(at(0), usize::MAX);
    pair.acceptor.receive(at(0), &proof);
    pair.run(at(0));
    assert_eq!(ended(&pair.dialler), Some(Reason::Unproved));
}

#[test]
fn a_proof_that_was_overheard_is_worth_nothing_on_another_link() {
    let mut pair = Pair::of(dialler_greeting(), acceptor_greeting());
    pair.run(at(0));
    let (overheard, answers) = (pair.dialler.sent, pair.acceptor.sent);
    // A new acceptor has a new nonce.
    let mut acceptor = End::acceptor(key(SECRET), acceptor_greeting());
    acceptor.link = gateway::link::Link::accept(at(0), [0xAD; 32]);
    acceptor.receive(at(0), &overheard);
    assert_eq!(acceptor.send(at(0), usize::MAX).len(), 0, "it is over before it says anything");
    assert_eq!(ended(&acceptor), Some(Reason::Unproved));
    // And so has a new dialler.
    let mut dialler = End::dialler(key(SECRET), dialler_greeting());
    dialler.link = gateway::link::Link::dial(at(0), &mut dialler.common, Some(ACCEPTOR_NODE), [0xD2; 32]);
    dialler.receive(at(0), &answers);
    assert_eq!(ended(&dialler), Some(Reason::Unproved));
}

#[test]
fn an_end_that_hears_its_own_words_does_not_believe_them() {
    let mut dialler = End::dialler(key(SECRET), dialler_greeting());
    let hello = dialler.send(at(0), usize::MAX);
    // The peer has the dialler's nonce for its own, and its proof.
    let mut challenge = Vec::new();
    Control::Challenge { nonce: hello[18..].try_into().unwrap() }.write(&mut challenge).unwrap();
    dialler.receive(at(0), &challenge);
    let proof = dialler.send(at(0), usize::MAX);
    dialler.receive(at(0), &proof);
    assert_eq!(ended(&dialler), Some(Reason::Unproved));
    // A dialler that hears a hello for an answer, and an acceptor that hears its own challenge.
    let mut dialler = End::dialler(key(SECRET), dialler_greeting());
    dialler.receive(at(0), &hello);
    assert_eq!(ended(&dialler), Some(Reason::Unexpected));
    let mut acceptor = End::acceptor(key(SECRET), acceptor_greeting());
    acceptor.receive(at(0), &hello);
    let own = acceptor.send(at(0), usize::MAX);
    acceptor.receive(at(0), &own);
    assert_eq!(ended(&acceptor), Some(Reason::Unexpected));
}

#[test]
fn a_greeting_that_was_changed_on_its_way_is_not_believed() {
    let mut pair = Pair::of(dialler_greeting(), acceptor_greeting());
    let hello = pair.dialler.send(at(0), usize::MAX);
    pair.acceptor.receive(at(0), &hello);
    let challenge_bytes = pair.acceptor.send(at(0), usize::MAX);
    pair.dialler.receive(at(0), &challenge_bytes);
    let proof = pair.dialler.send(at(0), usize::MAX);
    // The proof of one greeting with another, in a frame that is whole.
    let mut bytes = Vec::new();
    Greeting { core: 0, ..dialler_greeting() }.write(&mut bytes);
    let mac = proof[18..50].try_into().unwrap();
    let mut changed = Vec::new();
    Control::Proof { mac, greeting: &bytes }.write(&mut changed).unwrap();
    pair.acceptor.receive(at(0), &changed);
    assert_eq!(ended(&pair.acceptor), Some(Reason::Unproved));
    assert_eq!(pair.acceptor.sent, challenge());
}

#[test]
fn a_node_and_a_newer_one_speak_the_older_ones_version() {
    let newer = |greeting: Greeting| Greeting { oldest: 1, newest: 2, ..greeting };
    for (dialler, acceptor) in
        [(newer(dialler_greeting()), acceptor_greeting()), (dialler_greeting(), newer(acceptor_greeting()))]
    {
        let mut pair = Pair::of(dialler, acceptor);
        pair.run(at(0));
        for end in [&pair.dialler, &pair.acceptor] {
            assert!(matches!(end.events[..], [Event::Ready { version: 1, .. }]), "{:?}", end.events);
        }
        pair.dialler.link.send_to_router(&mut pair.dialler.common, &append(1, 10), 0).unwrap();
        pair.run(at(0));
        assert!(matches!(pair.acceptor.events[1], Event::ToRouter { .. }));
    }
}

#[test]
fn two_without_a_common_version_both_learn_why() {
    let newer = |greeting: Greeting| Greeting { oldest: 2, newest: 3, ..greeting };
    for (dialler, acceptor) in
        [(newer(dialler_greeting()), acceptor_greeting()), (dialler_greeting(), newer(acceptor_greeting()))]
    {
        let versions =
            |greeting: &Greeting| Reason::Version { oldest: greeting.oldest, newest: greeting.newest };
        let expected = (versions(&acceptor), versions(&dialler));
        let mut pair = Pair::of(dialler, acceptor);
        pair.run(at(0));
        assert_eq!((ended(&pair.dialler).unwrap(), ended(&pair.acceptor).unwrap()), expected);
        assert_eq!(pair.acceptor.refusals(), 1);
    }
}

#[test]
fn a_refused_peer_that_does_not_read_is_not_waited_for() {
    for closes in [false, true] {
        let mut pair = refusing();
        assert!(pair.acceptor.events.is_empty());
        assert_eq!(pair.acceptor.link.deadline(), Some(5_000));
        if closes {
            pair.acceptor.link.socket_ended(&mut pair.acceptor.common, 104);
        }
        pair.acceptor.tick(at(5_000));
        assert_eq!(ended(&pair.acceptor), Some(Reason::Version { oldest: 2, newest: 2 }));
    }
}

/// An acceptor that has not got rid of its proof for a dialler without a common version.
fn refusing() -> Pair {
    let mut pair = Pair::of(Greeting { oldest: 2, newest: 2, ..dialler_greeting() }, acceptor_greeting());
    for _ in 0..2 {
        let bytes = pair.dialler.send(at(0), usize::MAX);
        pair.acceptor.receive(at(0), &bytes);
        if !pair.acceptor.link.is_over() && pair.acceptor.sent.is_empty() {
            let bytes = pair.acceptor.send(at(0), usize::MAX);
            pair.dialler.receive(at(0), &bytes);
        }
    }
    pair
}

#[test]
fn another_node_at_the_address_is_noticed() {
    let mut pair = Pair::of(dialler_greeting(), Greeting { node: NodeId(8), ..acceptor_greeting() });
    pair.run(at(0));
    assert_eq!(ended(&pair.dialler), Some(Reason::OtherNode(NodeId(8))));
}

#[test]
fn nothing_is_taken_before_both_are_proved() {
    let mut pair = Pair::of(dialler_greeting(), acceptor_greeting());
    let (dialler, acceptor) = (&mut pair.dialler, &mut pair.acceptor);
    assert!(dialler.link.send_to_router(&mut dialler.common, &append(1, 10), 0).is_err());
    assert!(acceptor.link.send_to_gateway(&mut acceptor.common, &crate::samples::head(1), 0).is_err());
    dialler.link.send_routing(&mut dialler.common, protocol::placement::Epoch(1));
    assert_eq!(dialler.send(at(0), usize::MAX).len(), CHALLENGE_BYTES, "a hello alone");
}
