//! Promises of the configuration (PROTOCOL, section 6): the order of its sources, every error by name, bounds on both
//! sides, and a printed default that is the default.

use std::ffi::OsString;
use std::path::PathBuf;

use gateway::config::{Config, EngineKind, Level, Problems, Secret, Sources, default_text, load};

fn sources(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> (Sources, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("murmuring.toml");
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        file: Some(file),
        environment: environment
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect(),
        flags: flags.iter().map(|(flag, key, value)| (*flag, *key, (*value).to_owned())).collect(),
    };
    (sources, directory)
}

fn from_text(text: &str) -> Result<Config, Problems> {
    let (sources, _directory) = sources(text, &[], &[]);
    load(&sources)
}

/// The messages of all problems, one a line.
fn refusal(text: &str) -> String {
    from_text(text).expect_err("must be refused").to_string()
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    assert_eq!(load(&Sources::default()).unwrap(), Config::default());
}

#[test]
fn the_printed_default_parses_back_to_the_default() {
    assert_eq!(from_text(&default_text()).unwrap(), Config::default());
}

#[test]
fn every_key_of_the_printed_default_has_a_comment_above_it() {
    let text = default_text();
    let mut above = "";
    for line in text.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(above.starts_with("# "), "no comment above {line}");
        }
        above = line;
    }
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let text = "[limits]\nbody_bytes = 1\nmeta_bytes = 1\nsends_burst = 1\n";
    let environment =
        [("MURMURING_LIMITS_META_BYTES", "2"), ("MURMURING_LIMITS_SENDS_BURST", "2"), ("HOME", "/")];
    let flags = [("--flag", "limits.sends_burst", "3")];
    let (sources, _directory) = sources(text, &environment, &flags);
    let limits = load(&sources).unwrap().limits;
    assert_eq!((limits.body_bytes, limits.meta_bytes, limits.sends_burst), (1, 2, 3));
}

#[test]
fn every_type_reads_from_the_file_and_from_the_environment() {
    let text = "[listen]\nclient = \"127.0.0.1:1\"\n[core]\npin = false\n[store]\nengine = \"memory\"\n\
                [auth]\napi_keys = [\"one\", \"two\"]\nhs256_secret = \"s\"\n[debug]\necho = \"127.0.0.1:2\"\n[log]\nlevel = \"debug\"\n";
    let variables = [
        ("MURMURING_LISTEN_CLIENT", "127.0.0.1:1"),
        ("MURMURING_CORE_PIN", "false"),
        ("MURMURING_STORE_ENGINE", "memory"),
        ("MURMURING_AUTH_API_KEYS", "one, two"),
        ("MURMURING_AUTH_HS256_SECRET", "s"),
        ("MURMURING_DEBUG_ECHO", "127.0.0.1:2"),
        ("MURMURING_LOG_LEVEL", "debug"),
    ];
    let from_file = from_text(text).unwrap();
    let (sources, _directory) = sources("", &variables, &[]);
    let from_environment = load(&sources).unwrap();
    assert_eq!(from_file, from_environment);
    assert_eq!(from_file.store.engine, EngineKind::Memory);
    assert_eq!(from_file.log.level, Level::Debug);
    assert_eq!(from_file.auth.api_keys, [Secret::new("one".into()), Secret::new("two".into())]);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let message = refusal("[limits]\nbody_bytes = 5\nbody_byts = 5\n");
    assert!(
        message.contains("murmuring.toml:3: unknown key limits.body_byts; did you mean limits.body_bytes?"),
        "{message}"
    );
}

#[test]
fn what_is_wrong_is_named_in_the_order_of_the_file() {
    let message = refusal("[store]\nengine = 1\nbath = 2\n[zebra]\n[core]\nshards = \"x\"\npin = 3\n");
    let places: Vec<_> = message.lines().map(|line| line.rsplit("toml:").next().unwrap_or(line)).collect();
    let lines: Vec<_> = places.iter().map(|place| &place[..1]).collect();
    assert_eq!(lines, ["2", "3", "4", "6", "7"], "{message}");
}

#[test]
fn an_unknown_section_is_named() {
    let message = refusal("[limit]\nbody_bytes = 5\n");
    assert!(message.contains(":1: unknown section limit; did you mean limits?"), "{message}");
    let message = refusal("client = \"127.0.0.1:1\"\n");
    assert!(message.contains("unknown section client"), "{message}");
}

#[test]
fn an_unknown_variable_with_our_prefix_is_named() {
    let (sources, _directory) = sources("", &[("MURMURING_LIMIT_BODY_BYTES", "5")], &[]);
    let message = load(&sources).unwrap_err().to_string();
    assert!(
        message.contains(
            "unknown variable MURMURING_LIMIT_BODY_BYTES; did you mean MURMURING_LIMITS_BODY_BYTES?"
        ),
        "{message}"
    );
}

