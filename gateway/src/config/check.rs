//! What values of the configuration must be together. What one value may be stands beside its key in `section`.

use std::net::SocketAddr;

use protocol::id::DeviceId as NodeName;
use storage::kv::PREFIX_BYTES_MAX;

use super::NODE_NAME_BYTES_MAX;
use super::problem::Problem;
use super::section::Config;
use super::value::{EngineKind, Secret};

/// Everything that does not go together.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |place: &str, message: String| {
        problems.push(Problem { place: place.to_owned(), message });
    };
    check_listen(config, &mut wrong);
    check_auth(config, &mut wrong);
    check_store(config, &mut wrong);
    check_cluster(config, &mut wrong);
    problems
}

fn check_listen(config: &Config, wrong: &mut impl FnMut(&str, String)) {
    let listen = &config.listen;
    let open = |address: SocketAddr| !address.ip().is_loopback();
    if !config.auth.is_configured() {
        for (place, address) in [("listen.client", listen.client), ("listen.api", listen.api)] {
            if open(address) {
                wrong(
                    place,
                    format!(
                        "{address} is open to the network, but [auth] has no secret and no key; the development \
                         secret is for loopback only"
                    ),
                );
            }
        }
    }
    let addresses = [("listen.api", Some(listen.api)), ("debug.echo", config.debug.echo)];
    for (place, address) in addresses {
        if address.is_some_and(|address| address == listen.client && address.port() != 0) {
            wrong(place, format!("{} is listen.client's address too", listen.client));
        }
    }
    if config.debug.echo.is_some_and(|echo| echo == listen.api && echo.port() != 0) {
        wrong("debug.echo", format!("{} is listen.api's address too", listen.api));
    }
}

fn check_auth(config: &Config, wrong: &mut impl FnMut(&str, String)) {
    let auth = &config.auth;
    if !auth.hs256_secret.is_empty() && !auth.hs256_secret_file.is_empty() {
        wrong("auth.hs256_secret_file", "auth.hs256_secret is set too; keep one of them".to_owned());
    }
    let is_web = ["http://", "https://"].iter().any(|scheme| auth.jwks_url.starts_with(scheme));
    if !auth.jwks_url.is_empty() && !is_web {
        wrong("auth.jwks_url", "expected an address that begins with https:// or http://".to_owned());
    }
    if auth.api_keys.iter().any(Secret::is_empty) {
        wrong("auth.api_keys", "an empty key would let everyone in".to_owned());
    }
    let ticket = auth.ticket_secret.reveal().len();
    if ticket > 0 && ticket < TICKET_SECRET_BYTES_MIN {
        wrong(
            "auth.ticket_secret",
            format!(
                "has {ticket} bytes; a MAC key needs {TICKET_SECRET_BYTES_MIN}: `openssl rand -hex 32` makes one"
            ),
        );
    }
}

/// RFC 7518, section 3.2: an HS256 key has at least the size of the hash. Shorter ones are taken, with a warning.
const HS256_SECRET_BYTES_ADVISED: usize = 32;
/// Shorter API keys fall to guessing over the network. They are taken, with a warning.
const API_KEY_BYTES_ADVISED: usize = 16;
/// RFC 2104, section 3: a key shorter than the hash's output weakens the MAC.
const TICKET_SECRET_BYTES_MIN: usize = 32;
/// The same for what nodes prove themselves with.
const CLUSTER_SECRET_BYTES_MIN: usize = crate::link::SECRET_BYTES_MIN;

fn check_store(config: &Config, wrong: &mut impl FnMut(&str, String)) {
    if config.store.engine == EngineKind::Foundationdb && !cfg!(feature = "foundationdb") {
        wrong(
            "store.engine",
            "foundationdb is not in this build: `cargo build --release --features foundationdb` makes one that has it, \
             where libfdb_c and libclang are installed; or use embedded or memory"
                .to_owned(),
        );
    }
    let prefix = config.store.key_prefix.len();
    if prefix > PREFIX_BYTES_MAX {
        wrong(
            "store.key_prefix",
            format!("has {prefix} bytes; it is in every key, so {PREFIX_BYTES_MAX} at most"),
        );
    }
    if config.store.path.is_empty() {
        wrong("store.path", "the data directory has no name".to_owned());
    }
}

fn check_cluster(config: &Config, wrong: &mut impl FnMut(&str, String)) {
    let cluster = &config.cluster;
    if !cluster.node.is_empty() && NodeName::parse(&cluster.node).is_err()
        || cluster.node.len() > NODE_NAME_BYTES_MAX
    {
        wrong("cluster.node", format!("at most {NODE_NAME_BYTES_MAX} of A-Z a-z 0-9 . _ : @ | ~ -"));
    }
    if !cluster.secret.is_empty() && !cluster.secret_file.is_empty() {
        wrong("cluster.secret_file", "cluster.secret is set too; keep one of them".to_owned());
    }
    let secret = cluster.secret.reveal().len();
    if secret > 0 && secret < CLUSTER_SECRET_BYTES_MIN {
        wrong(
            "cluster.secret",
            format!(
                "has {secret} bytes; a MAC key needs {CLUSTER_SECRET_BYTES_MIN}: `openssl rand -hex 32` makes one"
            ),
        );
    }
    if !cluster.has_secret()
        && let Some(listen) = cluster.listen
        && !listen.ip().is_loopback()
    {
        wrong("cluster.listen", format!("{listen} is open to the network, but there is no cluster.secret"));
    }
    if cluster.advertise.is_none() && cluster.listen.is_some_and(|listen| listen.ip().is_unspecified()) {
        wrong(
            "cluster.advertise",
            "other nodes can't reach an unspecified cluster.listen: say how".to_owned(),
        );
    }
    if cluster.advertise.is_some_and(|address| address.ip().is_unspecified() || address.port() == 0) {
        wrong("cluster.advertise", "no address that a node could be reached at".to_owned());
    }
    for router in &cluster.routers {
        let port = router.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            wrong("cluster.routers", format!("{router:?} is not host:port"));
        }
    }
}

/// What is allowed but unwise, a sentence each; shows no secret.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let is_of_cluster = config.store.engine == EngineKind::Foundationdb && !config.cluster.has_secret();
    if is_of_cluster && config.auth.ticket_secret.is_empty() {
        warnings.push(
            "auth.ticket_secret is empty: resume tickets of this node are good at this node alone, and a cluster may have \
             others"
                .to_owned(),
        );
    }
    let secret = config.auth.hs256_secret.reveal().len();
    if secret > 0 && secret < HS256_SECRET_BYTES_ADVISED {
        warnings.push(format!(
            "auth.hs256_secret has {secret} bytes: under {HS256_SECRET_BYTES_ADVISED} a token's signature can be \
             guessed; `openssl rand -hex 32` makes a good one"
        ));
    }
    if config.auth.api_keys.iter().any(|key| key.reveal().len() < API_KEY_BYTES_ADVISED) {
        warnings.push(format!(
            "a key of auth.api_keys has under {API_KEY_BYTES_ADVISED} bytes and can be guessed"
        ));
    }
    if config.store.engine == EngineKind::Memory {
        warnings.push("store.engine is memory: every message is gone when the process ends".to_owned());
    }
    warnings
}
