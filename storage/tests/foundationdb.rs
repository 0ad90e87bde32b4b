//! What the engine for clusters promises beside what every engine does: its interface is the same to the last pair of a
//! range, its errors have names, many owners at once keep a log dense, and a cluster that goes away and comes back loses
//! and doubles nothing. Run where this build has the engine and `fdbserver` is found; loudly skipped elsewhere.

#![cfg_attr(not(feature = "foundationdb"), allow(dead_code, reason = "nothing to run without the engine"))]

mod support;

#[cfg(not(feature = "foundationdb"))]
#[test]
fn skipped_without_the_feature() {
    use std::io::Write as _;
    let told =
        b"\n*** SKIPPED: everything on FoundationDB: this build is without `--features foundationdb` ***\n\n";
    std::io::stderr().lock().write_all(told).unwrap();
}

#[cfg(feature = "foundationdb")]
mod with_the_feature {
    use std::collections::BTreeMap;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
    use std::thread;
    use std::time::{Duration, Instant};

    use protocol::envelope::{ConversationKind, RouterId};
    use protocol::event::Role;
    use storage::driver::{Driver, Settings, State};
    use storage::engine::foundationdb::{FormatError, Limits};
    use storage::engine::{Engine, FoundationdbEngine};
    use storage::kv::{EngineError, Found, Read, VALUE_BYTES_MAX, Write};
    use storage::request::{Appended, Epoch, Failure, Outcome, Request, RequestId};

    use super::support::cluster::{self, Cluster};
    use super::support::*;

