//! A server's JSON frames: one object each, its `op` first, and no member for what does not apply.

use super::write::Object;
use crate::error::Refusal;
use crate::event::{ArchivedContentV1, ArchivedEventV1, ArchivedRole, Event, Role};
use crate::frame::{ChatListEntry, ClientLimits, ServerFrame};

/// Appends one frame.
#[expect(clippy::too_many_lines, reason = "one arm a frame, nothing else")]
pub(crate) fn encode(frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    match *frame {
        ServerFrame::Welcome { user, session, resume, heartbeat_ms, limits, conversations, more } => {
            let mut object = Object::frame(out, "welcome");
            object.plain("user", user.as_str());
            object.string("session", session);
            object.string("resume", resume);
            object.unsigned("heartbeat_ms", heartbeat_ms.into());
            client_limits(&limits, object.member("limits"));
            object.array("conversations", conversations, chat_list_entry);
            object.boolean("more", more);
            object.end();
        }
        ServerFrame::Ack { id, conversation, seq, time, duplicate } => {
            let mut object = Object::frame(out, "ack");
            object.plain("id", id.as_str());
            object.plain("conversation", conversation.as_str());
            object.optional("seq", seq);
            object.unsigned("time", time);
            object.boolean("duplicate", duplicate);
            object.end();
        }
        ServerFrame::Event(event) => frame_of_event("event", event, out),
        ServerFrame::Signal(event) => frame_of_event("signal", event, out),
        ServerFrame::Page { reference, conversation, events, head, more, trimmed } => {
            let mut object = Object::frame(out, "page");
            object.integer("ref", reference);
            object.plain("conversation", conversation.as_str());
            object.array("events", events, event);
            object.unsigned("head", head);
            object.boolean("more", more);
            object.optional("trimmed", trimmed);
            object.end();
        }
        ServerFrame::Synced { reference } => answer("synced", reference, out),
        ServerFrame::Receipt { conversation, user, received, read, received_count, read_count } => {
            let mut object = Object::frame(out, "receipt");
            object.plain("conversation", conversation.as_str());
            if let Some(user) = user {
                object.plain("user", user.as_str());
            }
            object.optional("received", received);
            object.optional("read", read);
            object.optional("received_count", received_count.map(u64::from));
            object.optional("read_count", read_count.map(u64::from));
            object.end();
        }
        ServerFrame::Typing { conversation, user, on } => {
            let mut object = Object::frame(out, "typing");
            object.plain("conversation", conversation.as_str());
            object.plain("user", user.as_str());
            object.boolean("on", on);
            object.end();
        }
        ServerFrame::Presence { user, online, last_seen } => {
            let mut object = Object::frame(out, "presence");
            object.plain("user", user.as_str());
            object.boolean("online", online);
            object.optional("last_seen", last_seen);
            object.end();
        }
        ServerFrame::Conversations { reference, conversations, next } => {
            let mut object = Object::frame(out, "conversations");
            object.integer("ref", reference);
            object.array("conversations", conversations, chat_list_entry);
            if let Some(next) = next {
                object.string("next", next);
            }
            object.end();
        }
        ServerFrame::Lagging { conversation, after, head } => {
            let mut object = Object::frame(out, "lagging");
            object.plain("conversation", conversation.as_str());
            object.unsigned("after", after);
            object.unsigned("head", head);
            object.end();
        }
        ServerFrame::Refreshed => Object::frame(out, "refreshed").end(),
        ServerFrame::Pong { reference } => answer("pong", reference, out),
        ServerFrame::Goaway { reason, reconnect_after_ms } => {
            let mut object = Object::frame(out, "goaway");
            object.string("reason", reason);
            object.unsigned("reconnect_after_ms", reconnect_after_ms.into());
            object.end();
        }
        ServerFrame::Error { reference, id, refusal } => {
            let mut object = Object::frame(out, "error");
            if let Some(reference) = reference {
                object.integer("ref", reference);
            }
            if let Some(id) = id {
                object.plain("id", id.as_str());
            }
            refusal_members(&refusal, &mut object);
            object.end();
        }
    }
}

