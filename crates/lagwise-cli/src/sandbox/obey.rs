//! What each order does to the cluster, and when it is in force.
//!
//! An answer that came too early would make every script that breaks something flaky, so each order
//! ends with the proof that it holds. What cannot be meant is refused with the way out, and changes
//! nothing. Who becomes the primary is `promote`'s business.

use std::time::Duration;

use lagwise_testkit::Node;

use super::order::Order;
use super::promote::History;
use super::stage::{Refusal, Stage, told};
use super::status::in_words;

/// A connection that was reset is seen to be at once.
const NOTICED: Duration = Duration::from_secs(10);

/// As what a node comes back that lost its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Return {
    /// A replica, without what only it had.
    Rewound,
    /// A replica, with that.
    Diverged,
    /// What it was.
    Primary,
}

impl Return {
    fn of(as_primary: bool, no_rewind: bool) -> Self {
        match (as_primary, no_rewind) {
            (true, _) => Self::Primary,
            (false, true) => Self::Diverged,
            (false, false) => Self::Rewound,
        }
    }
}

impl Stage {
    /// Carries out an order, and says what holds now.
    pub(super) async fn obey(&mut self, order: &Order) -> Result<String, Refusal> {
        match order {
            Order::Status | Order::Env => Ok(String::new()),
            Order::Delay { node, by } => self.delay(node, *by).await,
            Order::Pause { node } => {
                let paused = self.replica(node)?.pause_replay().await;
                paused.map_err(|error| told(&error))?;
                Ok(format!("{node} receives, and replays nothing"))
            }
            Order::Resume { node } => {
                let resumed = self.replica(node)?.resume_replay().await;
                resumed.map_err(|error| told(&error))?;
                Ok(format!("{node} replays again"))
            }
            Order::Cut { node, clients } => self.cut(node, *clients).await,
            Order::Heal { node } => self.heal(node).await,
            Order::Freeze { node } => self.freeze(node),
            Order::Thaw { node } => self.thaw(node).await,
            Order::Kill { node } => self.kill(node).await,
            Order::Start {
                node,
                as_primary,
                no_rewind,
            } => {
                let how = Return::of(*as_primary, *no_rewind);
                self.start(node, how).await
            }
            Order::Promote {
                node,
                leave_primary,
                no_follow,
            } => self.promote(node, *leave_primary, *no_follow).await,
        }
    }

    /// A replica that can be asked something.
    fn replica(&self, name: &str) -> Result<Node, Refusal> {
        let node = self.responsive(name)?;
        if node.is_standby() {
            return Ok(node);
        }
        Err(format!("{name} is a primary; only a replica replays"))
    }

    async fn delay(&self, name: &str, by: u64) -> Result<String, Refusal> {
        let delayed = self.replica(name)?;
        let delayed = delayed.set_apply_delay(Duration::from_millis(by)).await;
        delayed.map_err(|error| told(&error))?;
        Ok(match by {
            0 => format!("{name} replays as soon as it receives"),
            _ => format!(
                "{name} replays each commit {} after it was made",
                in_words(by)
            ),
        })
    }

    async fn cut(&self, name: &str, clients: bool) -> Result<String, Refusal> {
        let node = self.node(name)?;
        if clients {
            node.client_wire().cut();
            return Ok(format!("clients are cut off from {name}"));
        }
        let Some(upstream) = node.follows() else {
            return Err(format!(
                "{name} is a primary and receives no stream; cut the replicas, or its clients with \
                 `cut {name} --clients`"
            ));
        };
        node.upstream_wire().cut();
        if node.is_running() && !self.is_frozen(&node) {
            let cut = async || {
                let receives = "select not exists (select from pg_stat_wal_receiver)";
                node.query_scalar::<bool>(receives).await
            };
            let what = format!("{name} has noticed that it is cut off");
            let noticed = self.cluster.wait_until(NOTICED, &what, cut).await;
            noticed.map_err(|error| told(&error))?;
        }
        Ok(format!("{name} is cut off from {upstream}"))
    }

    async fn heal(&self, name: &str) -> Result<String, Refusal> {
        let node = self.node(name)?;
        node.client_wire().heal();
        node.upstream_wire().heal();
        Ok(self.healed(&node).await)
    }

