//! What the service is told: by flags, by the environment, or by a program that it is a part of.
//!
//! What is a secret, or may hold one, is never shown: neither in a message nor in a `Debug` output.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use lagwise::Keys;

use crate::failure::Failure;

/// Where the secret is, that instances share.
const KEY: &str = "LAGWISE_KEY";

/// The flags of the service, each of which is also a variable of the environment.
///
/// `LAGWISE_KEY` is a variable only, since every user of a machine sees flags.
#[derive(clap::Args, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The address to listen on; port 0 for a free one.
    #[arg(long, env = "LAGWISE_LISTEN", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// The URL of the primary. Without one, the service starts a cluster of its own.
    #[arg(
        long,
        env = "LAGWISE_PRIMARY",
        value_name = "URL",
        hide_env_values = true
    )]
    pub primary: Option<String>,
    /// The URL of a replica; once for each, or several with commas between them.
    #[arg(
        long,
        env = "LAGWISE_REPLICA",
        value_name = "URL",
        hide_env_values = true,
        value_delimiter = ',',
        requires = "primary"
    )]
    pub replica: Vec<String>,
    /// How old a read may be, such as `500ms`: replicas that are further behind serve none.
    #[arg(
        long,
        env = "LAGWISE_MAX_LAG",
        value_name = "DURATION",
        default_value = "1s",
        value_parser = humantime::parse_duration
    )]
    pub max_lag: Duration,
    /// How long to wait for a primary at the start, before giving up.
    #[arg(
        long,
        env = "LAGWISE_START_TIMEOUT",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = humantime::parse_duration
    )]
    pub start_timeout: Duration,
    /// What sessions are signed with, for a program that does not take it from `LAGWISE_KEY`.
    #[arg(skip)]
    pub keys: Option<Keys>,
}

impl Config {
    /// The keys that were given, in whichever way.
    pub(crate) fn shared_keys(&self) -> Result<Option<Keys>, Failure> {
        let given = || std::env::var_os(KEY).is_some();
        match &self.keys {
            Some(keys) => Ok(Some(keys.clone())),
            None if given() => Ok(Some(Keys::from_env(KEY)?)),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("replicas", &self.replica.len())
            .field("max_lag", &self.max_lag)
            .field("start_timeout", &self.start_timeout)
            .finish_non_exhaustive()
    }
}

/// Keys that nobody else has.
pub(crate) fn random_keys() -> Result<Keys, Failure> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| Failure::new(error.to_string()))?;
    Ok(Keys::new(secret)?)
}
