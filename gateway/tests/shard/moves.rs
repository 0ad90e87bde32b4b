//! Moves: whatever goes elsewhere, a client's sends are acked once and in order, its conversations have no gap, and each owner comes to
//! know of every room, session and watch that is its own.

use std::sync::Arc;

use gateway::shard::Completion;
use protocol::envelope::{ToGateway, ToRouter};
use protocol::error::{ErrorCode, Refusal};
use protocol::event::{ContentV1, Role};
use protocol::placement::NodeId;
use ring::token::Token;
use serde_json::{Value, json};

use crate::cluster::{ids, send};
use crate::fleet::{clustered, slot_of, slot_of_user, table, user_key};
use crate::owner::draft;
use crate::world::{World, token};

fn ready() -> (World, Token) {
    let mut world = World::cluster(clustered(), &[1, 2], |_| 1);
    world.owner.conversation("c", &["alice"]);
    let alice = world.session("alice", "d");
    world.asked();
    (world, alice)
}

pub(crate) fn seqs(frames: &[Value]) -> Vec<u64> {
    let events = frames.iter().filter(|frame| frame["op"] == "event");
    events.map(|event| event["seq"].as_u64().unwrap()).collect()
}

fn stored(world: &mut World) -> Vec<String> {
    world.owner.log("c").events.iter().map(|event| event.view().id.to_string()).collect()
}

fn told_again(world: &mut World) -> Vec<String> {
    let asked = world.asked();
    let users = asked.iter().filter_map(|(_, envelope)| match envelope {
        ToRouter::SessionOpen { user, again: true, .. } => Some(user.user.to_string()),
        _ => None,
    });
    users.collect()
}

#[test]
fn sends_under_way_when_their_slot_moves_are_acked_once_and_in_order() {
    let (mut world, alice) = ready();
    world.owner.fleet().held = true;
    for at in 0..6 {
        world.say(alice, &send(at));
        if at == 2 {
            // Its answers are on their way, and come too late.
            world.place(&[1, 2], |_| 2);
        }
    }
    world.owner.fleet().held = false;
    world.run();
    let expected: Vec<_> = (0..6).map(|at| format!("m{at}")).collect();
    let heard = world.hear(alice);
    assert_eq!(ids(&heard, "ack"), expected);
    assert_eq!(stored(&mut world), expected);
    assert_eq!(seqs(&heard), (1..=6).collect::<Vec<_>>());
    assert_eq!((world.shard.counters().reasked, world.shard.counters().late_answers), (3, 3));
}

#[test]
fn a_send_that_may_have_been_stored_is_not_refused_for_good_when_it_is_asked_again() {
    for (moved, code) in [(false, "forbidden"), (true, "unavailable")] {
        let (mut world, alice) = ready();
        world.owner.fleet().held = true;
        world.say(alice, &send(1));
        if moved {
            world.place(&[1, 2], |_| 2);
        }
        let asked = world.asked();
        let append = asked.iter().rev().find_map(|(_, envelope)| match envelope {
            ToRouter::Append { caller, .. } => Some(*caller),
            _ => None,
        });
        let caller = append.expect("the send goes to its owner");
        let id = protocol::id::ClientId::parse("m1").ok();
        // The sender has lost its role meanwhile.
        let refusal = Refusal::new(ErrorCode::Forbidden, "a reader may not send");
        world.envelope(ToGateway::Refused { caller, id, refusal });
        assert_eq!(world.hear(alice)[0]["code"], code);
    }
}

#[test]
fn what_a_full_mailbox_keeps_goes_to_the_new_owner_in_order() {
    let (mut world, alice) = ready();
    world.mailbox_room = Some(0);
    for at in 0..5 {
        world.say(alice, &send(at));
    }
    world.mailbox_room = None;
    world.place(&[1, 2], |_| 2);
    let asked = world.asked();
    assert!(asked.iter().all(|(router, _)| router.node() == NodeId(2)), "{asked:?}");
    assert_eq!(stored(&mut world), (0..5).map(|at| format!("m{at}")).collect::<Vec<_>>());
    assert_eq!(ids(&world.hear(alice), "ack").len(), 5);
}

