//! A damaged data directory is refused, or all that was acknowledged is there: for every file of a populated store,
//! with bytes flipped, with its end cut, and without it. Never is a part of it served as if it were the whole.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use protocol::envelope::ConversationKind;
use protocol::event::Role;
use storage::engine::{EmbeddedEngine, Engine};
use storage::key;
use storage::kv::{Found, Key, Read, Value};

use support::*;

type Pairs = Vec<(Key, Value)>;

/// All pairs of a store, or why it can't be read.
fn pairs(engine: &mut Engine) -> Result<Pairs, String> {
    let all = Read::Range {
        begin: vec![],
        end: key::END.to_vec(),
        limit: usize::MAX,
        bytes_max: usize::MAX,
        reverse: false,
    };
    match engine.read(&[all]).map_err(|error| format!("{error:?}"))?.pop() {
        Some(Found::Pairs { pairs, .. }) => Ok(pairs),
        other => panic!("{other:?}"),
    }
}

/// A store with several tables, segments that are older than the tables, and a log that the tables lack.
fn populate(directory: &Path) -> Pairs {
    let mut engine = open(directory);
    let of = conversation("general");
    let members = Box::from([protocol::envelope::Member { user: user_id("alice"), role: Role::Owner }]);
    storage::run(&mut engine, create_request(of, ConversationKind::Group, members));
    for number in 0..600 {
        let body = format!("message {number} {}", "x".repeat(number % 300));
        let item = message(of, "alice", &format!("m{number}"), &body);
        storage::run(&mut engine, append_request(of, vec![item], number as u64));
        engine.sync().unwrap();
    }
    let all = pairs(&mut engine).unwrap();
    assert!(all.len() > 1_200);
    all
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What became of a damaged copy.
#[derive(Debug, PartialEq)]
enum Opened {
    Refused(String),
    Whole,
}

/// Damages a copy of the store, and opens it.
fn try_open(store: &Path, expected: &[(Key, Value)], damage: impl FnOnce(&Path)) -> Opened {
    let scratch = tempfile::tempdir().unwrap();
    let copied = scratch.path().join("data");
    copy(store, &copied);
    damage(&copied);
    let mut engine = match EmbeddedEngine::open(&copied, SETTINGS) {
        Err(error) => return Opened::Refused(error.to_string()),
        Ok(engine) => Engine::Embedded(engine),
    };
    match pairs(&mut engine) {
        Err(refused) => Opened::Refused(refused),
        Ok(found) => {
            assert!(found == expected, "it opened with {} of {} pairs", found.len(), expected.len());
            Opened::Whole
        }
    }
}

struct Populated {
    _directory: tempfile::TempDir,
    path: PathBuf,
    expected: Pairs,
    /// All but the lock, and lists of tables that a later one has replaced: nothing depends on those.
    files: Vec<PathBuf>,
}

fn populated() -> Populated {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let expected = populate(&path);
    let mut files: Vec<PathBuf> =
        files(&path).iter().map(|file| file.strip_prefix(&path).unwrap().to_owned()).collect();
    let current = fs::read(path.join("tree/current")).unwrap();
    let list = format!("tree/v{}", u64::from_le_bytes(*current.first_chunk().unwrap()));
    files.retain(|file| !file.starts_with("lock"));
    files.retain(|file| *file == Path::new(&list) || !file.to_str().unwrap().starts_with("tree/v"));
    let count = |part: &str| files.iter().filter(|file| file.starts_with(part)).count();
    assert!(count("tree/tables") >= 1, "{files:?}");
    assert!(count("log") >= 1 && count("mark") == 1 && count("format") == 1, "{files:?}");
    assert_eq!(try_open(&path, &expected, |_| ()), Opened::Whole);
    Populated { _directory: directory, path, expected, files }
}

/// Offsets that cover a file: its first and last bytes, and some of each stretch between.
fn offsets(length: usize, chance: &mut Chance) -> Vec<usize> {
    let mut offsets: Vec<usize> = (0..length.min(32)).chain(length.saturating_sub(32)..length).collect();
    offsets.extend(
        (0..length)
            .step_by(length / 12 + 1)
            .map(|start| (start + chance.below(length as u64 / 12 + 1) as usize).min(length - 1)),
    );
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

#[test]
fn a_flipped_byte_in_any_file_is_refused_or_harmless() {
    let store = populated();
    let mut refused = std::collections::BTreeMap::<&Path, usize>::new();
    let mut chance = Chance(11);
    for file in &store.files {
        let length = fs::metadata(store.path.join(file)).unwrap().len() as usize;
        for offset in offsets(length, &mut chance) {
            let opened = try_open(&store.path, &store.expected, |copied| {
                let path = copied.join(file);
                let mut bytes = fs::read(&path).unwrap();
                bytes[offset] ^= 1 << chance.below(8);
                fs::write(&path, bytes).unwrap();
            });
            if let Opened::Refused(why) = opened {
                assert!(why.contains("damaged") || why.contains("missing"), "{file:?} {offset}: {why}");
                *refused.entry(file).or_default() += 1;
            }
        }
    }
    for file in &store.files {
        let part = file.iter().next().unwrap();
        if part == "tree" || part == "format" || part == "log" {
            assert!(refused.get(file.as_path()).is_some_and(|count| *count > 10), "{file:?}: {refused:?}");
        }
    }
}

#[test]
fn a_cut_file_is_refused_or_harmless() {
    let store = populated();
    let mut refused = 0;
    for file in &store.files {
        let length = fs::metadata(store.path.join(file)).unwrap().len();
        for cut in [1, 2, 7, 8, 9, 24, 25, 100, length / 2, length.saturating_sub(1), length] {
            let opened = try_open(&store.path, &store.expected, |copied| {
                let cut_file = fs::OpenOptions::new().write(true).open(copied.join(file)).unwrap();
                cut_file.set_len(length.saturating_sub(cut)).unwrap();
            });
            refused += usize::from(opened != Opened::Whole);
        }
    }
    assert!(refused > 10 * (store.files.len() - 2), "{refused}");
}

#[test]
fn a_missing_file_is_refused() {
    let store = populated();
    for file in &store.files {
        let opened = try_open(&store.path, &store.expected, |copied| {
            fs::remove_file(copied.join(file)).unwrap();
        });
        // Segments of the log that the tables hold already may go.
        let spare = file.starts_with("log") && opened == Opened::Whole;
        assert!(spare || matches!(opened, Opened::Refused(_)), "{file:?}: {opened:?}");
    }
    for folder in ["log", "tree", "tree/tables"] {
        let opened = try_open(&store.path, &store.expected, |copied| {
            fs::remove_dir_all(copied.join(folder)).unwrap();
        });
        assert!(matches!(opened, Opened::Refused(_)), "{folder}: {opened:?}");
    }
}

#[test]
fn an_older_copy_of_the_log_or_of_the_tree_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    populate(&path);
    let older = directory.path().join("older");
    copy(&path, &older);
    let mut engine = open(&path);
    let of = conversation("general");
    for number in 0..200 {
        let item = message(of, "alice", &format!("later{number}"), &"y".repeat(300));
        storage::run(&mut engine, append_request(of, vec![item], 0));
        engine.sync().unwrap();
    }
    drop(engine);
    for part in ["log", "tree"] {
        let scratch = tempfile::tempdir().unwrap();
        let mixed = scratch.path().join("data");
        copy(&path, &mixed);
        fs::remove_dir_all(mixed.join(part)).unwrap();
        copy(&older.join(part), &mixed.join(part));
        let refused = EmbeddedEngine::open(&mixed, SETTINGS).unwrap_err().to_string();
        assert!(refused.contains("restore the whole data directory"), "{part}: {refused}");
    }
}

#[test]
fn the_files_of_two_stores_do_not_mix() {
    let first = populated();
    let second = populated();
    for part in ["log", "tree", "mark"] {
        let opened = try_open(&first.path, &first.expected, |copied| {
            let (from, to) = (second.path.join(part), copied.join(part));
            if from.is_dir() {
                fs::remove_dir_all(&to).unwrap();
                copy(&from, &to);
            } else {
                fs::copy(from, to).unwrap();
            }
        });
        assert!(matches!(opened, Opened::Refused(_)), "{part}: {opened:?}");
    }
}

#[test]
fn a_torn_end_of_the_log_that_nobody_was_told_of_is_dropped() {
    let store = populated();
    let last = store.files.iter().rfind(|file| file.starts_with("log")).unwrap();
    let mut chance = Chance(5);
    for length in [1, 3, 19, 20, 21, 100, 5_000] {
        let garbage: Vec<u8> = (0..length).map(|_| chance.next() as u8).collect();
        let opened = try_open(&store.path, &store.expected, |copied| {
            let mut bytes = fs::read(copied.join(last)).unwrap();
            bytes.extend_from_slice(&garbage);
            fs::write(copied.join(last), bytes).unwrap();
        });
        assert_eq!(opened, Opened::Whole, "{length} bytes of garbage");
    }
}

#[test]
fn a_directory_of_something_else_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("log")).unwrap();
    fs::write(directory.path().join("log/mine"), "mine").unwrap();
    let refused = EmbeddedEngine::open(directory.path(), SETTINGS).unwrap_err().to_string();
    assert!(refused.contains("no file \"format\""), "{refused}");
    assert_eq!(fs::read(directory.path().join("log/mine")).unwrap(), b"mine");
}

#[test]
fn an_interrupted_making_is_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    fs::rename(directory.path().join("format"), directory.path().join("format.new")).unwrap();
    fs::remove_file(directory.path().join("mark")).unwrap();
    let mut engine = open(directory.path());
    assert_eq!(pairs(&mut engine).unwrap(), []);
    drop(engine);
    assert!(!directory.path().join("format.new").exists());
}
