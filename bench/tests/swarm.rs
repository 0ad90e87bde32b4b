//! Promise: clients of the swarm come online as the protocol says, hear everything in order, say what their script wants,
//! and come back, or stay away, as they were told. The server is a stand-in on an independent WebSocket library.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bench::options::Subprotocol;
use bench::swarm::{Counters, Crowd, CrowdSettings, Departure, Frame, Script, Swarm, SwarmSettings};
use bench::wire::{ClientFrame, ServerFrame};
use serde_json::{Value, json};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

const PATIENCE: Duration = Duration::from_secs(20);

/// One connection, seen from the server.
struct Peer {
    socket: WebSocket<TcpStream>,
    /// The `Authorization` header.
    token: Option<String>,
    hello: Value,
    /// How many came before.
    number: u32,
}

impl Peer {
    fn welcome(&mut self) {
        let limits = json!({
            "frame_bytes": 65_536, "body_bytes": 8_192, "meta_bytes": 2_048, "sends_per_second": 20,
            "sends_burst": 40, "conversations_attached": 1_000, "page_events": 200,
        });
        let resume = format!("ticket-{:04}", self.number);
        self.send(&json!({
            "op": "welcome", "user": "u", "session": "s", "resume": resume, "heartbeat_ms": 30_000,
            "limits": limits, "conversations": [],
        }));
    }

    fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }

    fn close(&mut self, code: u16, reason: &'static str) {
        self.socket.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).unwrap();
        while self.socket.read().is_ok() {}
    }

    /// The next data message; the end is null.
    fn next(&mut self) -> Value {
        match self.socket.read() {
            Ok(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            Ok(Message::Ping(_) | Message::Pong(_)) => self.next(),
            Ok(Message::Close(_)) | Err(_) => Value::Null,
            Ok(other) => panic!("{other:?}"),
        }
    }
}

/// A server that does `with` for each connection that said `hello`, on a thread of its own.
fn serve(with: impl Fn(Peer) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (with, count) = (Arc::new(with), AtomicU32::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (with, number) = (Arc::clone(&with), count.fetch_add(1, Ordering::Relaxed));
            std::thread::spawn(move || with(accept(stream.unwrap(), number)));
        }
    });
    address
}

#[expect(clippy::result_large_err, reason = "tungstenite's callback is of that form")]
fn accept(stream: TcpStream, number: u32) -> Peer {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut token = None;
    let socket = tungstenite::accept_hdr(stream, |request: &Request, mut response: Response| {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        token = header("authorization");
        let protocol = header("sec-websocket-protocol").unwrap();
        response.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        Ok(response)
    });
    let mut peer = Peer { socket: socket.unwrap(), token, hello: Value::Null, number };
    peer.hello = peer.next();
    assert_eq!((&peer.hello["op"], &peer.hello["device"]), (&json!("hello"), &json!("bench")));
    peer
}

fn settings(target: SocketAddr, clients: u32) -> SwarmSettings {
    let crowd = CrowdSettings::new(&[target], "a secret", Subprotocol::Json, 1);
    SwarmSettings { clients, rings: Some(2), connecting: 64, crowd }
}

