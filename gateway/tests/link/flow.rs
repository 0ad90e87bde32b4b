//! The promise: what is unsent has a bound, by lanes; what was taken arrives once and in order, whatever the kernel takes at
//! a time; and many envelopes leave together.

use gateway::link::{Event, Reason, UNSENT_BYTES_MAX, Unsent};
use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};
use protocol::link::FRAME_BYTES_MAX;
use protocol::placement::{Epoch, NodeId, RouterNode, Slot, Table};

use crate::samples::{append, detach, head, large_publish, publish, refused, typing};
use crate::wire::{ACCEPTOR_NODE, DIALLER_CORE, KNOWN_AS, Pair, at};

fn table(epoch: u64) -> Table {
    let node = RouterNode {
        id: ACCEPTOR_NODE,
        name: "router-7".into(),
        address: "192.0.2.7:8802".parse().unwrap(),
        cores: 2,
        draining: false,
    };
    let mut table = Table { epoch: Epoch(epoch), nodes: vec![node], ..Table::empty() };
    for (slot, tenure) in Slot::all().zip(&mut table.tenures) {
        tenure.owner = RouterId::new(NodeId(slot.0 % 7), slot.0 % 2);
        tenure.since = Epoch(epoch - u64::from(slot.0) % epoch);
    }
    table
}

fn fill(pair: &mut Pair, envelope: &ToGateway) -> usize {
    let end = &mut pair.acceptor;
    let mut count = 0;
    loop {
        match end.link.send_to_gateway(&mut end.common, envelope, 0) {
            Ok(()) => count += 1,
            Err(Unsent::Full) => return count,
            Err(Unsent::TooLarge) => panic!("it fits a frame"),
        }
    }
}

#[test]
fn a_gateway_shard_is_called_as_the_receiver_knows_it() {
    let mut pair = Pair::ready();
    let (dialler, acceptor) = (&mut pair.dialler, &mut pair.acceptor);
    dialler.link.send_to_router(&mut dialler.common, &append(1, 10), 1).unwrap();
    acceptor.link.send_to_gateway(&mut acceptor.common, &refused(5), 1).unwrap();
    pair.run(at(0));
    let [Event::ToRouter { to_core: 1, envelope: ToRouter::Append { caller, .. } }] =
        &pair.acceptor.events[..]
    else {
        panic!("{:?}", pair.acceptor.events)
    };
    assert_eq!(caller.gateway, KNOWN_AS);
    let [Event::ToGateway(ToGateway::Refused { caller, .. })] = &pair.dialler.events[..] else {
        panic!("{:?}", pair.dialler.events)
    };
    assert_eq!((caller.gateway, caller.connection), (GatewayId(u32::from(DIALLER_CORE)), 5));
}

#[test]
fn each_lane_fills_its_share_and_one_frame_more_at_most() {
    for (lower, share) in [(typing(), 2), (publish(1, 1_000), 3), (refused(1), 4)] {
        let mut pair = Pair::ready();
        assert!(fill(&mut pair, &lower) > 100);
        let unsent = pair.acceptor.link.unsent_bytes();
        let bound = UNSENT_BYTES_MAX / 4 * share;
        assert!((bound..bound + 2_000).contains(&unsent), "{unsent}");
    }
    let mut pair = Pair::ready();
    fill(&mut pair, &refused(1));
    assert_eq!(fill(&mut pair, &head(1)) + fill(&mut pair, &typing()), 0);
    // Once it is sent there is room again.
    pair.run(at(0));
    assert_eq!(pair.acceptor.link.unsent_bytes(), 0);
    assert!(fill(&mut pair, &typing()) > 100);
    assert_eq!(pair.acceptor.common.counters().full, 6 - 2);
}

#[test]
fn a_large_frame_goes_while_there_is_room_for_anything() {
    let mut pair = Pair::ready();
    let large = large_publish(20);
    assert_eq!(fill(&mut pair, &large), 1);
    assert!(pair.acceptor.link.unsent_bytes() > UNSENT_BYTES_MAX);
    assert_eq!(fill(&mut pair, &refused(1)), 0);
    pair.run(at(0));
    assert_eq!(pair.dialler.words(), [format!("{:?}", Event::ToGateway(large))]);
}

