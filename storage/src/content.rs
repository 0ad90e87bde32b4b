//! The hash of what a client asked for: the same client id with the same content is a retry, with another a conflict.
//!
//! Neither the device nor any place or time is part of it. Stores hold these hashes: what is fed here never changes.

use protocol::event::{ArchivedContentV1, ArchivedEventV1};
use xxhash_rust::xxh3::Xxh3;

/// Feeds parts so that no two lists of parts feed the same bytes.
struct Parts(Xxh3);

impl Parts {
    fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
        self
    }

    fn optional_text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            None => self.number(0),
            Some(text) => self.number(1).text(text),
        }
    }

    fn optional_number(&mut self, number: Option<u64>) -> &mut Self {
        match number {
            None => self.number(0),
            Some(number) => self.number(1).number(number),
        }
    }
}

/// The hash of an event's content.
#[must_use]
pub fn hash(event: &ArchivedEventV1<'_>) -> u128 {
    let mut parts = Parts(Xxh3::new());
    match &event.content {
        ArchivedContentV1::Message { kind, body, meta, reply_to } => parts
            .number(1)
            .text(kind)
            .text(body)
            .optional_text(meta.as_deref())
            .optional_number(reply_to.as_ref().map(|seq| seq.to_native())),
        ArchivedContentV1::Edit { target, body } => parts.number(2).number(target.to_native()).text(body),
        ArchivedContentV1::Delete { target } => parts.number(3).number(target.to_native()),
        ArchivedContentV1::Reaction { target, emoji, remove } => {
            parts.number(4).number(target.to_native()).text(emoji).number(u64::from(*remove))
        }
        ArchivedContentV1::Joined { user, role } => parts.number(5).text(user).number(u64::from(*role as u8)),
        ArchivedContentV1::Left { user } => parts.number(6).text(user),
        ArchivedContentV1::Changed { title, user, role } => parts
            .number(7)
            .optional_text(title.as_deref())
            .optional_text(user.as_deref())
            .optional_number(role.as_ref().map(|role| u64::from(*role as u8))),
    };
    parts.0.digest128()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use protocol::event::{ContentV1, Draft, EventV1, Role};

    use super::*;

    fn hash_of(device: &str, content: ContentV1<'_>) -> u128 {
        let event = EventV1 {
            seq: 0,
            time: 0,
            lamport: 0,
            conversation: "c",
            sender: "alice",
            device,
            id: "1",
            content,
        };
        hash(Draft::encode(&event).unwrap().view())
    }

    #[test]
    fn every_part_that_a_client_gives_counts_and_nothing_else() {
        let message = |kind, body, meta, reply_to| ContentV1::Message { kind, body, meta, reply_to };
        let contents = [
            message("text", "hello", None, None),
            message("text", "hello", None, Some(0)),
            message("text", "hello", None, Some(1)),
            message("text", "hello", Some(""), None),
            message("text", "hello", Some("{}"), None),
            message("texthello", "", None, None),
            message("", "texthello", None, None),
            ContentV1::Edit { target: 1, body: "hello" },
            ContentV1::Edit { target: 2, body: "hello" },
            ContentV1::Delete { target: 1 },
            ContentV1::Reaction { target: 1, emoji: "+", remove: false },
            ContentV1::Reaction { target: 1, emoji: "+", remove: true },
            ContentV1::Joined { user: "bob", role: Role::Member },
            ContentV1::Joined { user: "bob", role: Role::Reader },
            ContentV1::Left { user: "bob" },
            ContentV1::Changed { title: Some("bob"), user: None, role: None },
            ContentV1::Changed { title: None, user: Some("bob"), role: None },
            ContentV1::Changed { title: None, user: Some("bob"), role: Some(Role::Owner) },
        ];
        let hashes: HashSet<u128> = contents.iter().map(|content| hash_of("phone", *content)).collect();
        assert_eq!(hashes.len(), contents.len());
        assert!(contents.iter().all(|content| hashes.contains(&hash_of("laptop", *content))));
    }

    #[test]
    fn the_hash_of_a_content_never_changes() {
        let message = ContentV1::Message { kind: "text", body: "hello", meta: None, reply_to: Some(3) };
        assert_eq!(hash_of("phone", message), GOLDEN);
    }

    /// Stores hold hashes that this function made.
    const GOLDEN: u128 = 196_486_661_075_023_495_119_297_894_013_253_138_628;
}