#[test]
fn a_variable_that_names_no_section_of_ours_is_not_our_affair() {
    let (sources, _directory) = sources("", &[("MURMURING_BIN", "/bin/murmuring"), ("MURMURING", "1")], &[]);
    assert_eq!(load(&sources).unwrap(), Config::default());
    // What Kubernetes gives to a pod beside a service called "murmuring".
    let kubernetes = [
        ("MURMURING_SERVICE_HOST", "10.0.0.1"),
        ("MURMURING_SERVICE_PORT", "8800"),
        ("MURMURING_PORT", "tcp://10.0.0.1:8800"),
        ("MURMURING_PORT_8800_TCP_ADDR", "10.0.0.1"),
        ("MURMURING_TEST_DIR", "/tmp"),
        ("MURMURING_BINARY_PATH", "/bin/murmuring"),
    ];
    let (sources, _directory) = self::sources("", &kubernetes, &[]);
    assert!(load(&sources).is_ok(), "{:?}", load(&sources));
    let (sources, _directory) = self::sources("", &[("MURMURING_LIMITS_ZEBRAS", "1")], &[]);
    assert!(load(&sources).unwrap_err().to_string().contains("MURMURING_LIMITS_ZEBRAS"));
}

#[test]
fn every_problem_is_told_at_once() {
    let problems = from_text("[limits]\nbody_bytes = \"x\"\nnonsense = 1\n[lisen]\n[core]\nshards = 4000\n")
        .unwrap_err();
    assert_eq!(problems.0.len(), 4, "{problems}");
}

#[test]
fn bounds_hold_on_both_sides() {
    for (key, fine, refused) in [
        ("limits.body_bytes", "1", "0"),
        ("limits.body_bytes", "65536", "65537"),
        ("limits.page_events", "200", "201"),
        ("limits.page_events", "1", "0"),
        ("limits.heartbeat_ms", "100", "99"),
        ("core.shards", "1024", "1025"),
        ("core.receive_buffers", "32768", "32769"),
        ("store.cache_bytes", "1048576", "1048575"),
    ] {
        let (section, name) = key.split_once('.').unwrap();
        let text = |value: &str| format!("[{section}]\n{name} = {value}\n");
        assert!(from_text(&text(fine)).is_ok(), "{key} = {fine}");
        let message = refusal(&text(refused));
        assert!(message.contains(key) && message.contains(refused), "{message}");
    }
}

#[test]
fn a_wrong_type_says_what_is_expected() {
    for (text, expected) in [
        ("[limits]\nbody_bytes = \"many\"\n", "expected a whole number"),
        ("[limits]\nbody_bytes = -1\n", "expected a whole number"),
        ("[core]\npin = 1\n", "expected true or false"),
        ("[listen]\nclient = \"localhost\"\n", "expected an address and a port"),
        ("[auth]\napi_keys = \"one\"\n", "expected a list of texts"),
        ("[store]\nengine = \"mysql\"\n", "\"memory\", \"embedded\" or \"foundationdb\""),
        ("limits = 3\n", "limits is a section"),
    ] {
        let message = refusal(text);
        assert!(message.contains(expected), "{text} gave {message}");
    }
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    let message = refusal("[limits]\nbody_bytes = \n");
    assert!(message.contains("murmuring.toml:2:"), "{message}");
}

#[test]
fn a_missing_file_is_refused_by_name() {
    let sources = Sources { file: Some(PathBuf::from("/nowhere/murmuring.toml")), ..Sources::default() };
    assert!(load(&sources).unwrap_err().to_string().starts_with("/nowhere/murmuring.toml: can't read it"));
}

#[test]
fn an_open_address_without_a_secret_is_refused_and_with_one_is_taken() {
    for open in ["0.0.0.0:8800", "[::]:8800", "192.0.2.1:8800"] {
        let message = refusal(&format!("[listen]\nclient = \"{open}\"\n"));
        assert!(message.contains("open to the network"), "{message}");
        assert!(from_text(&format!("[listen]\nclient = \"{open}\"\n[auth]\nhs256_secret = \"s\"\n")).is_ok());
    }
    assert!(refusal("[listen]\napi = \"0.0.0.0:1\"\n").starts_with("listen.api"));
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    for (text, place) in [
        ("[store]\nengine = \"foundationdb\"\n", "store.engine"),
        ("[store]\npath = \"\"\n", "store.path"),
        ("[auth]\nhs256_secret = \"a\"\nhs256_secret_file = \"b\"\n", "auth.hs256_secret_file"),
        ("[auth]\njwks_url = \"ftp://host\"\n", "auth.jwks_url"),
        ("[auth]\napi_keys = [\"\"]\n", "auth.api_keys"),
        ("[auth]\nticket_secret = \"short\"\n", "auth.ticket_secret"),
        ("[listen]\napi = \"127.0.0.1:8800\"\n", "listen.api"),
        ("[debug]\necho = \"127.0.0.1:8801\"\n", "debug.echo"),
    ] {
        let message = refusal(text);
        assert!(message.starts_with(place), "{text} gave {message}");
    }
}

#[test]
fn no_secret_is_shown_by_debug_or_by_an_error() {
    let config = from_text("[auth]\nhs256_secret = \"swordfish\"\napi_keys = [\"swordfish\"]\n").unwrap();
    assert!(!format!("{config:?}").contains("swordfish"));
    let message = refusal("[auth]\napi_keys = \"swordfish\"\nticket_secret = \"swordfish\"\n");
    assert!(!message.contains("swordfish"), "{message}");
}
