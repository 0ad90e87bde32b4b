//! The promise: words (cursors and memberships) are kept until the peer has taken them, and no longer.

use gateway::link::Event;
use protocol::envelope::ToRouter;
use protocol::placement::NodeId;

use crate::samples::{append, mark};
use crate::wire::{ACCEPTOR_NODE, Pair, at};

fn say(pair: &mut Pair, reads: std::ops::RangeInclusive<u64>) {
    let end = &mut pair.dialler;
    for read in reads {
        end.link.send_to_router(&mut end.common, &mark(read), 1).unwrap();
    }
}

/// Those that the dialler has back when its link ends.
fn untaken(pair: &mut Pair) -> Vec<u64> {
    pair.dialler.link.socket_ended(&mut pair.dialler.common, 0);
    let words = pair.dialler.link.untaken(ACCEPTOR_NODE);
    let read = |(to, word): (protocol::envelope::RouterId, ToRouter)| match word {
        ToRouter::Mark { read: Some(read), .. } if to.node() == NodeId(7) && to.core() == 1 => read,
        other => panic!("{other:?}"),
    };
    words.into_iter().map(read).collect()
}

#[test]
fn words_that_are_taken_are_forgotten_and_the_link_goes_on() {
    let mut pair = Pair::ready();
    for round in 0..5 {
        say(&mut pair, round * 10 + 1..=round * 10 + 10);
        let end = &mut pair.dialler;
        end.link.send_to_router(&mut end.common, &append(round, 20), 0).unwrap();
        pair.run(at(round));
        assert!(pair.dialler.link.is_ready() && pair.acceptor.link.is_ready(), "{:?}", pair.acceptor.events);
    }
    assert_eq!(pair.acceptor.events.len(), 55);
    assert!(pair.acceptor.events.iter().all(|event| matches!(event, Event::ToRouter { .. })));
    assert!(untaken(&mut pair).is_empty());
}

#[test]
fn words_that_nobody_has_taken_come_back() {
    let mut pair = Pair::ready();
    say(&mut pair, 1..=3);
    pair.run(at(0));
    say(&mut pair, 4..=6);
    let lost = pair.dialler.send(at(1), usize::MAX);
    assert!(!lost.is_empty());
    assert_eq!(untaken(&mut pair), [4, 5, 6]);
}
