//! The API's place in a run: creates the conversations, changes memberships, asks what an operator asks. Talks to router
//! shards as the HTTP API does, and holds them to one answer a request.

use std::collections::BTreeMap;

use protocol::envelope::{
    Actor, Authority, Caller, Change, ConversationKind, GatewayId, Member, ToGateway, ToRouter,
};
use protocol::event::Role;
use protocol::id::{ClientId, ConversationKey, UserId, UserKey};
use protocol::placement::Slot;

use crate::checker::{Checker, Violation};
use crate::cluster::Event;
use crate::coverage::Mark;
use crate::desk::{Asked, Desk};
use crate::random::{Chance, Random, Span};
use crate::town::{Place, Town};
use crate::weather::Crowd;
use crate::world::World;

/// How soon what was refused for now is tried again, microseconds.
const RETRY_US: Span = Span::new(10_000, 300_000);
/// From a full mailbox to taking the mail, microseconds.
const MAIL_US: Span = Span::new(1, 2_000);

/// Errands under way at a time.
const ASKED_MAX: usize = 32;

/// What is asked of a router shard.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a few dozen at a time")]
enum Errand {
    Create(Place),
    Change { key: ConversationKey, actor: Actor, id: ClientId, change: Change },
    Show(ConversationKey),
    Members(ConversationKey),
    ChatList(UserKey),
    Presence(UserKey),
}

/// The API.
#[derive(Debug)]
pub(crate) struct Office {
    town: Town,
    routers: u16,
    change_us: Span,
    gives_up: Chance,
    /// To be asked, first or again.
    todo: Vec<Errand>,
    asked: BTreeMap<u64, (Asked, Errand)>,
    count: u64,
    mail_planned: bool,
}

impl Office {
    /// An API whose first errands are the town's conversations.
    pub(crate) fn new(world: &mut World<Event>, town: Town, routers: u16, crowd: &Crowd) -> Self {
        let todo = town.places.iter().cloned().map(Errand::Create).collect();
        world.plan_within(RETRY_US, Event::OfficeStep);
        let Crowd { change_us, gives_up, .. } = *crowd;
        let asked = BTreeMap::new();
        Self { town, routers, change_us, gives_up, todo, asked, count: 0, mail_planned: false }
    }

    /// What was asked of the former node is asked again.
    pub(crate) fn node_started(&mut self, world: &mut World<Event>) {
        let lost = std::mem::take(&mut self.asked);
        self.todo.extend(lost.into_values().map(|(_, errand)| errand));
        self.mail_planned = false;
        world.trace(|| format!("the API has {} errands", self.todo.len()));
    }

