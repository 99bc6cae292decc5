//! A primary, its replicas, and their end.
//!
//! A cluster owns everything there is of it: the servers, the wires and the folder. When it goes,
//! all of them go, and what remains of a `Node` is a name. Waits that concern several nodes are
//! here; what one node does is `node`'s business.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::account::Account;
use crate::builder::Builder;
use crate::error::{Error, Result};
use crate::node::{Makings, Node};
use crate::program;
use crate::wait;
use crate::watchdog::{Ending, Watchdog};
use crate::wire::Relays;

/// A running PostgreSQL cluster: one primary and its streaming replicas, in a temporary folder.
///
/// Dropping it ends the servers and removes the folder, also while panicking; if the process is
/// killed outright, a watchdog does the same.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), lagwise_testkit::Error> {
/// use lagwise_testkit::Cluster;
///
/// let cluster = Cluster::builder().replicas(1).start().await?;
/// cluster.primary().execute("create table t as select 1 as id").await?;
/// cluster.wait_caught_up().await?;
/// assert_eq!(cluster.replica(0).query_scalar::<i32>("select id from t").await?, 1);
/// cluster.shutdown().await
/// # }
/// ```
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    /// The primary of the start, then the replicas in order; never empty once started.
    nodes: Vec<Node>,
    relays: Relays,
    watchdog: Watchdog,
    keep_on_failure: bool,
}

impl Cluster {
    /// Describes a cluster to start: the newest PostgreSQL installed, with no replicas yet.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Makes a folder in which servers may make folders, for [`Builder::folder`]: it belongs to the
    /// account that they run as, and nobody else may enter it.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, or there is something at this path already.
    pub fn make_folder(path: &Path) -> Result<()> {
        let made = Account::for_servers()?.make_folder(path);
        made.map_err(|error| Error::because(format!("cannot make {}", path.display()), error))
    }

    /// Ends the servers that still run in a cluster's folder, and removes it: for one at a path that
    /// was [chosen](Builder::folder), whose process was killed together with its watchdog, or just
    /// now. Nothing is to be done where there is no such folder.
    ///
    /// # Errors
    ///
    /// Where that takes too long, or the folder could not be removed.
    pub async fn remove_leftovers(folder: &Path) -> Result<()> {
        let Ok(folder) = folder.canonicalize() else {
            return Ok(());
        };
        let account = Account::for_servers()?;
        let mut watchdog = Watchdog::start(account, &folder, Ending::Orderly)?;
        program::blocking(move || watchdog.clean_up()).await
    }

    /// The node that was started as the primary, `p`, whatever its role is now.
    ///
    /// # Panics
    ///
    /// Never: a cluster has a first node.
    #[must_use]
    pub fn primary(&self) -> &Node {
        &self.nodes[0]
    }

    /// A node that was started as a replica, by its number from 0: `replica(0)` is `r1`.
    ///
    /// # Panics
    ///
    /// Where the cluster was started with fewer replicas.
    #[must_use]
    pub fn replica(&self, number: usize) -> &Node {
        &self.replicas()[number]
    }

    /// The nodes that were started as replicas, `r1` and following, whatever their roles are now.
    #[must_use]
    pub fn replicas(&self) -> &[Node] {
        &self.nodes[1..]
    }

    /// All nodes, `p` first.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of that name: `p`, `r1`, `r2` and so on.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name() == name)
    }

    /// The folder that holds the cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits till every running standby streams from the node it follows.
    ///
    /// # Errors
    ///
    /// At the deadline, with the name of the first that does not and the end of its log.
    pub async fn wait_streaming(&self) -> Result<()> {
        for node in self
            .nodes
            .iter()
            .filter(|node| node.is_running() && node.is_standby())
        {
            node.wait_streaming().await?;
        }
        Ok(())
    }

    /// Waits till every running standby has replayed what its primary had written when asked.
    ///
    /// # Errors
    ///
    /// At the deadline, with the name of the first that has not and the end of its log.
    pub async fn wait_caught_up(&self) -> Result<()> {
        for node in self
            .nodes
            .iter()
            .filter(|node| node.is_running() && node.is_standby())
        {
            let source = self.origin_of(node);
            node.wait_replayed(&source.lsn().await?).await?;
        }
        Ok(())
    }

    /// Waits till a condition holds; `what` names it in the error.
    ///
    /// An error of the condition counts as "not yet": a server that restarts refuses connections.
    ///
    /// ```no_run
    /// # async fn example(cluster: lagwise_testkit::Cluster) -> Result<(), lagwise_testkit::Error> {
    /// use std::time::Duration;
    ///
    /// let seen = async || cluster.replica(0).query_scalar("select count(*) > 9 from t").await;
    /// cluster.wait_until(Duration::from_secs(5), "r1 shows ten rows", seen).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// At the deadline, with the last error of the condition as the cause, and the ends of all logs.
    pub async fn wait_until<F, Answer>(
        &self,
        patience: Duration,
        what: &str,
        condition: F,
    ) -> Result<()>
    where
        F: FnMut() -> Answer,
        Answer: Future<Output = Result<bool>>,
    {
        let waited = wait::until_true(patience, what, condition).await;
        waited.map_err(|error| {
            let logs = self
                .nodes
                .iter()
                .map(|node| format!("== {}\n{}", node.name(), node.log()));
            error.with_log(logs.collect::<Vec<_>>().join("\n"))
        })
    }

    /// Ends the servers and removes the folder, as dropping does, but without blocking the runtime.
    ///
    /// # Errors
    ///
    /// Where that takes too long, or the folder could not be removed.
    pub async fn shutdown(mut self) -> Result<()> {
        program::blocking(move || self.end(Outcome::Success)).await
    }

    pub(crate) fn empty(folder: PathBuf, watchdog: Watchdog, relays: Relays) -> Self {
        Self {
            folder,
            nodes: Vec::new(),
            relays,
            watchdog,
            keep_on_failure: false,
        }
    }

    pub(crate) fn add(&mut self, makings: Makings) -> Result<()> {
        let node = Node::make(makings, &self.folder, &self.relays)?;
        self.nodes.push(node);
        Ok(())
    }

    pub(crate) fn keep_on_failure(&mut self) {
        self.keep_on_failure = true;
        // Said now, it holds also when there is no time to say it.
        self.watchdog.keep();
    }

    /// The node at the end of what `node` follows.
    fn origin_of<'a>(&'a self, node: &'a Node) -> &'a Node {
        let mut origin = node;
        // Two standbys may follow each other by mistake; more steps than nodes lead nowhere.
        for _ in &self.nodes {
            match origin.follows().and_then(|name| self.node(&name)) {
                Some(upstream) => origin = upstream,
                None => break,
            }
        }
        origin
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        for node in &self.nodes {
            node.retire();
        }
        match outcome {
            Outcome::Success => self.watchdog.remove(),
            Outcome::Failure if self.keep_on_failure => announce(&self.folder),
            Outcome::Failure => {}
        }
        let cleaned = self.watchdog.clean_up();
        for node in &self.nodes {
            node.bury();
        }
        cleaned
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let outcome = if failed {
            Outcome::Failure
        } else {
            Outcome::Success
        };
        // There is no one to tell: a drop must not panic, and `shutdown` is for those who care.
        drop(self.end(outcome));
    }
}

/// How the test that used the cluster went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Failure,
    Success,
}

#[expect(
    clippy::print_stderr,
    reason = "a kept folder that no one can find is of no use"
)]
fn announce(folder: &Path) {
    eprintln!(
        "lagwise-testkit: kept the failed cluster in {}",
        folder.display()
    );
}
