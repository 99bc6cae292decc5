//! The cluster of a sandbox, and what only the sandbox knows of it.
//!
//! A server can say most of itself, but not that it hangs, nor which of two primaries was meant to be
//! the one. Orders go through here, so an answer always shows how all nodes stand afterwards. What an
//! order does is the business of `obey` and `promote`.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lagwise_testkit::{Cluster, Node};

use crate::failure::Failure;

use super::answer::{Answer, Environment};
use super::order::Order;
use super::standing::Standing;

/// A replica that can stream at all does so well before.
const STREAMING: Duration = Duration::from_secs(10);

/// Why an order was not carried out, for people.
pub(super) type Refusal = String;

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    dir: PathBuf,
    /// The node that was last made the primary.
    pub(super) primary: String,
    /// Nodes that hang, because they were asked to.
    pub(super) frozen: BTreeSet<String>,
    /// Nodes that could not be told of the present primary when it became that.
    pub(super) untold: BTreeSet<String>,
}

impl Stage {
    pub(super) fn new(cluster: Cluster, dir: &Path) -> Self {
        Self {
            primary: cluster.primary().name().to_owned(),
            cluster,
            dir: dir.to_owned(),
            frozen: BTreeSet::new(),
            untold: BTreeSet::new(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Carries out an order.
    pub(super) async fn answer(&mut self, order: &Order) -> Answer {
        match Box::pin(self.obey(order)).await {
            Ok(said) => {
                let nodes = self.look().await;
                Answer {
                    ok: true,
                    error: None,
                    said,
                    dir: self.dir.display().to_string(),
                    primary: self.primary.clone(),
                    env: Environment::of(&nodes, &self.primary),
                    nodes,
                }
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    pub(super) fn refuse(&self, error: Refusal) -> Answer {
        Answer {
            error: Some(error),
            dir: self.dir.display().to_string(),
            primary: self.primary.clone(),
            ..Answer::default()
        }
    }

    /// Ends all servers and removes what they have.
    pub(super) async fn end(self) -> Result<(), Failure> {
        let ended = self.cluster.shutdown().await;
        ended.map_err(|error| Failure::Sandbox(told(&error)))
    }

    /// How all nodes stand; those that hang cost their patience only once.
    async fn look(&self) -> Vec<Standing> {
        let mut nodes = Vec::new();
        for node in self.cluster.nodes() {
            let upstream = node.follows().and_then(|name| self.cluster.node(&name));
            let upstream = upstream.filter(|it| it.is_running() && !self.is_frozen(it));
            nodes.push(Standing::of(node, self.is_frozen(node), upstream).await);
        }
        nodes
    }

    /// The node of that name, whatever became of it.
    pub(super) fn node(&self, name: &str) -> Result<Node, Refusal> {
        self.cluster.node(name).cloned().ok_or_else(|| {
            let names = self.cluster.nodes().iter().map(Node::name);
            let names = names.collect::<Vec<_>>().join(", ");
            format!("there is no node {name}; there are {names}")
        })
    }

    /// The node of that name, if it can be asked something.
    pub(super) fn responsive(&self, name: &str) -> Result<Node, Refusal> {
        let node = self.node(name)?;
        if !node.is_running() {
            return Err(format!("{name} is down; start it first"));
        }
        if self.is_frozen(&node) {
            return Err(format!("{name} is frozen; thaw it first"));
        }
        Ok(node)
    }

    pub(super) fn is_frozen(&self, node: &Node) -> bool {
        node.is_running() && self.frozen.contains(node.name())
    }

    /// Waits till a replica streams, or says why it does not.
    pub(super) async fn settle(&self, node: &Node) -> Option<String> {
        let upstream = node.follows()?;
        let upstream = self.cluster.node(&upstream)?;
        let obstacle = if !node.is_running() {
            Some("it is down")
        } else if self.is_frozen(node) {
            Some("it is frozen")
        } else if node.upstream_wire().is_cut() {
            Some("it is cut off")
        } else if !upstream.is_running() {
            Some("the node it follows is down")
        } else if self.is_frozen(upstream) {
            Some("the node it follows is frozen")
        } else {
            None
        };
        if let Some(obstacle) = obstacle {
            return Some(obstacle.to_owned());
        }
        let streams = tokio::time::timeout(STREAMING, node.wait_streaming()).await;
        if matches!(streams, Ok(Ok(()))) {
            return None;
        }
        Some(match Standing::of(node, false, None).await.faults {
            faults if faults.paused == Some(true) => "its replay is paused".to_owned(),
            faults if faults.delay_ms.is_some_and(|delay| delay > 0) => {
                "its replay is delayed".to_owned()
            }
            _ => format!("it could not reach that within {} s", STREAMING.as_secs()),
        })
    }
}

/// An error of the kit with all its causes, and what the server wrote.
pub(super) fn told(error: &lagwise_testkit::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if let Some(log) = error.log() {
        text.push_str("\nthe server's log ends:\n");
        text.push_str(log);
    }
    text
}
