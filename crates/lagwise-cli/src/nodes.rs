//! Which nodes a command is about: from flags, from the environment, or from a file.
//!
//! Flags go before the environment, and that before the file that it names. A service reads the same
//! file, so that what watches over it looks at the same nodes with the same limits. Passwords are
//! looked for where libpq does, and are never shown.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lagwise::config::Config;
use lagwise::{Role, RouterBuilder};
use sqlx::Postgres;

use crate::failure::Failure;
use crate::format::duration;

/// The nodes, and how they are looked at.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Nodes")]
pub(crate) struct NodeArgs {
    /// The primary: a URL or `key=value` pairs.
    #[arg(
        long,
        value_name = "URL",
        env = "LAGWISE_PRIMARY",
        hide_env_values = true
    )]
    primary: Option<String>,
    /// A replica, under a name of its own as `db-2=URL` or as `replica-1`, `replica-2` and so on; once
    /// for each. Without any, `LAGWISE_REPLICAS`: the same, with commas between.
    #[arg(long = "replica", value_name = "[NAME=]URL")]
    replicas: Vec<String>,
    /// All nodes as one connection string with several hosts, `postgres://app@db-1,db-2,db-3/shop`; which
    /// is the primary is found by asking.
    #[arg(long, value_name = "URL", env = "LAGWISE_URL", hide_env_values = true, conflicts_with_all = ["primary", "replicas"])]
    url: Option<String>,
    /// A TOML file with the nodes and the router's settings.
    #[arg(long, value_name = "FILE", env = "LAGWISE_CONFIG", conflicts_with_all = ["primary", "replicas", "url"])]
    config: Option<PathBuf>,
    /// The lag beyond which a replica takes no reads. 1s unless set here or in the file.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_lag: Option<Duration>,
    /// How often each node is asked. 100ms unless set here or in the file.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    poll_interval: Option<Duration>,
}

/// The nodes that were found, and the settings to watch them with.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    config: Config,
    max_lag: Option<Duration>,
    poll_interval: Option<Duration>,
}

impl NodeArgs {
    /// The nodes, from wherever they are named.
    pub(crate) fn resolve(&self) -> Result<Nodes, Failure> {
        Ok(Nodes {
            config: self.read()?,
            max_lag: self.max_lag,
            poll_interval: self.poll_interval,
        })
    }

    fn read(&self) -> Result<Config, Failure> {
        let flags = !self.replicas.is_empty();
        if let (Some(file), false) = (&self.config, flags) {
            return Config::from_file(file).map_err(Failure::Nodes);
        }
        let mut config = Config::new();
        if let (Some(url), false) = (&self.url, flags) {
            config.add_hosts(url).map_err(Failure::Nodes)?;
            return Ok(config);
        }
        let primary = self.primary.as_deref().ok_or(Failure::NoNodes)?;
        config
            .add(Role::Primary, None, primary)
            .map_err(Failure::Nodes)?;
        let listed = std::env::var("LAGWISE_REPLICAS").unwrap_or_default();
        let listed = listed.split(',').map(str::trim).filter(|_| !flags);
        let given = self.replicas.iter().map(String::as_str);
        for replica in given.chain(listed).filter(|text| !text.is_empty()) {
            let (name, url) = named(replica);
            config
                .add(Role::Replica, name, url)
                .map_err(Failure::Nodes)?;
        }
        Ok(config)
    }
}

/// `db-2=postgres://..` has a name; `host=db-2 ..` and `postgres://..?a=b` have none.
fn named(text: &str) -> (Option<&str>, &str) {
    match text.split_once('=') {
        Some((name, url)) if is_name(name) && url.contains("://") => (Some(name), url),
        _ => (None, text),
    }
}

fn is_name(text: &str) -> bool {
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(plain)
}

impl Nodes {
    /// What is known of them before anybody is asked.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// A router that only watches them: one connection of the monitor to each, and none to serve.
    pub(crate) fn watcher(&self) -> RouterBuilder<Postgres> {
        let mut builder = self.config.builder();
        if let Some(interval) = self.poll_interval {
            builder = builder.poll_interval(interval);
        }
        if let Some(lag) = self.max_lag {
            builder = builder.max_lag(lag);
        }
        // Somebody is looking all the time, although nothing is read.
        builder
            .without_catalog()
            .policy(|policy| policy.idle_poll_interval = policy.poll_interval)
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_name_stands_before_a_url_and_nothing_else_is_taken_for_one() {
        for (text, expected) in [
            (
                "db-2=postgres://a/b?c=d",
                (Some("db-2"), "postgres://a/b?c=d"),
            ),
            ("postgres://a/b?c=d", (None, "postgres://a/b?c=d")),
            ("host=a dbname=b", (None, "host=a dbname=b")),
            ("postgres://u:p=w@a/b", (None, "postgres://u:p=w@a/b")),
        ] {
            assert_eq!(named(text), expected, "{text}");
        }
    }
}