    /// What the API still waits for; `None` when every errand is done.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let open = self.todo.len() + self.asked.len();
        let first = self.todo.iter().chain(self.asked.values().map(|(_, errand)| errand)).next();
        first.map(|first| format!("the API waits for {open} answers, such as that to {first:?}"))
    }

    /// Plans a look into the mailbox.
    pub(crate) fn plan_mail(&mut self, world: &mut World<Event>, has_mail: bool) {
        if has_mail && !self.mail_planned {
            self.mail_planned = true;
            world.plan_within(MAIL_US, Event::OfficeMail);
        }
    }

    /// A moment of the API's own: what waits is asked, and in the storm something new is thought of.
    pub(crate) fn step(&mut self, world: &mut World<Event>, desk: Option<Desk<'_>>, storm: bool) {
        if let Some(mut desk) = desk {
            self.ask_again(&desk);
            if storm && self.todo.is_empty() && self.asked.len() < ASKED_MAX {
                let errand = self.draw(&mut world.random);
                self.todo.push(errand);
            }
            for errand in std::mem::take(&mut self.todo) {
                self.ask(world, &mut desk, errand);
            }
        }
        let delay_us = if self.todo.is_empty() && storm { self.change_us } else { RETRY_US };
        world.plan_within(delay_us, Event::OfficeStep);
    }

    fn draw(&mut self, random: &mut Random) -> Errand {
        let place = random.pick(&self.town.places).clone();
        let users = self.town.users_of(place.key.tenant);
        let user = *random.pick(&users);
        let user_key = UserKey { tenant: place.key.tenant, user };
        match random.below(10) {
            0 => Errand::Show(place.key),
            1 => Errand::Members(place.key),
            2 => Errand::ChatList(user_key),
            3 => Errand::Presence(user_key),
            _ => self.draw_change(random, &place, user_key, &users),
        }
    }

    fn draw_change(&mut self, random: &mut Random, place: &Place, user: UserKey, users: &[UserId]) -> Errand {
        let role = *random.pick(&[Role::Reader, Role::Member, Role::Member, Role::Moderator]);
        let subject = *random.pick(users);
        let change = match random.below(8) {
            0..3 => Change::Join { user: subject, role },
            3..6 => Change::Leave { user: subject },
            6 => Change::Role { user: subject, role },
            _ => Change::Title { title: Some(format!("title {}", random.below(100)).into()) },
        };
        let actor = if random.below(3) == 0 {
            Actor { key: user, authority: Authority::User }
        } else {
            let system = UserId::parse("system").expect("an id");
            Actor { key: UserKey { user: system, ..user }, authority: Authority::Server }
        };
        self.count += 1;
        let id = ClientId::parse(format!("change.{}", self.count)).expect("an id");
        Errand::Change { key: place.key, actor, id, change }
    }

    fn ask(&mut self, world: &mut World<Event>, desk: &mut Desk<'_>, errand: Errand) {
        self.count += 1;
        let caller = Caller { gateway: GatewayId::API, connection: self.count, reference: 0 };
        let slot = match &errand {
            Errand::Create(Place { key, .. })
            | Errand::Change { key, .. }
            | Errand::Show(key)
            | Errand::Members(key) => Slot::of_conversation(key),
            Errand::ChatList(user) | Errand::Presence(user) => Slot::of_user(user),
        };
        world.trace(|| format!("the API asks {errand:?}"));
        match desk.ask(world, self.routers, slot, envelope(caller, &errand)) {
            Some(asked) => {
                self.asked.insert(self.count, (asked, errand));
            }
            None => self.todo.push(errand),
        }
    }

    /// What was asked of a node that has gone is asked again.
    fn ask_again(&mut self, desk: &Desk<'_>) {
        let lost: Vec<u64> = self
            .asked
            .iter()
            .filter(|(_, (asked, _))| !desk.is_there(*asked))
            .map(|(number, _)| *number)
            .collect();
        for number in lost {
            self.todo.extend(self.asked.remove(&number).map(|(_, errand)| errand));
        }
    }

    /// Answers come.
    pub(crate) fn mail(
        &mut self,
        world: &mut World<Event>,
        checker: &mut Checker,
        desk: Option<Desk<'_>>,
    ) -> Result<(), Violation> {
        self.mail_planned = false;
        let Some(mut desk) = desk else { return Ok(()) };
        while let Some(answer) = desk.next_mail() {
            world.trace(|| format!("the API is told {answer:?}"));
            let Some(caller) = answer.caller() else { continue };
            let Some((_, errand)) = self.asked.remove(&caller.connection) else {
                let details = format!("the API is told {answer:?}, which answers nothing");
                return Err(Violation::new("one answer a request", details));
            };
            self.answered(world, checker, errand, &answer)?;
        }
        Ok(())
    }

    fn answered(
        &mut self,
        world: &mut World<Event>,
        checker: &mut Checker,
        errand: Errand,
        answer: &ToGateway,
    ) -> Result<(), Violation> {
        match (errand, answer) {
            (errand, ToGateway::Refused { refusal, .. }) if refusal.retry_after_ms.is_some() => {
                let is_change = matches!(errand, Errand::Change { .. });
                if !is_change || !world.random.happens(self.gives_up) {
                    self.todo.push(errand);
                }
            }
            (Errand::Change { .. }, ToGateway::Refused { .. }) => {}
            (Errand::Change { key, actor, .. }, ToGateway::Appended { .. }) => {
                world.coverage.hit(Mark::MembershipChanged);
                let stranger = actor.authority == Authority::User && !checker.may_look(&key, actor.key.user);
                if stranger {
                    let details = format!("{actor:?} changed {key:?}");
                    return Err(Violation::new("strangers change nothing", details));
                }
            }
            (Errand::Create(place), ToGateway::Created { .. }) => checker.created(&place.key),
            (Errand::Show(_), ToGateway::Conversation { .. })
            | (Errand::Members(_), ToGateway::Members { .. })
            | (Errand::ChatList(_), ToGateway::Conversations { .. })
            | (Errand::Presence(_), ToGateway::PresenceOf { .. }) => {}
            // Not created yet.
            (Errand::Show(_) | Errand::Members(_), ToGateway::Refused { .. }) => {}
            (errand, answer) => {
                let details = format!("{errand:?} is answered with {answer:?}");
                return Err(Violation::new("answers", details));
            }
        }
        Ok(())
    }
}

fn envelope(caller: Caller, errand: &Errand) -> ToRouter {
    let system = |key: &ConversationKey| Actor {
        key: UserKey { tenant: key.tenant, user: UserId::parse("system").expect("an id") },
        authority: Authority::Server,
    };
    match errand.clone() {
        Errand::Create(Place { key, kind, members }) => ToRouter::Create {
            caller,
            actor: system(&key),
            conversation: key,
            kind,
            title: (kind == ConversationKind::Public).then(|| "for all".into()),
            members: members.into_iter().map(|(user, role)| Member { user, role }).collect(),
        },
        Errand::Change { key, actor, id, change } => {
            ToRouter::Change { caller, actor, conversation: key, id, change, lamport: 0 }
        }
        Errand::Show(key) => ToRouter::Show { caller, actor: system(&key), conversation: key },
        Errand::Members(key) => {
            ToRouter::Members { caller, actor: system(&key), conversation: key, after: None, limit: 100 }
        }
        Errand::ChatList(user) => ToRouter::Conversations { caller, user, after: None, limit: 100 },
        Errand::Presence(user) => ToRouter::PresenceOf { caller, user },
    }
}
