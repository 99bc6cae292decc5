//! What a cluster shall be like, and its start.
//!
//! A start is a race for milliseconds, since every test begins with one: data folders are copied
//! rather than initialized, and everything that can happens at the same time. From the moment there
//! is a folder there is a watchdog, so a start that fails or is given up leaves nothing behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::account::Account;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::folder;
use crate::installation::Installation;
use crate::node::{Makings, Node};
use crate::program;
use crate::settings::Settings;
use crate::template::Recipe;
use crate::watchdog::{Ending, Watchdog};
use crate::wire::Relays;

/// Has the folders of failed clusters stay, for a look at what happened.
const KEEP: &str = "LAGWISE_TESTKIT_KEEP";

/// Describes a cluster and starts it; made by [`Cluster::builder`].
///
/// ```no_run
/// # async fn example() -> Result<(), lagwise_testkit::Error> {
/// let cluster = lagwise_testkit::Cluster::builder()
///     .replicas(2)
///     .setting("synchronous_commit", "off")
///     .start()
///     .await?;
/// # cluster.shutdown().await
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    replicas: usize,
    names: Vec<String>,
    first_port: Option<u16>,
    folder: Option<PathBuf>,
    hba: Vec<String>,
    version: Option<u32>,
    settings: Vec<(String, String)>,
    patience: Duration,
    wal_segment_mb: u32,
    own_system_identifier: bool,
    keep_on_failure: bool,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            replicas: 0,
            names: Vec::new(),
            first_port: None,
            folder: None,
            hba: Vec::new(),
            version: None,
            settings: Vec::new(),
            patience: Duration::from_secs(30),
            wal_segment_mb: 16,
            own_system_identifier: false,
            keep_on_failure: std::env::var_os(KEEP).is_some_and(|value| value == "1"),
        }
    }

    /// The number of replicas, `r1` and following, that stream from the primary; none at first.
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// The names of the nodes, the primary's first, in place of `p`, `r1` and so on; nodes beyond the
    /// last name keep their own.
    ///
    /// A name is made of ASCII letters, digits, `-` and `_`.
    pub fn names<Name: Into<String>>(mut self, names: impl IntoIterator<Item = Name>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Has [`Node::url`] of the primary be at this port, and those of the replicas at the following
    /// ones, so that addresses stay the same from one cluster to the next; any free port else.
    pub fn ports(mut self, first: u16) -> Self {
        self.first_port = Some(first);
        self
    }

    /// Makes the cluster's folder at this path, where nothing must be yet, in place of one in memory.
    ///
    /// It goes with the cluster. The folder above it is the caller's, and has to be one in which
    /// servers may make folders: [`Cluster::make_folder`] makes such a one.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// A line of `pg_hba.conf` that goes before the kit's own, which trust everyone.
    ///
    /// Every connection reaches a server over its Unix socket, also one to [`Node::url`], so it is a
    /// line for `local`: `local all app scram-sha-256` has the role `app` show its password. The
    /// kit itself, and standbys, connect as `postgres`.
    pub fn hba(mut self, line: impl Into<String>) -> Self {
        self.hba.push(line.into());
        self
    }

    /// The major version of PostgreSQL; the newest installed one if this is not called.
    pub fn version(mut self, major: u32) -> Self {
        self.version = Some(major);
        self
    }

    /// A setting of every node, in place of PostgreSQL's default or the kit's.
    ///
    /// The kit's defaults make servers fast and quiet: no `fsync`, no `autovacuum`, and a standby
    /// that tries to reconnect every 100 ms rather than every 5 s.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// How long anything may take that a node is asked for or that is waited for; 30 s at first.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The size of a segment of the write-ahead log, a power of two from 1 to 1024; 16 at first.
    ///
    /// One megabyte makes for the smallest clusters.
    pub fn wal_segment_mb(mut self, megabytes: u32) -> Self {
        self.wal_segment_mb = megabytes;
        self
    }

    /// Gives the cluster a system identifier of its own, which takes an `initdb` more.
    ///
    /// Clusters are copies of one template, so without this call all of them have one identifier
    /// and pass for the same cluster: call it where a test needs a foreign one.
    pub fn own_system_identifier(mut self) -> Self {
        self.own_system_identifier = true;
        self
    }

    /// Whether the folder stays when the test panics, or the process is killed, for a look at it.
    ///
    /// The servers end all the same. The environment variable `LAGWISE_TESTKIT_KEEP=1` asks for
    /// this too. Where the folder is goes to standard error.
    pub fn keep_on_failure(mut self, keep: bool) -> Self {
        self.keep_on_failure = keep;
        self
    }

    /// Starts the cluster, and waits till every replica streams.
    ///
    /// # Errors
    ///
    /// Where no PostgreSQL is found, the error says what to install; where a server does not start,
    /// it carries the end of its log.
    ///
    /// # Cancel safety
    ///
    /// What was started by then ends, and its folder is removed, before the drop returns.
    pub async fn start(self) -> Result<Cluster> {
        let version = self.version;
        let installation = program::blocking(move || match version {
            Some(major) => Installation::find_version(major),
            None => Installation::find(),
        })
        .await?;
        let account = Account::for_servers()?;
        let recipe = Arc::new(Recipe {
            account,
            installation,
            wal_segment_mb: self.wal_segment_mb,
        });
        let cluster = self.assemble(&recipe)?;
        self.populate(&recipe, &cluster).await?;
        Ok(cluster)
    }

    /// Makes everything but the servers; from here on, dropping the cluster removes it.
    fn assemble(&self, recipe: &Arc<Recipe>) -> Result<Cluster> {
        let names = self.node_names()?;
        let folder = match &self.folder {
            Some(folder) => folder::make_at(recipe.account, folder, &names)?,
            None => folder::make(recipe.account, &folder::base(recipe.account)?, &names)?,
        };
        let watchdog = Watchdog::start(recipe.account, &folder, Ending::Orderly)?;
        let relays = Relays::start()?;
        let mut cluster = Cluster::empty(folder, watchdog, relays);
        if self.keep_on_failure {
            cluster.keep_on_failure();
        }
        let mut settings = Settings::new();
        for (name, value) in &self.settings {
            settings.set(name, value);
        }
        for (number, name) in names.into_iter().enumerate() {
            cluster.add(Makings {
                port: self.port(number, &name)?,
                name,
                settings: settings.clone(),
                hba: self.hba.clone(),
                recipe: Arc::clone(recipe),
                patience: self.patience,
            })?;
        }
        Ok(cluster)
    }

    fn node_names(&self) -> Result<Vec<String>> {
        let usual = (0..=self.replicas).map(|number| match number {
            0 => "p".to_owned(),
            _ => format!("r{number}"),
        });
        let names: Vec<_> = usual
            .enumerate()
            .map(|(number, usual)| self.names.get(number).cloned().unwrap_or(usual))
            .collect();
        for (number, name) in names.iter().enumerate() {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if name.is_empty() || !name.bytes().all(plain) {
                let message =
                    format!("{name:?} is no name of a node: use letters, digits, - and _");
                return Err(Error::new(message));
            }
            if names[..number].contains(name) {
                return Err(Error::new(format!("two nodes cannot both be {name}")));
            }
        }
        Ok(names)
    }

    fn port(&self, number: usize, name: &str) -> Result<Option<u16>> {
        let Some(first) = self.first_port else {
            return Ok(None);
        };
        let number = u16::try_from(number).ok();
        let port = number.and_then(|number| first.checked_add(number));
        let beyond = || format!("there is no port for {name}: {first} is too near the last, 65535");
        port.map(Some).ok_or_else(|| Error::new(beyond()))
    }

    async fn populate(&self, recipe: &Recipe, cluster: &Cluster) -> Result<()> {
        let template = self.template(recipe, cluster).await?;
        let primary = cluster.primary();
        let mut work = JoinSet::new();
        for node in cluster.nodes() {
            let (node, template, primary) = (node.clone(), template.clone(), primary.clone());
            work.spawn(async move { prepare(&node, &template, &primary).await });
        }
        all(work).await?;
        if self.own_system_identifier {
            // Nobody else has a use for it, and it is as large as a node.
            let removed = std::fs::remove_dir_all(&template);
            removed.map_err(|error| Error::because("cannot remove the template", error))?;
        }
        // A standby that finds no primary waits before it tries again; so the primary goes first.
        let mut work = JoinSet::new();
        for replica in cluster.replicas() {
            let replica: Node = replica.clone();
            work.spawn(async move { replica.start().await });
        }
        all(work).await?;
        cluster.wait_streaming().await
    }

    async fn template(&self, recipe: &Recipe, cluster: &Cluster) -> Result<PathBuf> {
        let draft = cluster.folder().join("template");
        if self.own_system_identifier {
            recipe.make(&draft).await?;
            return Ok(draft);
        }
        let base = folder::base(recipe.account)?;
        if self.folder.is_none() {
            return recipe.cached(&base, &draft).await;
        }
        // A draft becomes the template by being renamed, which it can only where that is to be.
        let workshop = folder::make(recipe.account, &base, &[])?;
        let mut watchdog = Watchdog::start(recipe.account, &workshop, Ending::Orderly)?;
        let template = recipe.cached(&base, &workshop.join("template")).await?;
        program::blocking(move || watchdog.clean_up()).await?;
        Ok(template)
    }
}

/// Fills a node's folder, and starts the primary: its start then overlaps the copying of others.
async fn prepare(node: &Node, template: &Path, primary: &Node) -> Result<()> {
    node.copy_from(template).await?;
    if node.name() == primary.name() {
        return node.start().await;
    }
    node.become_standby_of(primary)
}

/// Waits for all, or the first that fails; the others are given up then.
async fn all(mut work: JoinSet<Result<()>>) -> Result<()> {
    while let Some(done) = work.join_next().await {
        done.unwrap_or_else(|error| Err(Error::because("a part of the start ended early", error)))?;
    }
    Ok(())
}