#[test]
fn what_never_fits_a_frame_is_told_apart_and_leaves_the_rest_as_it_is() {
    let too_large = large_publish(30);
    for before in [0, 1] {
        let mut pair = Pair::ready();
        let end = &mut pair.acceptor;
        for seq in 0..before {
            end.link.send_to_gateway(&mut end.common, &head(seq), 0).unwrap();
        }
        for _ in 0..3 {
            let result = end.link.send_to_gateway(&mut end.common, &too_large, 0);
            assert_eq!(result, Err(Unsent::TooLarge));
            end.link.invariants();
        }
        end.link.send_to_gateway(&mut end.common, &head(9), 0).unwrap();
        assert_eq!(end.common.counters().too_large, 3);
        pair.run(at(0));
        assert_eq!(pair.dialler.events.len(), before as usize + 1);
    }
}

#[test]
fn short_sends_of_every_length_lose_and_double_nothing() {
    for taken_max in (1..300).chain([1_000, 40_000]) {
        let mut pair = Pair::ready();
        let end = &mut pair.dialler;
        for number in 0..8 {
            end.link.send_to_router(&mut end.common, &append(number, 20), 0).unwrap();
        }
        let bytes = end.send(at(0), taken_max);
        pair.acceptor.receive(at(0), &bytes);
        let numbers: Vec<u64> = pair.acceptor.events.iter().map(number_of).collect();
        assert_eq!(numbers, (0..8).collect::<Vec<_>>(), "{taken_max} bytes at a time");
        assert_eq!(
            pair.dialler.common.counters().outgoing.bytes,
            pair.acceptor.common.counters().incoming.bytes
        );
    }
}