fn wait<S: Script>(swarm: &Swarm<S>, done: impl Fn(&Counters) -> bool) -> Counters {
    let begin = Instant::now();
    loop {
        let now = swarm.counts();
        if done(&now) {
            return now;
        }
        assert!(begin.elapsed() < PATIENCE && !swarm.is_broken(), "{now:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Brings all clients online at once, and tells the test what they hear.
struct Listener {
    heard: Sender<(u32, u64)>,
    left: Sender<(u32, Departure)>,
}

impl Script for Listener {
    fn begin(&mut self, crowd: &mut Crowd) {
        crowd.clients().for_each(|client| crowd.connect(client));
    }

    fn heard(&mut self, client: u32, frame: Frame<'_>, _: &mut Crowd) {
        if let Ok(ServerFrame::Lagging { head, .. }) = frame.decode() {
            let _ = self.heard.send((client, head));
        }
    }

    fn left(&mut self, client: u32, departure: Departure, _: &mut Crowd) {
        let _ = self.left.send((client, departure));
    }
}

/// What the scripts tell the test.
struct Told {
    heard: Receiver<(u32, u64)>,
    left: Receiver<(u32, Departure)>,
}

fn listen(settings: &SwarmSettings) -> (Swarm<Listener>, Told) {
    let ((hear, heard), (leave, left)) = (channel(), channel());
    let script = |_| Listener { heard: hear.clone(), left: leave.clone() };
    (Swarm::start(settings, script).unwrap(), Told { heard, left })
}

/// A frame of about `bytes` bytes that carries a number.
fn numbered(number: u64, bytes: usize) -> Value {
    json!({ "op": "lagging", "conversation": "c".repeat(bytes), "after": 0, "head": number })
}

#[test]
fn everyone_comes_online_answers_pings_and_hears_all_in_order() {
    let pongs = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&pongs);
    let address = serve(move |mut peer| {
        peer.welcome();
        // Some longer than a receive buffer, all faster than they are read.
        for number in 1..=40 {
            peer.send(&numbered(number, if number % 10 == 0 { 50_000 } else { 30 }));
        }
        peer.socket.send(Message::Ping(vec![7; 9].into())).unwrap();
        while let Ok(message) = peer.socket.read() {
            count.fetch_add(u32::from(message == Message::Pong(vec![7; 9].into())), Ordering::Relaxed);
        }
    });
    let (swarm, told) = listen(&settings(address, 20));
    let mut last = [0; 20];
    for _ in 0..20 * 40 {
        let (client, number) = told.heard.recv_timeout(PATIENCE).unwrap();
        assert_eq!(number, last[client as usize] + 1);
        last[client as usize] = number;
    }
    let now = wait(&swarm, |now| now.pongs == 20);
    assert_eq!((now.online, now.welcomed, now.connecting, now.waiting), (20, 20, 0, 0));
    while pongs.load(Ordering::Relaxed) < 20 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let finished = swarm.finish();
    assert_eq!(finished.iter().map(|part| part.latencies.count()).sum::<u64>(), 20);
    assert!(finished.iter().all(|part| part.counters.broken + part.counters.lost == 0));
}

#[test]
fn clients_come_back_when_they_were_told_and_stay_away_when_not() {
    let address = serve(|mut peer| match peer.number {
        0 => peer.close(4429, "connections; retry after 300 ms"),
        1 => {
            peer.welcome();
            peer.send(&json!({ "op": "goaway", "reason": "drain", "reconnect_after_ms": 5 }));
            peer.close(4503, "draining");
        }
        2 => {
            peer.welcome();
            drop(peer);
        }
        _ => {
            peer.welcome();
            peer.close(4409, "the same device connected again");
        }
    });
    let begin = Instant::now();
    let (swarm, told) = listen(&settings(address, 1));
    let codes: Vec<Departure> = (0..4).map(|_| told.left.recv_timeout(PATIENCE).unwrap().1).collect();
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert!(matches!(codes[0], Departure::Closed(4429)) && matches!(codes[1], Departure::Closed(4503)));
    assert!(matches!(codes[2], Departure::Ended(_)) && codes[3] == Departure::Closed(4409));
    std::thread::sleep(Duration::from_millis(100));
    let now = wait(&swarm, |now| now.waiting + now.online + now.connecting == 0);
    assert_eq!((now.dialled, now.failed, now.lost), (4, 1, 3));
    assert_eq!((now.closed_over_limit, now.closed_draining, now.closed_otherwise, now.ended), (1, 1, 1, 1));
}

#[test]
fn a_server_that_refuses_is_tried_again() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (swarm, told) = listen(&settings(address, 1));
    for _ in 0..3 {
        assert_eq!(told.left.recv_timeout(PATIENCE).unwrap().1, Departure::Dial(111));
    }
    assert!(wait(&swarm, |now| now.refused_dials >= 3).failed >= 3);
}

#[test]
fn a_ticket_takes_the_place_of_the_token() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let address = serve(move |mut peer| {
        sees.lock().unwrap().push((peer.token.is_some(), peer.hello["resume"].clone()));
        peer.welcome();
        while !peer.next().is_null() {}
    });
    let mut settings = settings(address, 1);
    settings.crowd.keeps_tickets = true;
    struct Again;
    impl Script for Again {
        fn directed(&mut self, _: u32, crowd: &mut Crowd) {
            crowd.abort(0);
            crowd.connect(0);
        }
    }
    let swarm = Swarm::start(&settings, |_| Again).unwrap();
    for step in 1..=3 {
        swarm.direct(step);
        wait(&swarm, |now| now.welcomed == u64::from(step) && now.online == 1);
    }
    let expected = [(true, Value::Null), (false, json!("ticket-0000")), (false, json!("ticket-0001"))];
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// How often the clients of each number were seen by each of two gateways that say `welcome` and nothing more.
fn seen_by_two_gateways(roams: bool) -> [Vec<u32>; 2] {
    struct Again;
    impl Script for Again {
        fn directed(&mut self, _: u32, crowd: &mut Crowd) {
            crowd.clients().for_each(|client| crowd.abort(client));
            crowd.clients().for_each(|client| crowd.connect(client));
        }
    }
    let seen: [_; 2] = std::array::from_fn(|_| Arc::new(Mutex::new(Vec::new())));
    let targets = seen.each_ref().map(|seen| {
        let seen = Arc::clone(seen);
        serve(move |mut peer| {
            let user = user_of(peer.token.as_deref().unwrap());
            seen.lock().unwrap().push(user);
            peer.welcome();
            while !peer.next().is_null() {}
        })
    });
    let mut settings = settings(targets[0], 10);
    settings.crowd.targets = targets.to_vec();
    settings.crowd.roams = roams;
    let swarm = Swarm::start(&settings, |_| Again).unwrap();
    for step in 1..=2 {
        swarm.direct(step);
        wait(&swarm, |now| now.welcomed == 10 * u64::from(step) && now.online == 10);
    }
    drop(swarm);
    seen.map(|seen| {
        let mut users = seen.lock().unwrap().clone();
        users.sort_unstable();
        users
    })
}

/// The number of the client whose token this is.
fn user_of(authorization: &str) -> u32 {
    use base64::Engine as _;

    let payload = authorization.split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let user = claims["sub"].as_str().unwrap();
    (0..10).find(|number| bench::swarm::name::user(*number) == user).unwrap()
}

#[test]
fn clients_spread_evenly_over_gateways_and_stay_at_theirs_unless_they_roam() {
    let even = |first: u32| (first..10).step_by(2).flat_map(|client| [client, client]).collect::<Vec<u32>>();
    assert_eq!(seen_by_two_gateways(false), [even(0), even(1)]);
    let all: Vec<u32> = (0..10).collect();
    assert_eq!(seen_by_two_gateways(true), [all.clone(), all]);
}

#[test]
fn a_burst_leaves_in_order_and_a_close_follows_it() {
    const FRAMES: i64 = 500;
    let (tell, told) = channel();
    let address = serve(move |mut peer| {
        peer.welcome();
        loop {
            let next = peer.next();
            tell.send(next["ref"].as_i64()).unwrap();
            if next.is_null() {
                break;
            }
        }
    });
    struct Burst;
    impl Script for Burst {
        fn begin(&mut self, crowd: &mut Crowd) {
            crowd.clients().for_each(|client| crowd.connect(client));
        }

        fn welcomed(&mut self, client: u32, _: &ServerFrame<'_>, crowd: &mut Crowd) {
            for reference in 0..FRAMES {
                assert!(crowd.send(client, &ClientFrame::Ping { reference }));
            }
        }

        fn directed(&mut self, _: u32, crowd: &mut Crowd) {
            crowd.clients().for_each(|client| crowd.disconnect(client));
        }
    }
    let swarm = Swarm::start(&settings(address, 1), |_| Burst).unwrap();
    for reference in 0..FRAMES {
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Some(reference));
    }
    swarm.direct(1);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), None);
    let now = wait(&swarm, |now| now.online == 0);
    assert_eq!((now.lost, now.failed, now.frames), (0, 0, FRAMES as u64));
}

