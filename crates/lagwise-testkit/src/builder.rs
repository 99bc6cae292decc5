//! What a cluster shall be like, and its start.
//!
//! A start is a race for milliseconds, since every test begins with one: data folders are copied
//! rather than initialized, and everything that can happens at the same time. From the moment there
//! is a folder there is a watchdog, so a start that fails or is given up leaves nothing behind.

use std::path::Path;
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
        let base = folder::base(recipe.account)?;
        let folder = folder::make(recipe.account, &base)?;
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
        for number in 0..=self.replicas {
            let name = if number == 0 {
                "p".to_owned()
            } else {
                format!("r{number}")
            };
            cluster.add(Makings {
                name,
                settings: settings.clone(),
                recipe: Arc::clone(recipe),
                patience: self.patience,
            })?;
        }
        Ok(cluster)
    }

    async fn populate(&self, recipe: &Recipe, cluster: &Cluster) -> Result<()> {
        let draft = cluster.folder().join("template");
        let template = if self.own_system_identifier {
            recipe.make(&draft).await?;
            draft
        } else {
            let base = cluster
                .folder()
                .parent()
                .unwrap_or_else(|| cluster.folder());
            recipe.cached(base, &draft).await?
        };
        let primary = cluster.primary();
        let mut work = JoinSet::new();
        for node in cluster.nodes() {
            let (node, template, primary) = (node.clone(), template.clone(), primary.clone());
            work.spawn(async move { prepare(&node, &template, &primary).await });
        }
        all(work).await?;
        // A standby that finds no primary waits before it tries again; so the primary goes first.
        let mut work = JoinSet::new();
        for replica in cluster.replicas() {
            let replica: Node = replica.clone();
            work.spawn(async move { replica.start().await });
        }
        all(work).await?;
        cluster.wait_streaming().await
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