    async fn healed(&self, node: &Node) -> String {
        let name = node.name();
        match (node.follows(), self.settle(node).await) {
            (None, _) => format!("{name} can be reached"),
            (Some(upstream), None) => format!("{name} can be reached, and streams from {upstream}"),
            (Some(upstream), Some(obstacle)) => {
                format!(
                    "{name} can be reached, and does not stream from {upstream} yet: {obstacle}"
                )
            }
        }
    }

    fn freeze(&mut self, name: &str) -> Result<String, Refusal> {
        let node = self.responsive(name)?;
        node.freeze().map_err(|error| told(&error))?;
        self.frozen.insert(name.to_owned());
        Ok(format!("{name} hangs"))
    }

    async fn thaw(&mut self, name: &str) -> Result<String, Refusal> {
        let node = self.node(name)?;
        if !node.is_running() {
            return Err(format!("{name} is down; start it instead"));
        }
        node.thaw().map_err(|error| told(&error))?;
        self.frozen.remove(name);
        node.wait_ready().await.map_err(|error| told(&error))?;
        if self.untold.remove(name) && node.is_standby() {
            let primary = self.node(&self.primary)?;
            return Ok(format!(
                "{name} goes on; {}",
                self.adopt(&node, &primary, History::Same).await
            ));
        }
        Ok(format!("{name} goes on"))
    }

    async fn kill(&mut self, name: &str) -> Result<String, Refusal> {
        let node = self.node(name)?;
        if !node.is_running() {
            return Ok(format!("{name} is down already"));
        }
        node.kill().await.map_err(|error| told(&error))?;
        self.frozen.remove(name);
        Ok(format!("{name} is down"))
    }

    async fn start(&mut self, name: &str, how: Return) -> Result<String, Refusal> {
        let node = self.node(name)?;
        if how == Return::Primary && node.is_standby() {
            return Err(format!(
                "{name} was a replica; start it as one, and then promote it"
            ));
        }
        if node.is_running() {
            self.responsive(name)?;
            return Ok(format!("{name} runs already"));
        }
        if name == self.primary {
            node.start().await.map_err(|error| told(&error))?;
            return Ok(format!(
                "{name} runs as the primary; {}",
                self.followed(&node).await
            ));
        }
        if how == Return::Primary {
            node.start().await.map_err(|error| told(&error))?;
            let primary = &self.primary;
            return Ok(format!("{name} runs as a second primary beside {primary}"));
        }
        let changes = !node.is_standby() || self.untold.contains(name);
        if how == Return::Diverged && !changes {
            return Err(format!(
                "{name} lost no role, so there is nothing to rewind"
            ));
        }
        if !changes {
            node.start().await.map_err(|error| told(&error))?;
            return Ok(self.started(&node).await);
        }
        let primary = self.responsive(&self.primary.clone());
        let primary =
            primary.map_err(|why| format!("{name} would follow the primary, but {why}"))?;
        if how == Return::Diverged {
            let returned = node.rejoin_without_rewind(&primary).await;
            returned.map_err(|error| told(&error))?;
            // Started the next time, it is rewound.
            self.untold.insert(name.to_owned());
            return Ok(format!(
                "{name} runs as a replica with its own history, and cannot stream if that parted from that of {}",
                primary.name()
            ));
        }
        node.rejoin(&primary).await.map_err(|error| told(&error))?;
        self.untold.remove(name);
        Ok(self.started(&node).await)
    }

    async fn started(&self, node: &Node) -> String {
        let name = node.name();
        let upstream = node.follows().unwrap_or_default();
        match self.settle(node).await {
            None => format!("{name} runs as a replica and streams from {upstream}"),
            Some(obstacle) => {
                format!(
                    "{name} runs as a replica and does not stream from {upstream} yet: {obstacle}"
                )
            }
        }
    }

    /// Waits till those stream that follow a node.
    async fn followed(&self, primary: &Node) -> String {
        let mut streaming = Vec::new();
        for node in self.cluster.nodes() {
            let follows = node.follows().as_deref() == Some(primary.name());
            if follows && self.settle(node).await.is_none() {
                streaming.push(node.name());
            }
        }
        match streaming.len() {
            0 => "no replica streams from it".to_owned(),
            1 => format!("{} streams from it", streaming[0]),
            _ => format!("{} stream from it", streaming.join(", ")),
        }
    }
}
