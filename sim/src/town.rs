//! Who lives in a run: two tenants with the same names, their users and devices, the conversations and first members.

use protocol::envelope::ConversationKind;
use protocol::event::Role;
use protocol::id::{ConversationId, ConversationKey, DeviceId, Tenant, UserId, UserKey};
use protocol::placement::Slot;

use crate::random::{Random, Span};
use crate::weather::Crowd;

/// A device of a user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resident {
    /// Whose.
    pub(crate) user: UserKey,
    /// Which.
    pub(crate) device: DeviceId,
}

/// A conversation as it is to be created.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Which.
    pub(crate) key: ConversationKey,
    /// What sort.
    pub(crate) kind: ConversationKind,
    /// Its first members, at least one, the first an owner.
    pub(crate) members: Vec<(UserId, Role)>,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Town {
    /// Every device.
    pub(crate) residents: Vec<Resident>,
    /// Every conversation.
    pub(crate) places: Vec<Place>,
}

impl Town {
    /// Draws a town.
    pub(crate) fn draw(random: &mut Random, crowd: &Crowd) -> Self {
        let mut town = Self { residents: Vec::new(), places: Vec::new() };
        town.settle(random, "default", crowd.users, crowd.conversations);
        town.settle(random, "other", crowd.users.div_ceil(2), crowd.conversations.div_ceil(2));
        town
    }

    fn settle(&mut self, random: &mut Random, tenant: &str, users: usize, conversations: usize) {
        let tenant = Tenant::parse(tenant).expect("an id");
        let users: Vec<UserId> =
            (0..users).map(|number| UserId::parse(format!("user{number}")).expect("an id")).collect();
        for user in &users {
            for device in 0..random.within(Span::new(1, 2)) {
                let device = DeviceId::parse(format!("device{device}")).expect("an id");
                self.residents.push(Resident { user: UserKey { tenant, user: *user }, device });
            }
        }
        for number in 0..conversations {
            let conversation = ConversationId::parse(format!("place{number}")).expect("an id");
            let kind = if random.below(4) == 0 { ConversationKind::Public } else { ConversationKind::Group };
            let key = ConversationKey { tenant, conversation };
            self.places.push(Place { key, kind, members: draw_members(random, &users) });
        }
    }

    /// The conversations of a tenant.
    pub(crate) fn places_of(&self, tenant: Tenant) -> Vec<ConversationId> {
        let mine = self.places.iter().filter(|place| place.key.tenant == tenant);
        mine.map(|place| place.key.conversation).collect()
    }

    /// The slots of everything that there is.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let conversations = self.places.iter().map(|place| Slot::of_conversation(&place.key));
        conversations.chain(self.residents.iter().map(|resident| Slot::of_user(&resident.user))).collect()
    }

    /// The users of a tenant.
    pub(crate) fn users_of(&self, tenant: Tenant) -> Vec<UserId> {
        let mine = self.residents.iter().filter(|resident| resident.user.tenant == tenant);
        let mut users: Vec<_> = mine.map(|resident| resident.user.user).collect();
        users.dedup();
        users
    }
}

fn draw_members(random: &mut Random, users: &[UserId]) -> Vec<(UserId, Role)> {
    let first = random.index(users.len());
    let mut members = vec![(users[first], Role::Owner)];
    for (index, user) in users.iter().enumerate() {
        if index != first && random.below(4) > 0 {
            let role = *random.pick(&[
                Role::Member,
                Role::Member,
                Role::Member,
                Role::Member,
                Role::Member,
                Role::Moderator,
                Role::Reader,
            ]);
            members.push((*user, role));
        }
    }
    members
}
