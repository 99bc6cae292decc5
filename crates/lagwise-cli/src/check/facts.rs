//! What is known of each node at one moment: the monitor's word, and the server's own.
//!
//! That a node cannot be reached the monitor says; why, only the attempt to ask it by other means
//! does. Facts are gathered here and judged in `judge`.

use std::sync::Arc;
use std::time::Duration;

use lagwise::Role;
use lagwise::status;

use super::stream::Stream;
use crate::trouble::Trouble;

/// The cluster, as far as it matters to each of its nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    /// The node that accepts writes, while it can be asked.
    pub(crate) primary: Option<Arc<str>>,
    /// For how long that has been so.
    pub(crate) primary_for: Duration,
    /// Whether it has written since it was first asked.
    pub(crate) writes: bool,
    /// Whether every node has answered, or was seen not to.
    pub(crate) all_heard: bool,
}

impl Scene {
    /// Whether nobody accepts writes, and that is not only because it is too early to know.
    pub(crate) fn is_without_primary(&self) -> bool {
        self.primary.is_none() && self.all_heard && self.primary_for >= MOMENT
    }

    /// Whether there has been time to prove what can be proved at once.
    pub(crate) fn has_lasted(&self) -> bool {
        self.primary_for >= WHILE
    }
}

/// What is known of a node.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub(crate) struct Facts {
    pub(crate) name: Arc<str>,
    /// What it was given as, where it was.
    pub(crate) given_as: Option<Role>,
    /// What it says that it is.
    pub(crate) role: Option<Role>,
    /// Whether it is the node that gets the writes.
    pub(crate) is_primary: bool,
    pub(crate) membership: &'static str,
    pub(crate) cause: Option<&'static str>,
    /// The most that it can be behind.
    pub(crate) most: Option<Duration>,
    /// The least that it is behind.
    pub(crate) least: Option<Duration>,
    pub(crate) estimate: Option<Duration>,
    /// How long ago what it replayed last had been committed, by the clocks of the servers.
    pub(crate) by_commits: Option<Duration>,
    pub(crate) bytes: Option<u64>,
    pub(crate) lsn: Option<String>,
    pub(crate) balanced: bool,
    pub(crate) stream: Stream,
    /// For how long the stream has been seen to be what it is.
    pub(crate) stream_for: Duration,
    pub(crate) paused: bool,
    /// Whether it accepts no writes although it is no standby.
    pub(crate) read_only: bool,
    /// The node that is the same server under another name, and counts in its stead.
    pub(crate) twin: Option<Arc<str>>,
    /// Whether every node has said which server it is, or why it does not.
    pub(crate) all_identified: bool,
    /// Why it did not answer when it was last asked on a connection of its own.
    pub(crate) trouble: Option<Trouble>,
}

impl Facts {
    /// What the monitor knows of a node, before anything else is.
    pub(crate) fn of(node: &status::Node, given_as: Option<Role>) -> Self {
        let span = |seconds: Option<f64>| seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        let role = [Role::Primary, Role::Replica];
        Self {
            name: Arc::clone(&node.name),
            given_as,
            role: role
                .into_iter()
                .find(|role| node.role == Some(role.as_str())),
            is_primary: node.is_primary,
            membership: node.membership,
            cause: node.cause,
            most: span(node.staleness_seconds),
            least: span(node.behind_for_seconds),
            estimate: span(node.estimate_seconds),
            by_commits: None,
            bytes: node.bytes_behind,
            lsn: node.lsn.clone(),
            balanced: node.balanced,
            stream: Stream::Unknown,
            stream_for: Duration::ZERO,
            paused: node.cause == Some("paused"),
            read_only: false,
            twin: None,
            all_identified: false,
            trouble: None,
        }
    }

    /// Whether the monitor gets no answer.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.cause == Some("unreachable")
    }

    /// Whether it has answered, or was seen not to.
    pub(crate) fn is_heard(&self) -> bool {
        match self.role {
            Some(_) if !self.is_unreachable() => true,
            _ => self.is_unreachable() && self.trouble.is_some(),
        }
    }

    /// Whether it takes reads.
    pub(crate) fn takes_reads(&self) -> bool {
        self.membership == IN_ROTATION
    }

    /// Whether its place in the rotation is not about to change by itself.
    pub(crate) fn has_place(&self) -> bool {
        let on_its_way = self.membership == "probation" || self.cause == Some("unproved");
        self.takes_reads() || !on_its_way
    }
}

pub(crate) const IN_ROTATION: &str = "in_rotation";

/// Longer than a promotion that was just seen to happen takes to be seen whole.
const MOMENT: Duration = Duration::from_millis(500);

/// A proof that takes longer waits for something to be replayed.
const WHILE: Duration = Duration::from_secs(2);
