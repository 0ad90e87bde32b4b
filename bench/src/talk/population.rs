//! Who is a member of what. Clients and conversations are numbered from 0, and so near to one another that a client's
//! conversations, and a conversation's clients, follow from the numbers.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::report::Progress;
use crate::server::api::each_parallel;
use crate::server::{Api, ServerError};
use crate::swarm::name;

/// Calls of the HTTP API at once: each waits for the disk.
const CALLS: usize = 12;
/// Members that one creation, and one addition, of this generator names.
const CREATE_MEMBERS_MAX: u32 = 10_000;
const ADD_MEMBERS: usize = 200;
/// How often the progress is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Conversations and their members. Either a conversation has several members, who have no other; or a client has several
/// conversations, and is alone in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Population {
    /// What the names of the conversations begin with.
    prefix: String,
    conversations: u32,
    members: u32,
    /// Conversations of a client.
    attached: u32,
}

impl Population {
    /// `conversations` of `members` clients each.
    #[must_use]
    pub fn of_rooms(scenario: &str, conversations: u32, members: u32) -> Self {
        let prefix = format!("{scenario}-{conversations}x{members}-");
        Self { prefix, conversations, members, attached: 1 }
    }

    /// `conversations` of one client each, who has up to `attached` of them.
    #[must_use]
    pub fn of_notes(scenario: &str, conversations: u32, attached: u32) -> Self {
        let prefix = format!("{scenario}-{conversations}of{attached}-");
        Self { prefix, conversations, members: 1, attached: attached.max(1) }
    }

    /// Conversations in all.
    #[must_use]
    pub fn conversations(&self) -> u32 {
        self.conversations
    }

    /// Clients in all.
    #[must_use]
    pub fn clients(&self) -> u32 {
        self.conversations.div_ceil(self.attached) * self.members
    }

    /// Members of a conversation.
    #[must_use]
    pub fn members(&self) -> u32 {
        self.members
    }

    /// The id of a conversation.
    #[must_use]
    pub fn conversation(&self, number: u32) -> String {
        format!("{}{number}", self.prefix)
    }

    /// The number of a conversation of this population.
    #[must_use]
    pub fn number(&self, conversation: &str) -> Option<u32> {
        let number = conversation.strip_prefix(&self.prefix)?.parse().ok()?;
        (number < self.conversations).then_some(number)
    }

    /// The conversations of a client.
    #[must_use]
    pub fn conversations_of(&self, client: u32) -> Range<u32> {
        let first = client / self.members * self.attached;
        first..(first + self.attached).min(self.conversations)
    }

    /// The clients of a conversation.
    #[must_use]
    pub fn clients_of(&self, conversation: u32) -> Range<u32> {
        let first = conversation / self.attached * self.members;
        first..first + self.members
    }

    /// The place of a client in a conversation among those of a thread whose first client is `first`; `None` when it is no
    /// member.
    #[must_use]
    pub fn place(&self, first: u32, client: u32, conversation: u32) -> Option<u32> {
        let conversations = self.conversations_of(client);
        let within =
            conversation.checked_sub(conversations.start).filter(|_| conversation < conversations.end)?;
        Some((client - first) * self.attached + within)
    }

    /// The conversations of the places of a thread, in the order of [`Population::place`].
    pub fn places(&self, clients: Range<u32>) -> impl Iterator<Item = u32> + '_ {
        clients.flat_map(|client| {
            let first = client / self.members * self.attached;
            // The last client may have fewer; its other places are never begun.
            (first..first + self.attached).map(|number| number.min(self.conversations - 1))
        })
    }

    /// Makes all conversations with their members. One that is there already is left as it is.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub fn create(&self, api: &Api) -> Result<(), ServerError> {
        let users = |clients: Range<u32>| clients.map(name::user).collect::<Vec<String>>();
        let first = |number: u32| {
            let clients = self.clients_of(number);
            clients.start..clients.end.min(clients.start + CREATE_MEMBERS_MAX)
        };
        in_parallel("conversations", u64::from(self.conversations), 0..self.conversations, |number| {
            api.create(&self.conversation(number), &users(first(number)))
        })?;
        let further = |number: u32| {
            let clients = first(number).end..self.clients_of(number).end;
            let end = clients.end;
            clients
                .step_by(ADD_MEMBERS)
                .map(move |start| (number, start..end.min(start + ADD_MEMBERS as u32)))
        };
        let additions: Vec<(u32, Range<u32>)> = (0..self.conversations).flat_map(further).collect();
        in_parallel(
            "additions of members",
            additions.len() as u64,
            additions.into_iter(),
            |(number, clients)| api.add(&self.conversation(number), &users(clients)),
        )
    }
}

/// Does `work` on each item, several at a time, and says on a terminal how far it is.
fn in_parallel<T: Send>(
    what: &str,
    all: u64,
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> Result<(), ServerError> + Send + Sync,
) -> Result<(), ServerError> {
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        let working = scope.spawn(|| each_parallel(items, CALLS, &done, work));
        let mut progress = Progress::new();
        while !working.is_finished() {
            progress.show(|| format!("{} of {all} {what}", done.load(Ordering::Relaxed)));
            thread::sleep(GLANCE);
        }
        working.join().expect("no panic")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_and_their_clients_follow_from_the_numbers() {
        let rooms = Population::of_rooms("rooms", 3, 4);
        assert_eq!((rooms.clients(), rooms.clients_of(2)), (12, 8..12));
        assert_eq!(rooms.conversations_of(7), 1..2);
        assert_eq!((rooms.place(4, 7, 1), rooms.place(4, 7, 0), rooms.place(4, 7, 2)), (Some(3), None, None));
        assert_eq!(rooms.places(4..9).collect::<Vec<_>>(), [1, 1, 1, 1, 2]);
        assert_eq!(rooms.number(&rooms.conversation(2)), Some(2));
        assert_eq!(
            (rooms.number("rooms-3x4-3"), rooms.number("rooms-3x5-1"), rooms.number("other")),
            (None, None, None)
        );
    }

    #[test]
    fn notes_and_their_clients_follow_from_the_numbers() {
        let notes = Population::of_notes("durable", 5, 2);
        assert_eq!((notes.clients(), notes.clients_of(3), notes.conversations_of(1)), (3, 1..2, 2..4));
        assert_eq!(notes.conversations_of(2), 4..5);
        assert_eq!(
            (notes.place(1, 2, 4), notes.place(1, 2, 5), notes.place(1, 1, 3)),
            (Some(2), None, Some(1))
        );
        assert_eq!(notes.places(1..3).collect::<Vec<_>>(), [2, 3, 4, 4]);
    }
}