#[test]
fn a_node_that_was_out_of_reach_is_told_of_rooms_which_pull_what_they_missed() {
    let (mut world, alice) = ready();
    world.owner.append("c", "bob", "before");
    world.run();
    world.down(1);
    for _ in 0..300 {
        world.owner.append("c", "bob", "meanwhile");
    }
    world.say(alice, &send(1));
    world.pass_ms(1_000);
    assert_eq!(seqs(&world.hear(alice)), [1]);
    world.up(1);
    world.owner.append("c", "bob", "after");
    world.run();
    let heard = world.hear(alice);
    assert_eq!(seqs(&heard), (2..=303).collect::<Vec<_>>());
    assert_eq!(ids(&heard, "ack"), ["m1"]);
    assert_eq!(world.owner.fleet().sessions[&user_key("alice")], alice.to_bits());
}

#[test]
fn a_link_that_breaks_unnoticed_costs_no_request() {
    let (mut world, alice) = ready();
    world.owner.cut(NodeId(1));
    for at in 0..3 {
        world.say(alice, &send(at));
    }
    // The link was made anew before anybody was told that it was gone.
    world.up(1);
    assert_eq!(ids(&world.hear(alice), "ack"), ["m0", "m1", "m2"]);
    assert_eq!(stored(&mut world), ["m0", "m1", "m2"]);
}

#[test]
fn when_a_node_vanishes_every_session_reads_its_list_in_a_few_seconds() {
    let users = |slot| if slot == slot_of("c") { 2 } else { 1 };
    let mut world = World::cluster(clustered(), &[1, 2], users);
    world.owner.conversation("c", &["u0"]);
    let sessions: Vec<_> = (0..500).map(|at| world.session(&format!("u{at}"), "d")).collect();
    world.down(2);
    world.asked();
    world.place(&[1], |_| 1);
    let at_once = told_again(&mut world);
    assert!(at_once.len() < 100, "spread over time: {}", at_once.len());
    world.pass_ms(5_000);
    let mut all = told_again(&mut world);
    all.extend(at_once);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), sessions.len());
    world.pass_ms(5_000);
    assert!(told_again(&mut world).is_empty());
}

#[test]
fn a_conversation_that_was_joined_meanwhile_begins_with_its_last_event() {
    let (mut world, alice) = ready();
    world.owner.conversation("n", &["alice"]);
    for _ in 0..3 {
        world.owner.append("n", "bob", "word");
    }
    assert!(world.hear(alice).is_empty(), "the news of it is lost");
    world.place(&[1, 2], |slot| if slot == slot_of_user("alice") { 2 } else { 1 });
    world.owner.append("n", "bob", "word");
    world.run();
    assert_eq!(seqs(&world.hear(alice)), [3, 4]);
}

#[test]
fn a_conversation_that_was_left_meanwhile_is_left_once_its_owner_says_so() {
    let (mut world, alice) = ready();
    world.owner.conversation("c", &[]);
    world.owner.append("c", "bob", "not hers");
    assert_eq!(world.shard.counters().attachments, 1);
    world.place(&[1, 2], |slot| if slot == slot_of_user("alice") { 2 } else { 1 });
    world.owner.append("c", "bob", "nor this");
    world.run();
    assert_eq!((world.shard.counters().attachments, world.owner.log("c").interest), (0, false));
    assert!(seqs(&world.hear(alice)).len() <= 1);
}

#[test]
fn a_member_that_left_and_came_back_unheard_keeps_its_stream() {
    let (mut world, alice) = ready();
    world.owner.append("c", "bob", "before");
    world.run();
    world.down(1);
    let joined = ContentV1::Joined { user: "alice", role: Role::Member };
    for (id, content) in [("left", ContentV1::Left { user: "alice" }), ("joined", joined)] {
        world.owner.append_draft("c", draft("c", "bob", id, content));
    }
    world.up(1);
    world.owner.append("c", "bob", "after");
    world.run();
    assert_eq!(seqs(&world.hear(alice)), [1, 2, 3, 4]);
}

