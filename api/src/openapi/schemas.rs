//! The document's schemas: the bodies of requests and answers.

use protocol::limits::{KIND_BYTES_MAX, SEQ_MAX, TITLE_BYTES_MAX};
use serde_json::{Map, Value, json};

use crate::conversations::CREATE_MEMBERS_MAX;
use crate::members::ADD_MEMBERS_MAX;

fn id() -> Value {
    json!({ "$ref": "#/components/schemas/Id" })
}

fn role() -> Value {
    json!({ "$ref": "#/components/schemas/Role" })
}

fn seq() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": SEQ_MAX })
}

fn count(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn time() -> Value {
    count("Milliseconds since the Unix epoch.")
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn boolean(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

fn object(required: &[&str], properties: &Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

/// Every schema, by name.
pub(super) fn all() -> Value {
    let mut schemas = Map::new();
    for group in [words(), requests(), conversations(), messages(), users(), cluster()] {
        for (name, schema) in group {
            schemas.insert(name.into(), schema);
        }
    }
    Value::Object(schemas)
}

type Group = Vec<(&'static str, Value)>;

fn cluster() -> Group {
    let node = object(
        &["name", "number", "address", "cores", "slots", "slots_of_cores", "draining"],
        &json!({
            "name": text(),
            "number": count("Given by the store."),
            "address": { "type": "string", "description": "Where it takes links." },
            "cores": count("Router shards."),
            "slots": count("Slots that it owns."),
            "slots_of_cores": { "type": "array", "items": count("Slots of one core.") },
            "draining": boolean("It is being emptied."),
        }),
    );
    let nodes = json!({ "type": "array", "items": node });
    let state = json!({
        "epoch": count("Of the placement table; it grows with every change."),
        "nodes": nodes,
        "unowned": count("Slots that nobody owns."),
    });
    let slot = json!({ "type": "integer", "minimum": 0, "maximum": protocol::placement::SLOTS - 1 });
    vec![
        ("Cluster", object(&["epoch", "nodes", "unowned"], &state)),
        ("NodeName", object(&["node"], &json!({ "node": text() }))),
        (
            "SlotMove",
            object(
                &["slot", "node"],
                &json!({ "slot": slot, "node": text(), "core": count("One of its cores.") }),
            ),
        ),
    ]
}

fn words() -> Group {
    let codes = [
        "bad_request",
        "unauthorized",
        "forbidden",
        "not_found",
        "conflict",
        "too_large",
        "rate_limited",
        "unavailable",
        "internal",
    ];
    let reason = json!({
        "code": { "type": "string", "enum": codes },
        "message": { "type": "string", "description": "One sentence for a person." },
        "retry_after_ms": count("A retry may succeed after so many milliseconds; absent when none can."),
    });
    let mut error = reason.clone();
    error["error"] = object(&["code", "message"], &reason);
    vec![
        ("Id", json!({ "type": "string", "pattern": "^[A-Za-z0-9._:@|~-]{1,64}$" })),
        ("Role", json!({ "type": "string", "enum": ["owner", "moderator", "member", "reader"] })),
        ("Kind", json!({ "type": "string", "enum": ["direct", "group", "public"] })),
        ("Nothing", json!({ "type": "object", "maxProperties": 0 })),
        ("Error", object(&["code", "message", "error"], &error)),
        ("Alive", object(&["alive"], &json!({ "alive": { "const": true } }))),
        (
            "Ready",
            object(
                &["ready"],
                &json!({ "ready": boolean("True with status 200."), "reason": { "type": "string", "description": "Why not." } }),
            ),
        ),
    ]
}

fn requests() -> Group {
    let member = json!({ "anyOf": [id(), object(&["user"], &json!({ "user": id(), "role": role() }))] });
    let title = json!({ "type": ["string", "null"], "description": format!("At most {TITLE_BYTES_MAX} bytes of UTF-8.") });
    let members = |most: usize| json!({ "type": "array", "maxItems": most, "items": member });
    let change_id =
        json!({ "allOf": [id()], "description": "Makes a retry harmless: the same change is stored once." });
    let new_conversation = json!({
        "conversation": { "allOf": [id()], "description": "Made by the server when absent. Never for a direct one." },
        "kind": { "$ref": "#/components/schemas/Kind", "default": "group" },
        "title": title.clone(),
        "members": members(CREATE_MEMBERS_MAX),
    });
    let one = object(
        &[],
        &json!({
            "user": { "allOf": [id()], "description": "Absent: the user who asks." },
            "role": { "allOf": [role()], "default": "member" }, "id": change_id.clone() }),
    );
    let several = object(&["members"], &json!({ "members": members(ADD_MEMBERS_MAX) }));
    let new_message = json!({
        "id": { "allOf": [id()], "description": "Client message id: stored at most once for conversation, sender and id." },
        "body": { "type": "string", "description": "At most as many bytes of UTF-8 as `limits.body_bytes` allows." },
        "kind": { "type": "string", "minLength": 1, "maxLength": KIND_BYTES_MAX, "default": "text" },
        "meta": { "type": "object" },
        "reply_to": seq(),
        "sender": { "allOf": [id()], "description": "With an API key: in whose name; `system` when absent." },
        "ephemeral": { "type": "boolean", "default": false, "description": "Passed on to who is there, never stored." },
    });
    vec![
        ("NewConversation", object(&[], &new_conversation)),
        ("ConversationChange", object(&["title"], &json!({ "title": title, "id": change_id.clone() }))),
        ("NewMember", json!({ "anyOf": [one, several] })),
        ("RoleChange", object(&["role"], &json!({ "role": role(), "id": change_id }))),
        ("NewMessage", object(&["id", "body"], &new_message)),
    ]
}

fn conversations() -> Group {
    let conversation = json!({
        "conversation": id(),
        "kind": { "$ref": "#/components/schemas/Kind" },
        "title": text(),
        "created": time(),
        "head": count("Its last seq; 0 when nothing was sent yet."),
        "lamport": count("Lamport stamp of its last event: the order of chat lists."),
        "member_count": count("How many members it has."),
    });
    let member = object(&["user", "role"], &json!({ "user": id(), "role": role() }));
    let changed = json!({
        "user": id(),
        "role": role(),
        "seq": seq(),
        "time": time(),
        "duplicate": boolean("True when nothing had to change, or the change was stored before."),
    });
    let changed = object(&["user", "duplicate"], &changed);
    let several = object(&["members"], &json!({ "members": { "type": "array", "items": changed.clone() } }));
    let required = ["conversation", "kind", "created", "head", "lamport", "member_count"];
    let members = json!({
        "members": { "type": "array", "items": member },
        "more": boolean("True when there are more."),
        "next": { "allOf": [id()], "description": "Give this as `after` for more." },
    });
    vec![
        ("Conversation", object(&required, &conversation)),
        ("Members", object(&["members", "more"], &members)),
        ("MemberChanged", json!({ "anyOf": [changed, several] })),
    ]
}

fn messages() -> Group {
    let types = ["message", "edit", "delete", "reaction", "joined", "left", "changed"];
    let event = json!({
        "op": { "const": "event" },
        "conversation": id(),
        "seq": seq(),
        "time": time(),
        "lamport": count("Lamport stamp."),
        "type": { "type": "string", "enum": types },
        "sender": id(),
        "device": id(),
        "id": id(),
        "kind": text(),
        "body": text(),
        "meta": { "type": "object" },
        "reply_to": seq(),
        "target": seq(),
        "emoji": text(),
        "remove": boolean("True: the reaction is taken back."),
        "title": text(),
        "user": id(),
        "role": role(),
    });
    let required = ["conversation", "seq", "time", "lamport", "type", "sender", "device", "id"];
    let ack = json!({
        "op": { "const": "ack" },
        "id": id(),
        "conversation": id(),
        "seq": seq(),
        "time": time(),
        "duplicate": boolean("True when this id had been stored before: `seq` is the first one's."),
    });
    let page = json!({
        "op": { "const": "page" },
        "conversation": id(),
        "events": { "type": "array", "items": { "$ref": "#/components/schemas/Event" } },
        "head": count("The log's last seq."),
        "more": boolean("True when there are more events in the direction asked for."),
        "trimmed": seq(),
    });
    vec![
        ("Event", object(&required, &event)),
        ("Ack", object(&["op", "id", "conversation", "time", "duplicate"], &ack)),
        ("Page", object(&["op", "conversation", "events", "head", "more"], &page)),
    ]
}

fn users() -> Group {
    let entry = json!({
        "conversation": id(),
        "head": count("Its last seq."),
        "read": count("Read up to here."),
        "unread": count("`head` less `read`."),
        "role": role(),
        "lamport": count("The order of the list, descending."),
    });
    let entry = object(&["conversation", "head", "read", "unread", "role", "lamport"], &entry);
    let list = json!({
        "user": id(),
        "conversations": { "type": "array", "items": entry },
        "more": boolean("True when there are more."),
        "next": { "type": "string", "description": "Give this as `after` for more." },
    });
    let presence = json!({
        "user": id(),
        "online": boolean("True: at least one device is connected."),
        "last_seen": time(),
    });
    vec![
        ("ChatList", object(&["user", "conversations", "more"], &list)),
        ("Presence", object(&["user", "online"], &presence)),
    ]
}
