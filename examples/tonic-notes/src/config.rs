//! What the service is told, by flags or by the environment.
//!
//! What may hold a secret is never shown.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The flags of the service, each of which is also a variable of the environment.
///
/// The secret of its sessions is the variable `LAGWISE_KEY` only, since every user of a machine sees
/// flags.
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
    /// How far behind a replica may be that takes reads, such as `500ms`.
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
