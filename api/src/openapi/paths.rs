//! The document's calls: what each takes and answers.

use protocol::limits::{PAGE_EVENTS_DEFAULT, PAGE_EVENTS_MAX, SEQ_MAX};
use serde_json::{Map, Value, json};

fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn json_of(name: &str) -> Value {
    json!({ "application/json": { "schema": schema(name) } })
}

fn answer(description: &str, name: &str) -> Value {
    json!({ "description": description, "content": json_of(name) })
}

/// A call's parts that differ; the rest is the same for all.
struct Call {
    name: &'static str,
    tag: &'static str,
    summary: &'static str,
    parameters: &'static [&'static str],
    body: Option<&'static str>,
    answers: Value,
    refusals: &'static [&'static str],
}

/// Refusals of every call that needs a token.
const COMMON: &[&str] = &["400", "401", "403", "404", "500", "503"];
/// And of those that write.
const WRITING: &[&str] = &["400", "401", "403", "404", "408", "409", "413", "500", "503"];
/// And of a send.
const SENDING: &[&str] = &["400", "401", "403", "404", "408", "409", "413", "429", "500", "503"];

impl Call {
    fn into_json(self) -> Value {
        let mut responses = self.answers;
        for status in self.refusals {
            responses[*status] = json!({ "$ref": format!("#/components/responses/{status}") });
        }
        let mut operation = json!({
            "operationId": self.name,
            "tags": [self.tag],
            "summary": self.summary,
            "parameters": self.parameters.iter().map(|name| parameter(name)).collect::<Value>(),
            "responses": responses,
        });
        if let Some(body) = self.body {
            operation["requestBody"] = json!({ "required": true, "content": json_of(body) });
        }
        if self.tag == "operation" {
            operation["security"] = json!([]);
        }
        operation
    }
}

/// Every call, by path and method.
pub(super) fn all() -> Value {
    let mut paths = Map::new();
    for group in [conversations(), members(), messages(), users(), cluster(), operation()] {
        for (method, path, call) in group {
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[method] = call.into_json();
        }
    }
    Value::Object(paths)
}

type Group = Vec<(&'static str, &'static str, Call)>;

fn conversations() -> Group {
    const PATH: &str = "/v1/conversations/{conversation}";
    let create = Call {
        name: "createConversation",
        tag: "conversations",
        summary: "Create a conversation. Harmless to repeat when `conversation` is given, and for a direct one always.",
        parameters: &["tenant"],
        body: Some("NewConversation"),
        answers: json!({
            "200": answer("It was there already.", "Conversation"),
            "201": answer("Created.", "Conversation"),
        }),
        refusals: WRITING,
    };
    let show = Call {
        name: "showConversation",
        tag: "conversations",
        summary: "Show a conversation.",
        parameters: &["conversation", "tenant"],
        body: None,
        answers: json!({ "200": answer("As it is now.", "Conversation") }),
        refusals: COMMON,
    };
    let rename = Call {
        name: "renameConversation",
        tag: "conversations",
        summary: "Change a conversation's title: for its owner.",
        parameters: &["conversation", "tenant"],
        body: Some("ConversationChange"),
        answers: json!({ "200": answer("As it is now.", "Conversation") }),
        refusals: WRITING,
    };
    let remove = Call {
        name: "removeConversation",
        tag: "conversations",
        summary: "Remove a conversation with its messages: for its owner.",
        parameters: &["conversation", "tenant"],
        body: None,
        answers: json!({ "200": answer("Gone.", "Nothing") }),
        refusals: COMMON,
    };
    vec![
        ("post", "/v1/conversations", create),
        ("get", PATH, show),
        ("patch", PATH, rename),
        ("delete", PATH, remove),
    ]
}

fn members() -> Group {
    const MEMBERS: &str = "/v1/conversations/{conversation}/members";
    const MEMBER: &str = "/v1/conversations/{conversation}/members/{user}";
    let list = Call {
        name: "listMembers",
        tag: "conversations",
        summary: "List members, by id.",
        parameters: &["conversation", "tenant", "afterMember", "entries"],
        body: None,
        answers: json!({ "200": answer("A part of the members.", "Members") }),
        refusals: COMMON,
    };
    let add = Call {
        name: "addMember",
        tag: "conversations",
        summary: "Add members; a public conversation's future member adds itself. Who is a member already keeps its role.",
        parameters: &["conversation", "tenant"],
        body: Some("NewMember"),
        answers: json!({ "200": answer("Members all.", "MemberChanged") }),
        refusals: WRITING,
    };
    let set_role = Call {
        name: "setRole",
        tag: "conversations",
        summary: "Give a member another role.",
        parameters: &["conversation", "user", "tenant"],
        body: Some("RoleChange"),
        answers: json!({ "200": answer("The member has the role.", "MemberChanged") }),
        refusals: WRITING,
    };
    let remove = Call {
        name: "removeMember",
        tag: "conversations",
        summary: "Remove a member; anyone removes itself.",
        parameters: &["conversation", "user", "tenant"],
        body: None,
        answers: json!({ "200": answer("No longer a member.", "MemberChanged") }),
        refusals: COMMON,
    };
    vec![
        ("get", MEMBERS, list),
        ("post", MEMBERS, add),
        ("patch", MEMBER, set_role),
        ("delete", MEMBER, remove),
    ]
}

