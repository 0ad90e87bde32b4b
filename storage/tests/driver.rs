//! The store thread: every request is answered exactly once, after its sync, in the order in which it was handed in; a full
//! queue gives it back; a fault of the store's own is no reason to lie or to hang.

mod support;

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use protocol::envelope::{ConversationKind, RouterId};
use storage::driver::{Driver, Handle, Settings, State};
use storage::engine::Engine;
use storage::request::{Failure, Outcome, Request, RequestId};

use support::*;

struct Running {
    driver: Driver,
    handle: Handle,
    answers: Receiver<(RouterId, RequestId, Outcome)>,
}

fn start(mut engine: Engine, settings: Settings) -> Running {
    let epoch = storage::claim(&mut engine).unwrap();
    assert_eq!(epoch, EPOCH);
    let (sender, answers) = channel();
    let answer = Box::new(move |router, id, outcome| sender.send((router, id, outcome)).unwrap());
    let driver = Driver::start(engine, epoch, settings, answer, Box::new(|| ())).unwrap();
    let handle = driver.handle();
    Running { driver, handle, answers }
}

impl Running {
    fn submit(&self, id: u64, request: Request) {
        self.handle.try_submit(RouterId(3), RequestId(id), request).unwrap();
    }

    fn answer(&self) -> (u64, Outcome) {
        let (router, id, outcome) = self.answers.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(router, RouterId(3));
        (id.0, outcome)
    }
}

#[test]
fn every_request_is_answered_once_and_in_order_and_what_was_answered_is_durable() {
    for mut store in Store::of_this_process() {
        let of = conversation("c");
        let engine = std::mem::replace(&mut store.engine, Store::memory().engine);
        let running = start(engine, Settings::default());
        running.submit(0, create_request(of, ConversationKind::Group, Box::from([])));
        for number in 1..=500 {
            let item = message(of, "alice", &format!("m{number}"), "hello");
            running.submit(number, append_request(of, vec![item], number));
        }
        assert!(matches!(running.answer(), (0, Outcome::Created { created: true, .. })));
        for number in 1..=500 {
            let (id, outcome) = running.answer();
            let Outcome::Appended(appended) = outcome else { panic!("{outcome:?}") };
            assert_eq!((id, stored(&appended[0])), (number, vec![number]));
        }
        let metrics = running.handle.metrics();
        assert_eq!((metrics.requests(), metrics.commits(), metrics.failed()), (501, 501, 0));
        assert!(metrics.syncs() >= 1 && metrics.syncs() <= 501);
        assert_eq!(metrics.latency.counts().iter().sum::<u64>(), 501);
        assert_eq!(metrics.state(), State::Healthy);
        running.driver.stop().unwrap();
        assert_eq!(running.handle.metrics().state(), State::Stopped);
        assert!(running.answers.try_recv().is_err(), "nobody is answered twice");
    }
}

#[test]
fn requests_that_wait_share_a_sync() {
    let directory = tempfile::tempdir().unwrap();
    let of = conversation("c");
    let running = start(open(directory.path()), Settings::default());
    running.submit(0, create_request(of, ConversationKind::Group, Box::from([])));
    running.answer();
    for number in 1..=2_000 {
        running.submit(number, append_request(of, vec![message(of, "a", &format!("{number}"), "x")], 0));
    }
    for _ in 0..2_000 {
        running.answer();
    }
    let (commits, syncs) = (running.handle.metrics().commits(), running.handle.metrics().syncs());
    assert!(syncs * 4 < commits, "{syncs} syncs for {commits} commits");
    running.driver.stop().unwrap();
}

#[test]
fn a_full_queue_gives_the_request_back_and_a_stopped_driver_too() {
    let running = start(Store::memory().engine, Settings { queue_requests_max: 1, ..Settings::default() });
    let seen = || Request::LastSeen { user: user_key("u") };
    let mut handed_in = 0_u64;
    let mut given_back = 0_u64;
    while given_back == 0 || handed_in < 100 {
        match running.handle.try_submit(RouterId(3), RequestId(handed_in), seen()) {
            Ok(()) => handed_in += 1,
            Err((id, Request::LastSeen { user })) => {
                assert_eq!((id, user), (RequestId(handed_in), user_key("u")));
                given_back += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    for number in 0..handed_in {
        assert!(matches!(running.answer(), (id, Outcome::LastSeen(None)) if id == number));
    }
    running.driver.stop().unwrap();
    assert!(running.handle.try_submit(RouterId(3), RequestId(0), seen()).is_err());
}

#[test]
fn stopping_answers_all_that_waits() {
    let running = start(Store::memory().engine, Settings::default());
    for number in 0..1_000 {
        running.submit(number, Request::Seen { seen: Box::from([(user_key("u"), number)]) });
    }
    running.driver.stop().unwrap();
    let mut answered = 0;
    while let Ok((_, id, outcome)) = running.answers.try_recv() {
        assert_eq!(id.0, answered);
        assert!(matches!(outcome, Outcome::Seen));
        answered += 1;
    }
    assert_eq!(answered, 1_000);
}

#[test]
fn a_fault_of_our_own_poisons_the_store_and_everybody_is_answered() {
    let running = start(Store::memory().engine, Settings::default());
    let of = conversation("c");
    running.submit(0, create_request(of, ConversationKind::Group, Box::from([])));
    assert!(matches!(running.answer(), (0, Outcome::Created { .. })));
    // A draft that was made for another conversation breaks an assertion.
    let wrong = message(conversation("other"), "alice", "1", "x");
    running.submit(1, append_request(of, vec![wrong], 0));
    assert!(matches!(running.answer(), (1, Outcome::Failed(Failure::Poisoned(_)))));
    running.submit(2, append_request(of, vec![message(of, "alice", "1", "x")], 0));
    assert!(matches!(running.answer(), (2, Outcome::Failed(Failure::Poisoned(_)))));
    assert_eq!(running.handle.metrics().state(), State::Poisoned);
    running.submit(3, Request::Load { conversation: of, users: Box::from([]) });
    match running.answer() {
        (3, Outcome::Loaded { conversation: Some(found), .. }) => assert_eq!(found.head, 0, "reads go on"),
        other => panic!("{other:?}"),
    }
    running.driver.stop().unwrap_err();
}

#[test]
fn an_old_owners_driver_is_fenced_by_a_new_claim() {
    let mut store = Store::memory();
    let of = conversation("c");
    assert_eq!(storage::claim(&mut store.engine).unwrap(), EPOCH);
    store.create(of, ConversationKind::Group, &[]);
    storage::claim(&mut store.engine).unwrap();
    let outcome = store.run(append_request(of, vec![message(of, "alice", "1", "x")], 0));
    assert!(matches!(outcome, Outcome::Failed(Failure::Fenced)));
}
