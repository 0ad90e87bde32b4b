//! What a request costs does not depend on how much the store holds. Alone in its process, because it counts the
//! process's reads.

mod support;

use storage::engine::embedded::Settings;
use storage::engine::{EmbeddedEngine, Engine};
use storage::request::{Appended, Outcome};
use storage::run;
use support::{append_request, conversation, create_request, message};

use protocol::envelope::ConversationKind;

/// Bytes that the process has read, from the page cache or the disk (proc_pid_io(5)).
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar:")).unwrap();
    line.trim().parse().unwrap()
}

/// Waits until the store's threads have nothing to compact any more.
fn wait_until_still() {
    let mut before = bytes_read();
    loop {
        std::thread::sleep(std::time::Duration::from_millis(500));
        let now = bytes_read();
        // Looking costs a few hundred bytes itself.
        if now - before < 4_096 {
            return;
        }
        before = now;
    }
}

#[test]
fn a_fresh_client_id_in_a_long_log_reads_a_few_blocks_of_the_tables() {
    const BATCH: u64 = 500;
    const FRESH: u64 = 400;
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { cache_bytes: 1 << 20, segment_bytes: 1 << 20, check_bytes_max: 0 };
    let mut engine = Engine::Embedded(EmbeddedEngine::open(directory.path(), settings).unwrap());
    let of = conversation("long");
    run(&mut engine, create_request(of, ConversationKind::Group, Box::default()));
    let append = |engine: &mut Engine, first: u64, count: u64| {
        // Ids in no order, as clients make them.
        let id = |number: u64| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let items = (first..first + count).map(|number| message(of, "alice", &id(number), "hello"));
        match run(engine, append_request(of, items.collect(), 1)) {
            Outcome::Appended(all) => {
                assert!(all[0].iter().all(|appended| matches!(appended, Appended::Stored(_))));
            }
            other => panic!("{other:?}"),
        }
        engine.sync().unwrap();
    };
    for batch in 0..120 {
        append(&mut engine, batch * BATCH, BATCH);
    }
    wait_until_still();
    let before = bytes_read();
    for number in 0..FRESH {
        append(&mut engine, 120 * BATCH + number, 1);
    }
    let each = (bytes_read() - before) / FRESH;
    assert!(each < 32 << 10, "{each} bytes are read for each fresh client id");
}