fn messages() -> Group {
    const PATH: &str = "/v1/conversations/{conversation}/messages";
    let read = Call {
        name: "readMessages",
        tag: "conversations",
        summary: "A page of the conversation's log: the newest events, or those around one of four positions.",
        parameters: &["conversation", "tenant", "before", "after", "around", "since", "limit"],
        body: None,
        answers: json!({ "200": answer("Events, ascending by seq.", "Page") }),
        refusals: COMMON,
    };
    let send = Call {
        name: "sendMessage",
        tag: "conversations",
        summary: "Send a message. Once it is acknowledged it is durable; the same `id` again is stored no second time.",
        parameters: &["conversation", "tenant"],
        body: Some("NewMessage"),
        answers: json!({ "200": answer("Stored, or only passed on when `ephemeral`.", "Ack") }),
        refusals: SENDING,
    };
    vec![("get", PATH, read), ("post", PATH, send)]
}

fn users() -> Group {
    let conversations = Call {
        name: "listConversations",
        tag: "users",
        summary: "A user's chat list, newest first. A user sees its own.",
        parameters: &["user", "tenant", "afterEntry", "entries"],
        body: None,
        answers: json!({ "200": answer("A part of the chat list.", "ChatList") }),
        refusals: COMMON,
    };
    let presence = Call {
        name: "showPresence",
        tag: "users",
        summary: "Whether a user is online, and when it was last.",
        parameters: &["user", "tenant"],
        body: None,
        answers: json!({ "200": answer("As it is now.", "Presence") }),
        refusals: COMMON,
    };
    vec![
        ("get", "/v1/users/{user}/conversations", conversations),
        ("get", "/v1/users/{user}/presence", presence),
    ]
}

fn operation() -> Group {
    let call = |name, summary, answers| Call {
        name,
        tag: "operation",
        summary,
        parameters: &[],
        body: None,
        answers,
        refusals: &[],
    };
    let metrics_text =
        json!({ "description": "Prometheus text, version 0.0.4.", "content": { "text/plain": {} } });
    let document = json!({
        "description": "OpenAPI 3.1.",
        "content": { "application/json": { "schema": { "type": "object" } } },
    });
    vec![
        (
            "get",
            "/healthz",
            call("alive", "The process answers.", json!({ "200": answer("It does.", "Alive") })),
        ),
        (
            "get",
            "/readyz",
            call(
                "ready",
                "Messages are stored and delivered: a message of the server's own went all the way just now.",
                json!({ "200": answer("They are.", "Ready"), "503": answer("They are not.", "Ready") }),
            ),
        ),
        ("get", "/metrics", call("metrics", "What was counted.", json!({ "200": metrics_text }))),
        ("get", "/v1/openapi.json", call("document", "This document.", json!({ "200": document }))),
    ]
}

fn cluster() -> Group {
    let state = || json!({ "200": answer("The state, as it is then.", "Cluster") });
    let call = |name, summary, body, refusals| Call {
        name,
        tag: "cluster",
        summary,
        parameters: &[],
        body,
        answers: state(),
        refusals,
    };
    vec![
        (
            "get",
            "/v1/cluster",
            call("clusterStatus", "Which router node owns how many slots. For operators.", None, COMMON),
        ),
        (
            "post",
            "/v1/cluster/drain",
            call("drainNode", "Moves a router node's slots to the others.", Some("NodeName"), WRITING),
        ),
        (
            "post",
            "/v1/cluster/undrain",
            call("undrainNode", "Lets slots come to a router node again.", Some("NodeName"), WRITING),
        ),
        (
            "post",
            "/v1/cluster/move",
            call("moveSlot", "Moves one slot to a router node.", Some("SlotMove"), WRITING),
        ),
    ]
}

/// Parameters of paths, queries and heads.
pub(super) fn parameters() -> Value {
    let path = |name: &str, description: &str| json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema("Id") });
    let query = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "query", "description": description, "schema": schema });
    let position = || json!({ "type": "integer", "minimum": 0, "maximum": SEQ_MAX });
    json!({
        "conversation": path("conversation", "The conversation's id."),
        "user": path("user", "The user's id."),
        "tenant": {
            "name": "Murmuring-Tenant",
            "in": "header",
            "description": "With an API key: the tenant to act in. A token says its own.",
            "schema": { "$ref": "#/components/schemas/Id", "default": "default" }
        },
        "limit": query(
            "limit",
            "Most events of the answer.",
            json!({ "type": "integer", "minimum": 1, "maximum": PAGE_EVENTS_MAX, "default": PAGE_EVENTS_DEFAULT }),
        ),
        "entries": query(
            "limit",
            "Most entries of the answer.",
            json!({ "type": "integer", "minimum": 1, "maximum": PAGE_EVENTS_MAX, "default": PAGE_EVENTS_MAX }),
        ),
        "afterMember": query("after", "Members with a larger id.", schema("Id")),
        "afterEntry": query("after", "`next` of an earlier answer.", json!({ "type": "string" })),
        "before": query("before", "Events with a smaller seq, the nearest ones.", position()),
        "after": query("after", "Events with a larger seq, the nearest ones.", position()),
        "around": query("around", "Events on both sides of a seq, itself included.", position()),
        "since": query(
            "since",
            "Events of that time and later, the oldest ones; milliseconds since the Unix epoch.",
            position(),
        ),
    })
}

/// Refusals, by status.
pub(super) fn refusals() -> Value {
    let statuses = [
        ("400", "The request is malformed; `message` names the field."),
        ("401", "No valid token or API key."),
        ("403", "Known to the caller, but not allowed."),
        ("404", "Not there, or not for the caller to know of."),
        ("408", "The body came too slowly."),
        ("409", "The same id was used before for something else."),
        ("413", "Over a size limit."),
        ("429", "Over a rate; `retry_after_ms` and `Retry-After` say when to try again."),
        ("500", "A fault of the server."),
        ("503", "The store or an owner can't be reached: nothing was done, or the same request again tells."),
    ];
    statuses.into_iter().map(|(status, description)| (status, answer(description, "Error"))).collect()
}