    fn engine_of(store: &Store) -> FoundationdbEngine {
        match &store.engine {
            Engine::Foundationdb(engine) => engine.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ranges_end_where_those_of_any_engine_end() {
        let Some(mut store) = Store::foundationdb() else { return };
        let mut memory = Store::memory();
        let mut chance = Chance(7);
        let writes: Vec<Write> = (0..300_u32)
            .map(|number| {
                let value = vec![b'v'; chance.below(400) as usize];
                Write::Set(format!("k{:04}", number * 3).into_bytes(), value)
            })
            .collect();
        for engine in [&mut store.engine, &mut memory.engine] {
            engine.commit(writes.clone()).unwrap();
        }
        for _ in 0..300 {
            let key = |chance: &mut Chance| format!("k{:04}", chance.below(920)).into_bytes();
            let read = Read::Range {
                begin: key(&mut chance),
                end: key(&mut chance),
                limit: 1 + chance.below(40) as usize,
                bytes_max: [usize::MAX, 1, 900, 5_000][chance.below(4) as usize],
                reverse: chance.once_in(2),
            };
            let get = Read::Get { key: key(&mut chance), conflict: chance.once_in(2) };
            let reads = [get, read];
            assert_eq!(store.engine.read(&reads).unwrap(), memory.engine.read(&reads).unwrap(), "{reads:?}");
        }
    }

    #[test]
    fn pieces_of_a_long_range_are_one_range() {
        let Some(mut store) = Store::foundationdb() else { return };
        for number in 0..40_u32 {
            let value = vec![number as u8; VALUE_BYTES_MAX];
            store.engine.commit(vec![Write::Set(format!("k{number:02}").into_bytes(), value)]).unwrap();
        }
        let (begin, end) = (b"k".to_vec(), b"l".to_vec());
        let all = Read::Range { begin, end, limit: 1_000, bytes_max: usize::MAX, reverse: false };
        let found = store.engine.read(&[all]).unwrap();
        let [Found::Pairs { pairs, more: false }] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(pairs.len(), 40);
        assert!(pairs.iter().enumerate().all(|(number, (_, value))| value[0] == number as u8));
    }

    #[test]
    fn what_is_too_large_is_refused_by_name_and_nothing_else_suffers() {
        let Some(mut store) = Store::foundationdb() else { return };
        let large = Write::Set(b"k".to_vec(), vec![0; 100_001]);
        assert_eq!(store.engine.commit(vec![large]), Err(EngineError::TooLarge));
        let many = (0..120_u32).map(|number| Write::Set(vec![number as u8], vec![0; 99_000])).collect();
        assert_eq!(store.engine.commit(many), Err(EngineError::TooLarge));
        store.engine.commit(vec![Write::Set(b"k".to_vec(), b"v".to_vec())]).unwrap();
    }

    #[test]
    fn keys_of_somebody_else_are_told_and_left_alone() {
        let Some(file) = cluster::shared() else { return };
        let settings = foundationdb_settings(file);
        let engine = FoundationdbEngine::connect(&settings).unwrap();
        engine.commit(&[Write::Set(b"theirs".to_vec(), b"1".to_vec())]).unwrap();
        let refused = engine.check_format();
        assert!(
            matches!(&refused, Err(FormatError::Foreign(key)) if key.ends_with(b"theirs")),
            "{refused:?}"
        );
        assert!(!engine.is_there().unwrap());
        let mine = FoundationdbEngine::connect(&foundationdb_settings(file)).unwrap();
        mine.check_format().unwrap();
        mine.check_format().unwrap();
        assert!(mine.is_there().unwrap());
    }

    #[test]
    fn owners_that_do_not_know_of_each_other_keep_a_log_dense_and_store_nothing_twice() {
        const OWNERS: usize = 4;
        const EACH: usize = 25;
        let Some(mut store) = Store::foundationdb() else { return };
        let of = conversation("contended");
        store.create(of, ConversationKind::Group, &[("alice", Role::Owner)]);
        let engine = engine_of(&store);
        let owners: Vec<_> = (0..OWNERS)
            .map(|owner| {
                let engine = engine.clone();
                thread::spawn(move || {
                    for number in 0..EACH {
                        // Two of them say the same, two something of their own.
                        let id = format!("m{}-{number}", owner / 2);
                        let append = || append_request(of, vec![message(of, "alice", &id, "x")], 1);
                        loop {
                            match engine.run(append()) {
                                Outcome::Appended(_) => break,
                                Outcome::Failed(Failure::Unavailable | Failure::Unknown) => {}
                                other => panic!("{other:?}"),
                            }
                        }
                    }
                })
            })
            .collect();
        owners.into_iter().for_each(|owner| owner.join().unwrap());
        assert_eq!(store.verify().events, (OWNERS / 2 * EACH) as u64);
    }

    #[test]
    fn a_deposed_owner_stores_nothing() {
        let Some(mut store) = Store::foundationdb() else { return };
        let of = conversation("c");
        store.create(of, ConversationKind::Group, &[("alice", Role::Owner)]);
        let old = storage::claim(&mut store.engine).unwrap();
        let new = storage::claim(&mut store.engine).unwrap();
        assert!(new > old);
        let Request::Append(mut batch) = append_request(of, vec![message(of, "alice", "1", "x")], 1) else {
            unreachable!()
        };
        batch.epoch = old;
        let outcome = store.run(Request::Append(batch));
        assert!(matches!(outcome, Outcome::Failed(Failure::Fenced)), "{outcome:?}");
        assert!(store.log(of).is_empty());
    }

    struct Running {
        driver: Driver,
        answers: Receiver<(u64, Outcome)>,
    }

    fn drive(engine: FoundationdbEngine) -> Running {
        let mut of_claim = Engine::Foundationdb(engine.clone());
        // A cluster that is away from the beginning has given no epoch; any will do.
        let epoch = storage::claim(&mut of_claim).unwrap_or(EPOCH);
        let (sender, answers) = channel();
        // The test may have ended.
        let answer = Box::new(move |_, id: RequestId, outcome| drop(sender.send((id.0, outcome))));
        let engine = Engine::Foundationdb(engine);
        let driver = Driver::start(engine, epoch, Settings::default(), answer, Box::new(|| ())).unwrap();
        Running { driver, answers }
    }

    impl Running {
        fn submit(&self, id: u64, request: Request) {
            self.driver.handle().try_submit(RouterId(0), RequestId(id), request).unwrap();
        }
    }

    #[test]
    fn many_conversations_are_under_way_at_once() {
        const CONVERSATIONS: u64 = 200;
        const EACH: u64 = 10;
        let Some(mut store) = Store::foundationdb() else { return };
        let running = drive(engine_of(&store));
        let key = |number: u64| conversation(&format!("c{number}"));
        for number in 0..CONVERSATIONS {
            running.submit(number, create_request(key(number), ConversationKind::Group, Box::from([])));
        }
        let mut appended: BTreeMap<u64, u64> = BTreeMap::new();
        while appended.values().sum::<u64>() < CONVERSATIONS * EACH {
            let (number, outcome) = running.answers.recv_timeout(Duration::from_secs(60)).unwrap();
            let of = key(number);
            let done = appended.entry(number).or_default();
            match outcome {
                Outcome::Created { created: true, .. } => {}
                Outcome::Appended(items) => {
                    *done += 1;
                    assert_eq!(stored(&items[0]), [*done]);
                }
                other => panic!("{other:?}"),
            }
            if *done < EACH {
                let item = message(of, "alice", &format!("m{done}"), "hello");
                running.submit(number, append_request(of, vec![item], 1));
            }
        }
        running.driver.stop().unwrap();
        assert_eq!(store.verify().events, CONVERSATIONS * EACH);
    }

    #[test]
    fn a_cluster_that_is_not_there_is_unavailable_soon_and_then_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fdb.cluster");
        std::fs::write(&file, "nobody:nobody@127.0.0.1:1\n").unwrap();
        let mut settings = foundationdb_settings(&file);
        settings.limits = Limits { timeout_ms: 300, ..Limits::default() };
        let engine = FoundationdbEngine::connect(&settings).unwrap();
        assert_eq!(engine.read(&[]), Ok(Vec::new()));
        let begin = Instant::now();
        let get = Read::Get { key: b"k".to_vec(), conflict: false };
        assert_eq!(engine.read(&[get]), Err(EngineError::TimedOut));
        assert!(begin.elapsed() < Duration::from_secs(5));
        settings.limits = Limits::default();
        let running = drive(FoundationdbEngine::connect(&settings).unwrap());
        let ask = |id| running.submit(id, Request::LastSeen { user: user_key("alice") });
        let answered = || {
            let (_, outcome) = running.answers.recv_timeout(Duration::from_secs(30)).unwrap();
            assert!(matches!(outcome, Outcome::Failed(Failure::Unavailable)), "{outcome:?}");
        };
        ask(1);
        answered();
        assert_eq!(running.driver.handle().metrics().state(), State::Away);
        let begin = Instant::now();
        ask(2);
        answered();
        assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
        running.driver.stop().unwrap();
    }

    #[test]
    fn what_a_kill_interrupts_goes_on_by_itself_when_the_cluster_is_back() {
        let Some(mut cluster) = Cluster::start("a removal over a kill") else { return };
        let engine = FoundationdbEngine::connect(&foundationdb_settings(&cluster.file())).unwrap();
        engine.check_format().unwrap();
        let mut store = Store::of_engine(Engine::Foundationdb(engine.clone()));
        let running = drive(engine.clone());
        let names: Vec<String> = (0..500).map(|number| format!("u{number}")).collect();
        let members: Vec<_> = names.iter().map(|name| (name.as_str(), Role::Owner)).collect();
        // So many at once, of six commits each, that a kill finds some between two of theirs.
        let large = |number: u64| conversation(&format!("large-{number}"));
        (0..50).for_each(|number| store.create(large(number), ConversationKind::Group, &members));
        let commits = engine.commits();
        for number in 0..50 {
            let request = Request::Remove { epoch: Epoch(u64::MAX), conversation: large(number) };
            running.submit(number, request);
        }
        until("some have begun", || engine.commits() >= commits + 60);
        cluster.kill();
        let outcomes: Vec<_> =
            (0..50).map(|_| running.answers.recv_timeout(Duration::from_secs(30)).unwrap().1).collect();
        let in_part = |outcome: &&Outcome| matches!(outcome, Outcome::Failed(Failure::Unknown));
        assert!(outcomes.iter().filter(in_part).count() > 0, "the kill was too late: {outcomes:?}");
        let handle = running.driver.handle();
        until("the cluster counts as away", || handle.metrics().state() == State::Away);
        cluster.run();
        // Nobody asks for anything, and all the same it comes back and is cleared.
        until("the cluster is back", || handle.metrics().state() == State::Healthy);
        until("every removal that had begun is over", || {
            let (begin, end) = storage::key::removals();
            let notes = Read::Range { begin, end, limit: 1, bytes_max: usize::MAX, reverse: false };
            store.engine.read(&[notes]).unwrap() == [Found::Pairs { pairs: Vec::new(), more: false }]
        });
        store.verify();
        running.driver.stop().unwrap();
    }

    fn until(what: &str, mut is: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(40);
        while !is() {
            assert!(Instant::now() < deadline, "{what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What one sender of a conversation has been told.
    #[derive(Default)]
    struct Told {
        acknowledged: BTreeMap<u64, u64>,
        next: u64,
    }

    #[test]
    fn a_killed_server_loses_and_doubles_nothing_that_was_acknowledged() {
        const CONVERSATIONS: u64 = 20;
        let Some(mut cluster) = Cluster::start("a killed server") else { return };
        let engine = FoundationdbEngine::connect(&foundationdb_settings(&cluster.file())).unwrap();
        engine.check_format().unwrap();
        let mut store = Store::of_engine(Engine::Foundationdb(engine.clone()));
        let key = |number: u64| conversation(&format!("c{number}"));
        for number in 0..CONVERSATIONS {
            store.create(key(number), ConversationKind::Group, &[]);
        }
        let running = drive(engine);
        let send = |number: u64, id: u64| {
            let of = key(number);
            running.submit(number, append_request(of, vec![message(of, "alice", &format!("m{id}"), "x")], 1));
        };
        let mut told: Vec<Told> = (0..CONVERSATIONS).map(|_| Told::default()).collect();
        (0..CONVERSATIONS).for_each(|number| send(number, 0));
        let mut failures = 0_u64;
        for round in 0..3 {
            let until = Instant::now() + Duration::from_secs(2);
            while Instant::now() < until {
                match running.answers.recv_timeout(Duration::from_millis(100)) {
                    Ok((number, outcome)) => {
                        failures += u64::from(hear(&mut told[number as usize], outcome));
                        send(number, told[number as usize].next);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            cluster.kill();
            thread::sleep(Duration::from_millis(500 * round));
            cluster.run();
        }
        // All of them come through again: the same ids until each is acknowledged.
        let goal: Vec<u64> = told.iter().map(|told| told.next + 1).collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        while told.iter().zip(&goal).any(|(told, goal)| told.next < *goal) {
            assert!(Instant::now() < deadline, "the cluster came back, and sends did not");
            let Ok((number, outcome)) = running.answers.recv_timeout(Duration::from_millis(100)) else {
                continue;
            };
            hear(&mut told[number as usize], outcome);
            if told[number as usize].next < goal[number as usize] {
                send(number, told[number as usize].next);
            }
        }
        running.driver.stop().unwrap();
        store.verify();
        let mut acknowledged = 0;
        for (number, told) in (0..).zip(&told) {
            let log = store.log(key(number));
            for (id, seq) in &told.acknowledged {
                let found = log[*seq as usize - 1].view().id.to_string();
                assert_eq!(found, format!("m{id}"), "acknowledged at {seq}");
            }
            assert_eq!(log.len(), told.acknowledged.len(), "no id was stored twice, and none beside");
            acknowledged += log.len();
        }
        eprintln!("{acknowledged} acknowledged over three kills, {failures} failures told");
    }

    /// Notes an answer; true when it was a failure.
    fn hear(told: &mut Told, outcome: Outcome) -> bool {
        let seq = match outcome {
            Outcome::Failed(Failure::Unavailable | Failure::Unknown) => return true,
            Outcome::Appended(items) => match &items[0][0] {
                Appended::Stored(event) => event.seq(),
                Appended::Duplicate { seq, .. } => *seq,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        told.acknowledged.insert(told.next, seq);
        told.next += 1;
        false
    }
}
