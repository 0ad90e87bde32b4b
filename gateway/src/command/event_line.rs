//! An event as a line for people: time, conversation, place, and what happened. What others wrote can't move the
//! cursor or colour the terminal.

use serde_json::Value;

use crate::log::Timestamp;

/// The line of an `event` or `signal` frame, without a line feed.
pub(super) fn line(event: &Value) -> String {
    let time = Timestamp { unix_ms: event["time"].as_u64().unwrap_or(0) }.to_string();
    let text = |name: &str| event[name].as_str().unwrap_or("?").to_owned();
    let place = match event["seq"].as_u64() {
        Some(seq) => format!("#{seq}"),
        None => "(not stored)".to_owned(),
    };
    let line = format!("{} {} {place} {}", &time[11..19], text("conversation"), what(event, text));
    line.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}

fn what(event: &Value, text: impl Fn(&str) -> String) -> String {
    let sender = text("sender");
    let target = event["target"].as_u64().unwrap_or(0);
    match event["type"].as_str() {
        Some("message") | None => match event["reply_to"].as_u64() {
            Some(seq) => format!("{sender} (to #{seq}): {}", text("body")),
            None => format!("{sender}: {}", text("body")),
        },
        Some("edit") => format!("{sender} edited #{target}: {}", text("body")),
        Some("delete") => format!("{sender} deleted #{target}"),
        Some("reaction") if event["remove"] == true => {
            format!("{sender} took {} back from #{target}", text("emoji"))
        }
        Some("reaction") => format!("{sender} reacted to #{target} with {}", text("emoji")),
        Some("joined") => format!("{} joined as {}", text("user"), text("role")),
        Some("left") => format!("{} left", text("user")),
        Some("changed") if event["user"].is_string() => {
            format!("{sender} made {} {}", text("user"), text("role"))
        }
        Some("changed") => match event["title"].as_str() {
            Some(title) => format!("{sender} changed the title to {title}"),
            None => format!("{sender} took the title away"),
        },
        Some(other) => format!("{sender}: ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_it_holds() {
        let event = json!({
            "op": "event", "type": "message", "conversation": "general", "seq": 5, "time": 43_200_000u64,
            "sender": "alice", "body": "two\nlines\u{1b}[31m",
        });
        assert_eq!(line(&event), "12:00:00 general #5 alice: two lines [31m");
    }

    #[test]
    fn every_type_has_its_words() {
        let base =
            json!({ "conversation": "c", "seq": 2, "time": 0, "sender": "a", "target": 1, "user": "b" });
        for (with, words) in [
            (json!({ "type": "edit", "body": "new" }), "a edited #1: new"),
            (json!({ "type": "delete" }), "a deleted #1"),
            (json!({ "type": "reaction", "emoji": "x" }), "a reacted to #1 with x"),
            (json!({ "type": "reaction", "emoji": "x", "remove": true }), "a took x back from #1"),
            (json!({ "type": "joined", "role": "member" }), "b joined as member"),
            (json!({ "type": "left" }), "b left"),
            (json!({ "type": "changed", "role": "owner" }), "a made b owner"),
            (json!({ "type": "changed", "user": null, "title": "T" }), "a changed the title to T"),
            (json!({ "type": "changed", "user": null }), "a took the title away"),
        ] {
            let mut event = base.clone();
            event.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
            assert_eq!(line(&event), format!("00:00:00 c #2 {words}"));
        }
    }
}
