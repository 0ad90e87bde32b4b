//! All clients of a run, and which connection belongs to whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway::auth::{TokenRequest, sign_hs256};
use protocol::frame::Subprotocol;
use protocol::id::{ConversationId, UserKey};

use crate::checker::{Checker, Violation};
use crate::client::{Acked, Client, ClientNumber, Note, Stage};
use crate::cluster::Event;
use crate::kernel::{ConnectionNumber, Kernel};
use crate::random::Span;
use crate::store::Store;
use crate::town::Town;
use crate::weather::Weather;
use crate::world::World;

/// Seconds since the Unix epoch at which every token ends: long after any run.
const TOKEN_EXPIRES_S: u64 = 4_000_000_000;

/// What clients may touch, of the whole cluster.
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a mut World<Event>,
    pub(crate) kernel: &'a mut Kernel,
    pub(crate) store: &'a Store,
    pub(crate) checker: &'a mut Checker,
    pub(crate) weather: &'a Weather,
    pub(crate) storm: bool,
}

/// The clients.
#[derive(Debug)]
pub(crate) struct Crowd {
    clients: Vec<Client>,
    /// Whose connections are, past ones too.
    owners: BTreeMap<ConnectionNumber, ClientNumber>,
    notebook: BTreeMap<UserKey, Vec<Note>>,
    acks: Vec<Acked>,
}

impl Crowd {
    /// A client for every device of the town.
    pub(crate) fn new(world: &mut World<Event>, town: &Town, secret: &[u8], coming_us: Option<Span>) -> Self {
        let mut clients = Vec::new();
        let mut surroundings = BTreeMap::new();
        for resident in &town.residents {
            let number = ClientNumber(clients.len());
            let tenant = resident.user.tenant;
            let request = TokenRequest {
                user: resident.user.user,
                tenant,
                admin: false,
                expires_s: TOKEN_EXPIRES_S,
                audience: None,
                issuer: None,
            };
            let token: Arc<str> = sign_hs256(secret, &request).into();
            let subprotocol = *world.random.pick(&[Subprotocol::Json, Subprotocol::Rkyv]);
            let surroundings = surroundings
                .entry(tenant)
                .or_insert_with(|| (town.places_of(tenant).into(), town.users_of(tenant).into()));
            clients.push(Client::new(
                number,
                resident.user,
                resident.device,
                token,
                subprotocol,
                surroundings.clone(),
            ));
            if let Some(coming_us) = coming_us {
                world.plan_within(coming_us, Event::ClientStep(number));
            }
        }
        Self { clients, owners: BTreeMap::new(), notebook: BTreeMap::new(), acks: Vec::new() }
    }

    /// Clients that nothing told to come do, within a time.
    pub(crate) fn come(&self, world: &mut World<Event>, within_us: Span) {
        for number in (0..self.clients.len()).map(ClientNumber) {
            world.plan_within(within_us, Event::ClientStep(number));
        }
    }

    /// A client sends a plain message, when it can; false: it can't.
    pub(crate) fn speak(
        &mut self,
        scene: &mut Scene<'_>,
        number: ClientNumber,
        conversation: ConversationId,
    ) -> bool {
        let mut stage = Self::stage(scene, &mut self.notebook, &mut self.acks);
        self.clients[number.0].speak(&mut stage, conversation)
    }

    /// The acks since this was asked last.
    pub(crate) fn take_acks(&mut self) -> Vec<Acked> {
        std::mem::take(&mut self.acks)
    }

    /// Clients that are welcome, with the gateway shard of each.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (ClientNumber, usize)> + '_ {
        let numbers = (0..self.clients.len()).map(ClientNumber);
        numbers.zip(&self.clients).filter_map(|(number, client)| Some((number, client.seat()?)))
    }

    fn stage<'s>(
        scene: &'s mut Scene<'_>,
        notebook: &'s mut BTreeMap<UserKey, Vec<Note>>,
        acks: &'s mut Vec<Acked>,
    ) -> Stage<'s> {
        Stage {
            world: scene.world,
            kernel: scene.kernel,
            store: scene.store,
            checker: scene.checker,
            notebook,
            acks,
            network: &scene.weather.network,
            crowd: &scene.weather.crowd,
            gateways: scene.weather.shape.gateways,
            storm: scene.storm,
        }
    }

    /// A client's own moment.
    pub(crate) fn step(&mut self, scene: &mut Scene<'_>, number: ClientNumber) {
        let mut stage = Self::stage(scene, &mut self.notebook, &mut self.acks);
        let client = &mut self.clients[number.0];
        let before = client.connection();
        client.step(&mut stage);
        if let Some(connection) = client.connection().filter(|connection| Some(*connection) != before) {
            self.owners.insert(connection, number);
        }
    }

    /// A connection has something to read.
    pub(crate) fn readable(
        &mut self,
        scene: &mut Scene<'_>,
        connection: ConnectionNumber,
    ) -> Result<(), Violation> {
        let Some(number) = self.owners.get(&connection) else { return Ok(()) };
        let client = &mut self.clients[number.0];
        if client.connection() != Some(connection) {
            return Ok(());
        }
        client.readable(&mut Self::stage(scene, &mut self.notebook, &mut self.acks))
    }

    /// What keeps any client from being done.
    pub(crate) fn unsettled(&self, checker: &Checker) -> Vec<String> {
        self.clients.iter().filter_map(|client| client.unsettled(checker)).collect()
    }

    /// A send that waits for its answer for too long, asked since a moment.
    pub(crate) fn overdue(&self, since_us: u64, now_us: u64, patience_us: u64) -> Option<String> {
        self.clients.iter().find_map(|client| client.overdue(since_us, now_us, patience_us))
    }

    /// Everybody closes in order.
    pub(crate) fn finish(&mut self, scene: &mut Scene<'_>) {
        for client in &mut self.clients {
            client.finish(&mut Self::stage(scene, &mut self.notebook, &mut self.acks));
        }
    }

    /// The storm is over.
    pub(crate) fn calm(&mut self) {
        self.clients.iter_mut().for_each(Client::calm);
    }
}