/// Appends an event as an object without `op`: an element of a page.
pub(crate) fn event(event: &Event, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    event_members(event.view(), &mut object);
    object.end();
}

/// Appends a refusal as an object: `code`, `message`, and `retry_after_ms` where there is one.
pub(crate) fn refusal(refusal: &Refusal, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    refusal_members(refusal, &mut object);
    object.end();
}

fn refusal_members(refusal: &Refusal, object: &mut Object<'_>) {
    object.plain("code", refusal.code.name());
    object.string("message", refusal.message);
    object.optional("retry_after_ms", refusal.retry_after_ms.map(u64::from));
}

fn answer(op: &str, reference: i64, out: &mut Vec<u8>) {
    let mut object = Object::frame(out, op);
    object.integer("ref", reference);
    object.end();
}

fn frame_of_event(op: &str, event: &Event, out: &mut Vec<u8>) {
    let mut object = Object::frame(out, op);
    event_members(event.view(), &mut object);
    object.end();
}

fn event_members(event: &ArchivedEventV1<'_>, object: &mut Object<'_>) {
    object.string("conversation", &event.conversation);
    // A signal is in no log.
    object.optional("seq", Some(event.seq.to_native()).filter(|&seq| seq > 0));
    object.unsigned("time", event.time.to_native());
    object.unsigned("lamport", event.lamport.to_native());
    object.plain("type", event.content.type_name());
    object.string("sender", &event.sender);
    object.string("device", &event.device);
    object.string("id", &event.id);
    content_members(&event.content, object);
}

fn content_members(content: &ArchivedContentV1<'_>, object: &mut Object<'_>) {
    match content {
        ArchivedContentV1::Message { kind, body, meta, reply_to } => {
            object.string("kind", kind);
            object.string("body", body);
            if let Some(meta) = meta.as_ref() {
                object.json("meta", meta);
            }
            object.optional("reply_to", reply_to.as_ref().map(|seq| seq.to_native()));
        }
        ArchivedContentV1::Edit { target, body } => {
            object.unsigned("target", target.to_native());
            object.string("body", body);
        }
        ArchivedContentV1::Delete { target } => object.unsigned("target", target.to_native()),
        ArchivedContentV1::Reaction { target, emoji, remove } => {
            object.unsigned("target", target.to_native());
            object.string("emoji", emoji);
            object.boolean("remove", *remove);
        }
        ArchivedContentV1::Joined { user, role } => {
            object.string("user", user);
            object.plain("role", role_name(*role));
        }
        ArchivedContentV1::Left { user } => object.plain("user", user),
        ArchivedContentV1::Changed { title, user, role } => {
            if let Some(title) = title.as_ref() {
                object.string("title", title);
            }
            if let Some(user) = user.as_ref() {
                object.string("user", user);
            }
            if let Some(role) = role.as_ref() {
                object.plain("role", role_name(*role));
            }
        }
    }
}

fn role_name(role: ArchivedRole) -> &'static str {
    Role::from(role).name()
}

fn chat_list_entry(entry: &ChatListEntry, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    object.plain("conversation", entry.conversation.as_str());
    object.unsigned("head", entry.head);
    object.unsigned("read", entry.read);
    object.plain("role", entry.role.name());
    object.unsigned("lamport", entry.lamport);
    object.end();
}

fn client_limits(limits: &ClientLimits, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    object.unsigned("frame_bytes", limits.frame_bytes.into());
    object.unsigned("body_bytes", limits.body_bytes.into());
    object.unsigned("meta_bytes", limits.meta_bytes.into());
    object.unsigned("sends_per_second", limits.sends_per_second.into());
    object.unsigned("sends_burst", limits.sends_burst.into());
    object.unsigned("conversations_attached", limits.conversations_attached.into());
    object.unsigned("page_events", limits.page_events.into());
    object.end();
}
