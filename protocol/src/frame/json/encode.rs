//! A server's JSON frames: one object each, its `op` first, and no member for what does not apply.

use super::write::{Object, name};
use crate::error::Refusal;
use crate::event::{ArchivedContentV1, ArchivedEventV1, ArchivedRole, Event, Role};
use crate::frame::{ChatListEntry, ClientLimits, ServerFrame};

/// Appends one frame.
#[expect(clippy::too_many_lines, reason = "one arm a frame, nothing else")]
pub(crate) fn encode(frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    match *frame {
        ServerFrame::Welcome { user, session, resume, heartbeat_ms, limits, conversations, more } => {
            let mut object = Object::frame(out, "welcome");
            object.plain(name!("user"), user.as_bytes());
            object.string(name!("session"), session);
            object.string(name!("resume"), resume);
            object.unsigned(name!("heartbeat_ms"), heartbeat_ms.into());
            client_limits(&limits, object.member(name!("limits")));
            object.array(name!("conversations"), conversations, chat_list_entry);
            object.boolean(name!("more"), more);
            object.end();
        }
        ServerFrame::Ack { id, conversation, seq, time, duplicate } => {
            let mut object = Object::frame(out, "ack");
            object.plain(name!("id"), id.as_bytes());
            object.plain(name!("conversation"), conversation.as_bytes());
            object.optional(name!("seq"), seq);
            object.unsigned(name!("time"), time);
            object.boolean(name!("duplicate"), duplicate);
            object.end();
        }
        ServerFrame::Event(event) => frame_of_event("event", event, out),
        ServerFrame::Signal(event) => frame_of_event("signal", event, out),
        ServerFrame::Page { reference, conversation, events, head, more, trimmed } => {
            let mut object = Object::frame(out, "page");
            object.integer(name!("ref"), reference);
            object.plain(name!("conversation"), conversation.as_bytes());
            object.array(name!("events"), events, event);
            object.unsigned(name!("head"), head);
            object.boolean(name!("more"), more);
            object.optional(name!("trimmed"), trimmed);
            object.end();
        }
        ServerFrame::Synced { reference } => answer("synced", reference, out),
        ServerFrame::Receipt { conversation, user, received, read, received_count, read_count } => {
            let mut object = Object::frame(out, "receipt");
            object.plain(name!("conversation"), conversation.as_bytes());
            if let Some(user) = user {
                object.plain(name!("user"), user.as_bytes());
            }
            object.optional(name!("received"), received);
            object.optional(name!("read"), read);
            object.optional(name!("received_count"), received_count.map(u64::from));
            object.optional(name!("read_count"), read_count.map(u64::from));
            object.end();
        }
        ServerFrame::Typing { conversation, user, on } => {
            let mut object = Object::frame(out, "typing");
            object.plain(name!("conversation"), conversation.as_bytes());
            object.plain(name!("user"), user.as_bytes());
            object.boolean(name!("on"), on);
            object.end();
        }
        ServerFrame::Presence { user, online, last_seen } => {
            let mut object = Object::frame(out, "presence");
            object.plain(name!("user"), user.as_bytes());
            object.boolean(name!("online"), online);
            object.optional(name!("last_seen"), last_seen);
            object.end();
        }
        ServerFrame::Conversations { reference, conversations, next } => {
            let mut object = Object::frame(out, "conversations");
            object.integer(name!("ref"), reference);
            object.array(name!("conversations"), conversations, chat_list_entry);
            if let Some(next) = next {
                object.string(name!("next"), next);
            }
            object.end();
        }
        ServerFrame::Lagging { conversation, after, head } => {
            let mut object = Object::frame(out, "lagging");
            object.plain(name!("conversation"), conversation.as_bytes());
            object.unsigned(name!("after"), after);
            object.unsigned(name!("head"), head);
            object.end();
        }
        ServerFrame::Refreshed => Object::frame(out, "refreshed").end(),
        ServerFrame::Pong { reference } => answer("pong", reference, out),
        ServerFrame::Goaway { reason, reconnect_after_ms } => {
            let mut object = Object::frame(out, "goaway");
            object.string(name!("reason"), reason);
            object.unsigned(name!("reconnect_after_ms"), reconnect_after_ms.into());
            object.end();
        }
        ServerFrame::Error { reference, id, refusal } => {
            let mut object = Object::frame(out, "error");
            if let Some(reference) = reference {
                object.integer(name!("ref"), reference);
            }
            if let Some(id) = id {
                object.plain(name!("id"), id.as_bytes());
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
    object.plain(name!("code"), refusal.code.name());
    object.string(name!("message"), refusal.message);
    object.optional(name!("retry_after_ms"), refusal.retry_after_ms.map(u64::from));
}

fn answer(op: &str, reference: i64, out: &mut Vec<u8>) {
    let mut object = Object::frame(out, op);
    object.integer(name!("ref"), reference);
    object.end();
}

fn frame_of_event(op: &str, event: &Event, out: &mut Vec<u8>) {
    let mut object = Object::frame(out, op);
    event_members(event.view(), &mut object);
    object.end();
}

fn event_members(event: &ArchivedEventV1<'_>, object: &mut Object<'_>) {
    object.string(name!("conversation"), &event.conversation);
    // A signal is in no log.
    object.optional(name!("seq"), Some(event.seq.to_native()).filter(|&seq| seq > 0));
    object.unsigned(name!("time"), event.time.to_native());
    object.unsigned(name!("lamport"), event.lamport.to_native());
    object.plain(name!("type"), event.content.type_name());
    object.string(name!("sender"), &event.sender);
    object.string(name!("device"), &event.device);
    object.string(name!("id"), &event.id);
    content_members(&event.content, object);
}

fn content_members(content: &ArchivedContentV1<'_>, object: &mut Object<'_>) {
    match content {
        ArchivedContentV1::Message { kind, body, meta, reply_to } => {
            object.string(name!("kind"), kind);
            object.string(name!("body"), body);
            if let Some(meta) = meta.as_ref() {
                object.json(name!("meta"), meta);
            }
            object.optional(name!("reply_to"), reply_to.as_ref().map(|seq| seq.to_native()));
        }
        ArchivedContentV1::Edit { target, body } => {
            object.unsigned(name!("target"), target.to_native());
            object.string(name!("body"), body);
        }
        ArchivedContentV1::Delete { target } => object.unsigned(name!("target"), target.to_native()),
        ArchivedContentV1::Reaction { target, emoji, remove } => {
            object.unsigned(name!("target"), target.to_native());
            object.string(name!("emoji"), emoji);
            object.boolean(name!("remove"), *remove);
        }
        ArchivedContentV1::Joined { user, role } => {
            object.string(name!("user"), user);
            object.plain(name!("role"), role_name(*role));
        }
        ArchivedContentV1::Left { user } => object.plain(name!("user"), user.as_bytes()),
        ArchivedContentV1::Changed { title, user, role } => {
            if let Some(title) = title.as_ref() {
                object.string(name!("title"), title);
            }
            if let Some(user) = user.as_ref() {
                object.string(name!("user"), user);
            }
            if let Some(role) = role.as_ref() {
                object.plain(name!("role"), role_name(*role));
            }
        }
    }
}

fn role_name(role: ArchivedRole) -> &'static str {
    Role::from(role).name()
}

fn chat_list_entry(entry: &ChatListEntry, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    object.plain(name!("conversation"), entry.conversation.as_bytes());
    object.unsigned(name!("head"), entry.head);
    object.unsigned(name!("read"), entry.read);
    object.plain(name!("role"), entry.role.name());
    object.unsigned(name!("lamport"), entry.lamport);
    object.end();
}

fn client_limits(limits: &ClientLimits, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    object.unsigned(name!("frame_bytes"), limits.frame_bytes.into());
    object.unsigned(name!("body_bytes"), limits.body_bytes.into());
    object.unsigned(name!("meta_bytes"), limits.meta_bytes.into());
    object.unsigned(name!("sends_per_second"), limits.sends_per_second.into());
    object.unsigned(name!("sends_burst"), limits.sends_burst.into());
    object.unsigned(name!("conversations_attached"), limits.conversations_attached.into());
    object.unsigned(name!("page_events"), limits.page_events.into());
    object.end();
}
