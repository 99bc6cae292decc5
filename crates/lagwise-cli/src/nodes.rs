//! Which nodes a command is about: from flags, from the environment, or from a file.
//!
//! Flags go before the environment, and that before the file that it names. A service reads the same
//! file, so that what watches over it looks at the same nodes with the same limits. Passwords are
//! looked for where libpq does, and are never shown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use lagwise::config::Config;
use lagwise::{Role, RouterBuilder};
use sqlx::Postgres;

use crate::failure::Failure;
use crate::format::duration;

/// The nodes, and how they are looked at.
///
/// Where no flag names a node, the environment does: `LAGWISE_PRIMARY` and `LAGWISE_REPLICAS` (with commas
/// between), or `LAGWISE_URL`, or `LAGWISE_CONFIG`. Flags and environment are never mixed: nodes of two
/// clusters could meet.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Nodes")]
pub(crate) struct NodeArgs {
    /// The primary: a URL or `key=value` pairs [env: `LAGWISE_PRIMARY`]
    #[arg(long, value_name = "URL")]
    primary: Option<String>,
    /// A replica, under a name of its own as `db-2=URL` or as `replica-1`, `replica-2` and so on; once
    /// for each [env: `LAGWISE_REPLICAS`, with commas between]
    #[arg(long = "replica", value_name = "[NAME=]URL", requires = "primary")]
    replicas: Vec<String>,
    /// All nodes as one connection string with several hosts, `postgres://app@db-1,db-2,db-3/shop`; which
    /// is the primary is found by asking [env: `LAGWISE_URL`]
    #[arg(long, value_name = "URL", conflicts_with_all = ["primary", "replicas"])]
    url: Option<String>,
    /// A TOML file with the nodes and the router's settings [env: `LAGWISE_CONFIG`]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["primary", "replicas", "url"])]
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
        if self.primary.is_some() || self.url.is_some() || self.config.is_some() {
            return self.named();
        }
        let replicas = variable("LAGWISE_REPLICAS").unwrap_or_default();
        let replicas = replicas
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty());
        let environment = Self {
            primary: variable("LAGWISE_PRIMARY"),
            replicas: replicas.map(str::to_owned).collect(),
            url: variable("LAGWISE_URL"),
            config: variable("LAGWISE_CONFIG").map(PathBuf::from),
            ..Self::default()
        };
        environment.named()
    }

    /// The nodes that are named here: one by one, or by one string, or by a file.
    fn named(&self) -> Result<Config, Failure> {
        let mut config = Config::new();
        match (&self.primary, &self.url, &self.config) {
            (Some(primary), ..) => {
                config
                    .add(Role::Primary, None, primary)
                    .map_err(Failure::Nodes)?;
                for replica in &self.replicas {
                    let (name, url) = named(replica);
                    config
                        .add(Role::Replica, name, url)
                        .map_err(Failure::Nodes)?;
                }
            }
            (None, Some(url), _) => config.add_hosts(url).map_err(Failure::Nodes)?,
            (None, None, Some(file)) => {
                config = of_file(file)?;
            }
            (None, None, None) => return Err(Failure::NoNodes),
        }
        Ok(config)
    }
}

/// The nodes of a file.
pub(crate) fn of_file(file: &Path) -> Result<Config, Failure> {
    let config = Config::from_file(file).map_err(Failure::Nodes)?;
    if config.nodes().is_empty() {
        return Err(Failure::NoNodesIn(file.to_owned()));
    }
    Ok(config)
}

/// An empty variable is as good as none.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
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