#[test]
fn a_list_that_is_older_than_a_membership_takes_nothing_away() {
    let (mut world, alice) = ready();
    let user = user_key("alice");
    world.owner.append("c", "bob", "word");
    world.run();
    world.owner.silent = true;
    world.place(&[1, 2], |slot| if slot == slot_of_user("alice") { 2 } else { 1 });
    world.owner.silent = false;
    let asked = world.asked();
    let opened = asked.iter().find(|(_, envelope)| matches!(envelope, ToRouter::SessionOpen { .. }));
    let caller = *opened.unwrap().1.request().unwrap();
    world.envelope(ToGateway::SessionOpened { caller, conversations: [].into(), more: false });
    world.owner.append("c", "bob", "word");
    world.run();
    assert_eq!(seqs(&world.hear(alice)), [1, 2], "{user:?}");
}

#[test]
fn everybody_leaves_a_conversation_that_was_removed_meanwhile() {
    let (mut world, _) = ready();
    let key = crate::owner::key("c");
    world.owner.logs.remove(&(key.tenant, key.conversation));
    world.place(&[1, 2], |slot| if slot == slot_of("c") { 2 } else { 1 });
    assert_eq!((world.shard.counters().attachments, world.shard.counters().rooms), (0, 0));
}

#[test]
fn a_refused_announcement_is_made_again() {
    let (mut world, alice) = ready();
    world.owner.away = Some(Refusal::retry(ErrorCode::Unavailable, "away", 200));
    world.place(&[1, 2], |_| 2);
    world.pass_ms(3_000);
    assert!(!world.owner.log("c").interest && world.owner.log("c").events.is_empty());
    world.owner.append("c", "bob", "missed");
    world.owner.away = None;
    world.pass_ms(3_000);
    assert!(world.owner.log("c").interest && world.hear(alice).len() == 1);
    assert_eq!(world.owner.fleet().sessions.len(), 1);
    assert!(!world.socket(alice).shut_down);
}

#[test]
fn watches_are_told_again_and_unchanged_presence_is_no_news() {
    let (mut world, alice) = ready();
    world.say(alice, &json!({"op": "watch", "users": ["carol", "dave"]}));
    let carol = user_key("carol");
    world.envelope(ToGateway::Presence { user: carol, online: true, last_seen: None });
    world.say(alice, &json!({"op": "unwatch", "users": ["dave"]}));
    assert_eq!(world.hear(alice).len(), 1);
    world.place(&[1, 2], |_| 2);
    world.pass_ms(1_000);
    assert_eq!(world.owner.fleet().watched.iter().collect::<Vec<_>>(), ["carol"]);
    world.envelope(ToGateway::Presence { user: carol, online: true, last_seen: None });
    assert!(world.hear(alice).is_empty());
    world.envelope(ToGateway::Presence { user: carol, online: false, last_seen: Some(1) });
    assert_eq!(world.hear(alice).len(), 1);
}

#[test]
fn the_conversations_of_a_session_that_opens_are_asked_of_whoever_has_them_by_now() {
    let mut world = World::cluster(clustered(), &[1, 2], |_| 1);
    for conversation in ["c", "a", "b"] {
        world.owner.conversation(conversation, &["alice"]);
        world.owner.append(conversation, "bob", "word");
    }
    world.owner.silent = true;
    let alice = world.websocket();
    world.say(alice, &json!({"op": "hello", "device": "d", "token": token("alice"), "cursors": [["b", 0]]}));
    world.owner.silent = false;
    let (_, open) = world.asked().pop().unwrap();
    world.owner.take_one(&open);
    world.owner.silent = true;
    let answer = world.owner.answers.pop_front().unwrap();
    world.envelope(answer);
    world.owner.silent = false;
    world.place(&[1, 2], |slot| if slot == slot_of("b") { 2 } else { 1 });
    let heard = world.hear(alice);
    assert_eq!(heard[0]["op"], "welcome");
    assert_eq!(heard[0]["conversations"].as_array().unwrap().len(), 3);
    assert_eq!(seqs(&heard), [1]);
    world.pass_ms(5_000);
    assert_eq!(world.owner.fleet().sessions.len(), 1);
}

