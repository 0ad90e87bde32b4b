//! A session: who it is, what it is told first, and what it gets from then on.

use serde_json::json;

use crate::world::{World, request, token};

#[test]
fn a_message_goes_from_one_session_to_all_of_its_conversation() {
    let mut world = World::new();
    world.owner.conversation("c", &["alice", "bob"]);
    let (alice, bob) = (world.session("alice", "phone"), world.session("bob", "laptop"));
    world.say(alice, &json!({"op": "send", "id": "m1", "conversation": "c", "body": "hello"}));
    let heard = world.hear(alice);
    assert_eq!(heard[0]["op"], "ack");
    assert_eq!(
        (&heard[0]["id"], &heard[0]["seq"], &heard[0]["duplicate"]),
        (&json!("m1"), &json!(1), &json!(false))
    );
    assert_eq!((&heard[1]["op"], &heard[1]["seq"]), (&json!("event"), &json!(1)));
    let heard = world.hear(bob);
    assert_eq!(heard.len(), 1);
    assert_eq!(
        (&heard[0]["body"], &heard[0]["sender"], &heard[0]["device"]),
        (&json!("hello"), &json!("alice"), &json!("phone"))
    );
}

#[test]
fn a_token_is_taken_in_each_of_its_four_places() {
    let bearer = format!("Authorization: Bearer {}\r\n", token("alice"));
    let subprotocol = format!("Sec-WebSocket-Protocol: murmuring.v1.json, bearer.{}\r\n", token("alice"));
    let query = format!("/v1/connect?token={}", token("alice"));
    for (path, headers, hello) in [
        ("/v1/connect", bearer.as_str(), json!({"op": "hello", "device": "d"})),
        ("/v1/connect", subprotocol.as_str(), json!({"op": "hello", "device": "d"})),
        (query.as_str(), "", json!({"op": "hello", "device": "d"})),
        ("/v1/connect", "", json!({"op": "hello", "device": "d", "token": token("alice")})),
    ] {
        let mut world = World::new();
        let connection = world.accept(0);
        world.send_bytes(connection, request(path, headers).as_bytes());
        assert!(world.take_head(connection).starts_with("HTTP/1.1 101 "));
        world.say(connection, &hello);
        let welcome = world.hear(connection);
        assert_eq!((&welcome[0]["op"], &welcome[0]["user"]), (&json!("welcome"), &json!("alice")));
    }
}