#[test]
fn a_slow_reader_takes_its_time_and_loses_nothing() {
    let address = serve(|mut peer| {
        peer.welcome();
        for number in 1..=100 {
            peer.send(&numbered(number, 1_000));
        }
        while !peer.next().is_null() {}
    });
    struct Slow(Sender<u64>);
    impl Script for Slow {
        fn begin(&mut self, crowd: &mut Crowd) {
            crowd.clients().for_each(|client| {
                crowd.connect(client);
                crowd.read_at(client, 100_000);
            });
        }

        fn heard(&mut self, _: u32, frame: Frame<'_>, _: &mut Crowd) {
            if let Ok(ServerFrame::Lagging { head, .. }) = frame.decode() {
                let _ = self.0.send(head);
            }
        }
    }
    let mut settings = settings(address, 1);
    settings.crowd.receive_bytes = 1_024;
    let (tell, told) = channel();
    let begin = Instant::now();
    let _swarm = Swarm::start(&settings, |_| Slow(tell.clone())).unwrap();
    for number in 1..=100 {
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), number);
    }
    assert!(begin.elapsed() >= Duration::from_millis(900), "100 KB at 100 KB/s: {:?}", begin.elapsed());
}

#[test]
fn wakes_come_at_their_time() {
    struct Clock(Sender<u64>, u64, u32);
    impl Script for Clock {
        fn begin(&mut self, crowd: &mut Crowd) {
            self.1 = crowd.now_ns() + 5_000_000;
            crowd.wake_at(self.1);
        }

        fn woken(&mut self, crowd: &mut Crowd) {
            self.0.send(crowd.now_ns() - self.1).unwrap();
            self.2 += 1;
            if self.2 < 20 {
                self.1 += 5_000_000;
                crowd.wake_at(self.1);
            }
        }
    }
    let target = "127.0.0.1:9".parse().unwrap();
    let (tell, told) = channel();
    let swarm = Swarm::start(&settings(target, 1), |_| Clock(tell.clone(), 0, 0)).unwrap();
    for _ in 0..20 {
        told.recv_timeout(PATIENCE).unwrap();
    }
    let finished = swarm.finish();
    assert_eq!(finished.iter().map(|part| part.lag.count()).sum::<u64>(), 20);
}
