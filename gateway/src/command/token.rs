//! `token`: a signed token on stdout, and nothing else there.

use std::time::Duration;

use clap::Args;
use protocol::id::{InvalidId, Tenant, UserId};

use super::{Failure, print};
use crate::auth::{TokenRequest, sign_hs256};
use crate::config::Config;
use crate::credentials::{self, CredentialsError};

pub(super) const HELP: &str = "\
Signs with auth.hs256_secret, or with the development secret of the data directory when none is configured.

Examples:
  murmuring token --user alice
  murmuring token --user backend --admin --ttl 5m --tenant acme";

/// Longest life of a token: ten years.
const TTL_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Who a command acts as.
#[derive(Args, Clone, Debug)]
pub(super) struct User {
    /// User id
    #[arg(long, value_name = "USER", value_parser = user_id)]
    pub(super) user: UserId,
    /// Tenant of the user
    #[arg(long, value_name = "TENANT", value_parser = tenant, default_value = "default")]
    pub(super) tenant: Tenant,
}

/// Print a signed token.
#[derive(Args, Debug)]
pub(super) struct Token {
    #[command(flatten)]
    user: User,
    /// How long it is good for: a number with s, m, h or d; seconds without
    #[arg(long, value_name = "TIME", value_parser = time_to_live, default_value = "1h")]
    ttl: Duration,
    /// Let it act for every user of its tenant on the HTTP API
    #[arg(long)]
    admin: bool,
}

impl Token {
    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        let token = sign(config, &self.user, self.ttl, self.admin)?;
        print(&format!("{token}\n"))
    }
}

/// Signs a token with the configuration's secret; says on stderr when that had to be made first.
pub(super) fn sign(
    config: &Config,
    user: &User,
    ttl: Duration,
    admin: bool,
) -> Result<String, CredentialsError> {
    let signing = credentials::signing(config)?.ok_or(CredentialsError::NothingToSignWith)?;
    if let Some((path, true)) = &signing.development {
        eprintln!("murmuring: no secret is configured; made a development secret in {}", path.display());
    }
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let request = TokenRequest {
        user: user.user,
        tenant: user.tenant,
        admin,
        expires_s: ring::clock::realtime_ms() / 1_000 + ttl.as_secs(),
        audience: text(&config.auth.audience),
        issuer: text(&config.auth.issuer),
    };
    Ok(sign_hs256(signing.secret.reveal().as_bytes(), &request))
}

pub(super) fn user_id(text: &str) -> Result<UserId, &'static str> {
    UserId::parse(text).map_err(InvalidId::message)
}

pub(super) fn tenant(text: &str) -> Result<Tenant, &'static str> {
    Tenant::parse(text).map_err(InvalidId::message)
}

/// A whole number with its unit (none: seconds), at least a second.
fn time_to_live(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected a number with s, m, h or d, such as 90s or 12h";
    let (number, unit) =
        text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(EXPECTED),
    };
    let number: u64 = number.parse().map_err(|_| EXPECTED)?;
    let ttl = Duration::from_secs(number.saturating_mul(seconds));
    if ttl.is_zero() {
        return Err("a token must live a second at least");
    }
    if ttl > TTL_MAX { Err("a token must not live longer than ten years") } else { Ok(ttl) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_has_a_number_a_unit_and_bounds() {
        for (text, seconds) in
            [("1s", 1), ("90s", 90), ("90", 90), ("5m", 300), ("1h", 3_600), ("2d", 172_800)]
        {
            assert_eq!(time_to_live(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "0", "1x", "1hh", "-1h", "1.5h", "0s", "3661d", "18446744073709551615d", "1é"]
        {
            assert!(time_to_live(text).is_err(), "{text}");
        }
    }
}
