//! The promise: on a link that is warm, an envelope costs what its own decoding allocates, and nothing else; and an idle link
//! has no memory beside itself.

#[path = "link/samples.rs"]
#[allow(dead_code, reason = "the link's tests use the rest")]
mod samples;
#[path = "link/wire.rs"]
#[allow(dead_code, reason = "the link's tests use the rest")]
mod wire;

use gateway::link::Event;
use protocol::envelope::ToRouter;
use protocol::link::{Body, FRAME_BYTES_MAX, Reader, Route, write_to_router};
use ring::allocation::Counting;

use crate::samples::append;
use crate::wire::{DIALLER_CORE, End, KNOWN_AS, Pair, at};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the kernel does, without allocating itself.
fn carry(from: &mut End, wire: &mut Vec<u8>) {
    wire.clear();
    while let Some(gather) = from.link.poll_send(at(0), &mut from.common) {
        gather.packets.iter().for_each(|packet| wire.extend_from_slice(packet.as_bytes()));
        from.link.sent(at(0), &mut from.common, wire.len() as i32, gather);
    }
}

/// A turn: 100 envelopes, in pieces as the ring has them.
fn turn(pair: &mut Pair, envelope: &ToRouter, wire: &mut Vec<u8>) -> usize {
    let Pair { dialler, acceptor } = pair;
    for _ in 0..100 {
        dialler.link.send_to_router(&mut dialler.common, envelope, 0).unwrap();
    }
    carry(dialler, wire);
    let mut heard = 0;
    for mut input in wire.chunks(16 * 1024) {
        while let Some(event) = acceptor.link.next_event(at(0), &mut acceptor.common, &mut input) {
            heard += usize::from(matches!(event, Event::ToRouter { .. }));
        }
    }
    heard
}

#[test]
fn an_envelope_on_a_warm_link_costs_its_decoding_alone() {
    let mut pair = Pair::ready();
    let (envelope, mut wire) = (append(1, 200), Vec::new());
    let mut frame = Vec::new();
    write_to_router(&envelope, Route { from: DIALLER_CORE, to: 0 }, &mut frame).unwrap();
    let before = Counting::count();
    let (mut input, mut assembly) = (&*frame, Vec::new());
    let read = Reader::new().read(&mut input, &mut assembly, FRAME_BYTES_MAX).unwrap().unwrap();
    let Body::ToRouter(bytes) = read.body else { panic!("{read:?}") };
    drop(bytes.decode(KNOWN_AS).unwrap());
    let decoding = Counting::count() - before;
    for _ in 0..10 {
        turn(&mut pair, &envelope, &mut wire);
    }
    let before = Counting::count();
    for _ in 0..10 {
        assert_eq!(turn(&mut pair, &envelope, &mut wire), 100);
    }
    assert_eq!(Counting::count() - before, 1_000 * decoding);
}

#[test]
fn an_idle_link_has_next_to_no_memory() {
    let (envelope, mut wire) = (append(1, 200), Vec::with_capacity(1 << 20));
    let before = Counting::live();
    let mut pair = Pair::ready();
    for _ in 0..30 {
        turn(&mut pair, &envelope, &mut wire);
    }
    let Pair { dialler, acceptor } = pair;
    let links = (dialler.link, acceptor.link);
    drop((dialler.common, dialler.events, dialler.sent));
    drop((acceptor.common, acceptor.events, acceptor.sent));
    let live = (Counting::live() - before) as usize + size_of_val(&links);
    assert!(live <= 2 * 512, "{live} bytes of two");
}