#[test]
fn a_session_that_ended_before_it_was_answered_does_not_begin_again() {
    let (mut world, _) = ready();
    world.owner.cut(NodeId(1));
    let bob = world.websocket();
    world.say(bob, &json!({"op": "hello", "device": "d", "token": token("bob")}));
    world.end(bob, 0);
    world.up(1);
    world.pass_ms(7_000);
    assert_eq!(world.owner.fleet().sessions.keys().collect::<Vec<_>>(), [&user_key("alice")]);
    assert_eq!(world.shard.counters().requests, 0);
}

#[test]
fn an_owner_is_told_that_a_session_is_silent() {
    let (mut world, alice) = ready();
    world.down(1);
    world.pass_ms(65_000);
    assert!(world.owner.fleet().silent.is_empty());
    world.up(1);
    assert!(world.owner.fleet().silent.contains(&alice.to_bits()));
}

#[test]
fn interest_that_a_late_answer_gave_is_given_back() {
    let (mut world, alice) = ready();
    world.owner.fleet().held = true;
    world.owner.conversation("e", &["alice"]);
    let joined =
        ToGateway::Joined { connection: alice.to_bits(), conversation: crate::owner::key("e"), after: 0 };
    world.envelope(joined);
    world.pass_ms(6_100);
    world.end(alice, 0);
    world.owner.fleet().held = false;
    world.run();
    assert!(!world.owner.log("e").interest);
    assert_eq!(world.shard.counters().rooms, 0);
}

#[test]
fn many_rooms_are_told_in_pieces_and_all_of_them() {
    let mut world = World::cluster(clustered(), &[1, 2], |slot| 1 + slot.0 % 2);
    let names: Vec<_> = (0..900).map(|at| format!("r{at}")).collect();
    for name in &names {
        world.owner.conversation(name, &["alice"]);
    }
    let alice = world.session("alice", "d");
    let newer = table(&world.owner.fleet().table, &[1, 2], |slot| 2 - slot.0 % 2);
    world.owner.follow(Arc::clone(&newer));
    world.asked();
    world.complete(Completion::Table(newer));
    while world.shard.deadline().is_some_and(|deadline| deadline <= world.now.monotonic_ms) {
        world.complete(Completion::Tick);
        world.run();
    }
    world.pass_ms(1_000);
    assert!(world.asked().iter().all(|(_, envelope)| match envelope {
        ToRouter::Attach { items, .. } => items.len() <= 256,
        _ => true,
    }));
    for name in &names {
        assert!(world.owner.log(name).interest, "{name}");
        world.owner.append(name, "bob", "word");
    }
    world.run();
    assert_eq!(world.hear(alice).len(), 900);
}

#[test]
fn a_room_that_is_made_anew_while_its_slot_is_unsettled_keeps_its_interest() {
    let (mut world, alice) = ready();
    world.owner.conversation("c", &["alice", "bob"]);
    let before = Arc::clone(&world.owner.fleet().table);
    let newer = table(&before, &[1, 2], |slot| if slot == slot_of("c") { 2 } else { 1 });
    world.owner.follow(newer);
    world.say(alice, &send(1));
    world.end(alice, 0);
    let bob = world.websocket();
    world.say(bob, &json!({"op": "hello", "device": "d", "token": token("bob")}));
    world.owner.follow(before);
    world.pass_ms(200);
    assert_eq!(world.hear(bob)[0]["op"], "welcome");
    assert!(world.owner.log("c").interest, "the word that nobody was there is older");
}
