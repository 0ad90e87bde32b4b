//! Who lives in a fleet: users with one device each, and rooms of three sizes.

use protocol::envelope::ConversationKind;
use protocol::event::Role;
use protocol::id::{ConversationId, ConversationKey, DeviceId, Tenant, UserId, UserKey};

use super::settings::FleetSettings;
use crate::random::Random;
use crate::town::{Place, Resident, Town};

/// How large a room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Ten members.
    Small,
    /// A thousand, or a quarter of everybody where there are fewer than four thousand.
    Large,
    /// So many that every gateway shard has some.
    Everywhere,
}

impl Size {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Everywhere];

    /// What the table calls its rooms.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "room of 10",
            Self::Large => "large room",
            Self::Everywhere => "room everywhere",
        }
    }
}

/// Members of a small room.
const SMALL: usize = 10;
/// Small rooms of which each user is a member, as far as chance has it.
const SMALL_A_USER: usize = 2;
/// Members of a large room.
const LARGE: usize = 1_000;
/// Members that the room everywhere has for each gateway shard, and at most: no request creates more.
const MEMBERS_A_GATEWAY: usize = 12;
const MEMBERS_MAX: usize = 10_000;

/// A room: its members are the clients of these numbers.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) size: Size,
    pub(super) key: ConversationKey,
    pub(super) members: Vec<usize>,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    pub(super) rooms: Vec<Room>,
    users: Vec<UserKey>,
}

impl Rooms {
    /// Draws them.
    pub(super) fn draw(random: &mut Random, settings: &FleetSettings) -> Self {
        let clients = settings.clients as usize;
        let tenant = Tenant::parse("default").expect("an id");
        let user = |number| UserKey { tenant, user: UserId::parse(format!("u{number}")).expect("an id") };
        let mut rooms = Self { rooms: Vec::new(), users: (0..clients).map(user).collect() };
        for _ in 0..clients * SMALL_A_USER / SMALL {
            rooms.add(random, Size::Small, SMALL);
        }
        let large = LARGE.min(clients / 4);
        for _ in 0..clients / large {
            rooms.add(random, Size::Large, large);
        }
        let everywhere = MEMBERS_A_GATEWAY * settings.gateways() as usize;
        rooms.add(random, Size::Everywhere, everywhere.min(clients).min(MEMBERS_MAX));
        rooms
    }

    fn add(&mut self, random: &mut Random, size: Size, count: usize) {
        let conversation = ConversationId::parse(format!("room{}", self.rooms.len())).expect("an id");
        let key = ConversationKey { tenant: self.users[0].tenant, conversation };
        let members = draw_some(random, self.users.len(), count);
        self.rooms.push(Room { size, key, members });
    }

    /// The same as the simulator's town.
    pub(super) fn town(&self) -> Town {
        let device = DeviceId::parse("device").expect("an id");
        let residents = self.users.iter().map(|user| Resident { user: *user, device }).collect();
        let role = |index| if index == 0 { Role::Owner } else { Role::Member };
        let members = |room: &Room| {
            room.members
                .iter()
                .enumerate()
                .map(|(index, user)| (self.users[*user].user, role(index)))
                .collect()
        };
        let place =
            |room: &Room| Place { key: room.key, kind: ConversationKind::Group, members: members(room) };
        Town { residents, places: self.rooms.iter().map(place).collect() }
    }

    /// The user of a client.
    pub(super) fn user(&self, client: usize) -> &UserKey {
        &self.users[client]
    }

    /// Rooms of a size.
    pub(super) fn of(&self, size: Size) -> impl Iterator<Item = &Room> {
        self.rooms.iter().filter(move |room| room.size == size)
    }
}

/// So many different numbers below a bound, in any order.
fn draw_some(random: &mut Random, bound: usize, count: usize) -> Vec<usize> {
    let mut taken = std::collections::BTreeSet::new();
    let mut some = Vec::with_capacity(count);
    while some.len() < count {
        let number = random.index(bound);
        if taken.insert(number) {
            some.push(number);
        }
    }
    some
}