fn number_of(event: &Event) -> u64 {
    match event {
        Event::ToRouter { envelope: ToRouter::Append { lamport, .. }, .. } => *lamport,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_while_a_send_is_under_way_follows_it() {
    let mut pair = Pair::ready();
    let end = &mut pair.dialler;
    end.link.send_to_router(&mut end.common, &append(0, 20), 0).unwrap();
    let gather = end.link.poll_send(at(0), &mut end.common).unwrap();
    let first: Vec<u8> = gather.packets.iter().flat_map(|packet| packet.as_bytes()).copied().collect();
    end.link.send_to_router(&mut end.common, &append(1, 20), 0).unwrap();
    assert!(end.link.poll_send(at(0), &mut end.common).is_none());
    end.link.sent(at(0), &mut end.common, 10, gather);
    end.link.send_to_router(&mut end.common, &append(2, 20), 0).unwrap();
    let rest = end.send(at(0), 7);
    let bytes = [&first[..10], &rest].concat();
    pair.acceptor.receive(at(0), &bytes);
    let numbers: Vec<u64> = pair.acceptor.events.iter().map(number_of).collect();
    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn a_turns_envelopes_leave_in_one_send() {
    let mut pair = Pair::ready();
    let end = &mut pair.dialler;
    let sends = end.common.counters().sends;
    for number in 0..2_000 {
        end.link.send_to_router(&mut end.common, &append(number, 100), 0).unwrap();
    }
    let gather = end.link.poll_send(at(0), &mut end.common).unwrap();
    assert!(gather.packets.len() <= 24, "{} packets", gather.packets.len());
    let bytes: usize = gather.packets.iter().map(|packet| packet.as_bytes().len()).sum();
    assert_eq!(bytes, end.link.unsent_bytes());
    assert_eq!(end.common.counters().sends, sends + 1);
    assert_eq!(end.common.counters().outgoing.to_router, 2_000);
}

#[test]
fn a_send_that_fails_ends_the_link_and_gives_the_gather_back() {
    let mut pair = Pair::ready();
    let end = &mut pair.dialler;
    end.link.send_to_router(&mut end.common, &detach(), 0).unwrap();
    let gather = end.link.poll_send(at(0), &mut end.common).unwrap();
    end.link.sent(at(0), &mut end.common, -104, gather);
    end.receive(at(0), &[]);
    assert!(matches!(end.events[..], [Event::Ended(Reason::Socket(104))]));
    assert_eq!(end.link.send_to_router(&mut end.common, &detach(), 0), Err(Unsent::Full));
    assert!(end.link.poll_send(at(0), &mut end.common).is_none());
}

#[test]
fn the_end_of_the_socket_is_the_end_of_the_link_also_with_a_send_under_way() {
    let mut pair = Pair::ready();
    let end = &mut pair.dialler;
    end.link.send_to_router(&mut end.common, &detach(), 0).unwrap();
    let gather = end.link.poll_send(at(0), &mut end.common).unwrap();
    end.link.socket_ended(&mut end.common, 0);
    end.receive(at(0), &[]);
    end.link.sent(at(0), &mut end.common, -125, gather);
    end.receive(at(0), &[]);
    assert!(matches!(end.events[..], [Event::Ended(Reason::Socket(0))]));
    end.link.invariants();
}

#[test]
fn tables_and_routings_are_told_once_and_in_their_place() {
    let mut pair = Pair::ready();
    pair.dialler.common.knows_table(Epoch(2));
    let (old, new) =
        (pair.acceptor.common.table_frame(&table(2)), pair.acceptor.common.table_frame(&table(3)));
    let end = &mut pair.acceptor;
    end.link.send_table(&mut end.common, &old);
    end.link.send_to_gateway(&mut end.common, &head(1), 0).unwrap();
    end.link.send_table(&mut end.common, &new);
    end.link.send_table(&mut end.common, &new);
    end.link.send_table(&mut end.common, &old);
    end.link.send_to_gateway(&mut end.common, &head(2), 0).unwrap();
    for epoch in [3, 3, 2, 4] {
        pair.told(epoch);
    }
    pair.run(at(0));
    assert_eq!(pair.acceptor.words(), ["Routing(Epoch(3))", "Routing(Epoch(4))"]);
    let words = pair.dialler.words();
    assert_eq!(words.len(), 3, "the table that the core knows is not told: {words:?}");
    assert!(words[0].contains("head: 1") && words[2].contains("head: 2"));
    let Event::Table(read) = &pair.dialler.events[1] else { panic!("{}", words[1]) };
    assert_eq!(*read, table(3));
    assert_eq!(pair.dialler.common.counters().incoming.tables, 2);
}

#[test]
fn a_table_goes_to_many_links_from_one_memory() {
    let mut pair = Pair::ready();
    let frame = pair.acceptor.common.table_frame(&table(3));
    assert_eq!(frame.epoch(), Epoch(3));
    let end = &mut pair.acceptor;
    end.link.send_table(&mut end.common, &frame);
    let gather = end.link.poll_send(at(0), &mut end.common).unwrap();
    let length = gather.packets[0].as_bytes().len();
    assert_eq!((gather.packets.len(), length > 20_000), (1, true));
    for piece in gather.packets[0].as_bytes().chunks(4_096) {
        pair.dialler.receive(at(0), piece);
    }
    assert!(matches!(pair.dialler.events[..], [Event::Table(_)]));
}

#[test]
fn a_peer_that_reads_no_tables_is_given_up_at_last() {
    let mut pair = Pair::ready();
    fill(&mut pair, &large_publish(20));
    fill(&mut pair, &refused(1));
    let end = &mut pair.acceptor;
    for epoch in 1..1_000 {
        let frame = end.common.table_frame(&table(epoch));
        end.link.send_table(&mut end.common, &frame);
        if end.link.is_over() {
            break;
        }
        assert!(end.link.unsent_bytes() <= 2 * UNSENT_BYTES_MAX + 2 * FRAME_BYTES_MAX);
    }
    end.receive(at(0), &[]);
    assert!(matches!(end.events[..], [Event::Ended(Reason::Stalled)]));
}

#[test]
fn a_peer_that_the_owner_gives_up_is_told_nothing_more_even_while_the_link_is_paused() {
    for is_paused in [false, true] {
        let mut pair = Pair::ready();
        fill(&mut pair, &refused(1));
        let end = &mut pair.acceptor;
        if is_paused {
            end.link.pause(&mut end.common);
        }
        end.link.give_up(&mut end.common, Reason::Stalled);
        end.receive(at(0), &[]);
        assert!(matches!(end.events[..], [Event::Ended(Reason::Stalled)]));
        assert!(end.link.poll_send(at(0), &mut end.common).is_none());
    }
}
