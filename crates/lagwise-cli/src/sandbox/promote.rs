//! Makes another node the primary, as an operator's failover tool does.
//!
//! If the old primary runs, this is a switchover: it is stopped in order, so that the new one has all it
//! wrote, and comes back as a replica. If it is down, what it had not sent is lost, and it comes back
//! rewound when it is started. Two primaries at once there are only on request. What cannot end well
//! is refused before anything is changed.

use std::collections::BTreeSet;
use std::time::Duration;

use lagwise_testkit::{Node, Stop};

use super::stage::{Refusal, Stage, told};

/// A replica whose history did not part from the new primary's streams well before.
const FOLLOWING: Duration = Duration::from_secs(5);

/// What a replica has received and not replayed, a rewind does not see; it is replayed when it starts,
/// and then the next one sees it. While the old primary runs, it may be given more in the meantime, too.
const REWINDS: usize = 2;

/// Whether a replica can go on from where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    Same,
    Parted,
}

impl History {
    fn of(node: &Node, ahead: &BTreeSet<String>) -> Self {
        match ahead.contains(node.name()) {
            true => Self::Parted,
            false => Self::Same,
        }
    }
}

impl Stage {
    pub(super) async fn promote(
        &mut self,
        name: &str,
        leave_primary: bool,
        no_follow: bool,
    ) -> Result<String, Refusal> {
        let node = self.responsive(name)?;
        if !node.is_standby() {
            return Err(format!("{name} is a primary already"));
        }
        let old = self.node(&self.primary.clone())?;
        let switchover = old.is_running() && !leave_primary;
        if switchover {
            self.check_switchover(&node, &old).await?;
            let stopped = old.stop(Stop::Fast).await;
            stopped.map_err(|error| told(&error))?;
        }
        let ahead = self.ahead_of(&node).await?;
        node.promote().await.map_err(|error| told(&error))?;
        name.clone_into(&mut self.primary);
        let mut said = vec![format!("{name} is the primary")];
        if switchover {
            old.rejoin(&node).await.map_err(|error| told(&error))?;
            said.push(self.following(&old, &node).await);
        } else if old.is_running() {
            said.push(format!("{} is one too", old.name()));
        }
        for other in self.cluster.nodes().to_vec() {
            let others = ![name, old.name()].contains(&other.name());
            if others && other.is_standby() && !no_follow {
                let history = History::of(&other, &ahead);
                said.push(self.tell(&other, &node, history).await);
            }
        }
        Ok(said.join("; "))
    }

    /// Refuses a switchover that would hang, or lose writes.
    async fn check_switchover(&self, node: &Node, old: &Node) -> Result<(), Refusal> {
        let (name, old_name) = (node.name(), old.name());
        let way_out = format!("kill {old_name} first, or promote with --leave-primary");
        if self.is_frozen(old) {
            return Err(format!(
                "{old_name} is frozen and cannot be stopped in order; thaw it, {way_out}"
            ));
        }
        let mut followers = self.cluster.nodes().iter();
        if let Some(hung) = followers.find(|other| self.is_frozen(other)) {
            let hung = hung.name();
            return Err(format!(
                "{hung} is frozen, and a primary that is stopped waits for its replicas; thaw it, {way_out}"
            ));
        }
        let follows = node.follows();
        let receives =
            "select exists (select from pg_stat_wal_receiver where status = 'streaming')";
        let streams = node.query_scalar::<bool>(receives).await;
        if follows.as_deref() != Some(old_name) || !streams.map_err(|error| told(&error))? {
            return Err(format!(
                "{name} does not stream from {old_name}, and writes would be lost; heal it, {way_out}"
            ));
        }
        Ok(())
    }

    /// Tells a replica of the new primary, now or when it can hear it.
    async fn tell(&mut self, node: &Node, primary: &Node, history: History) -> String {
        if node.is_running() && !self.is_frozen(node) {
            return self.adopt(node, primary, history).await;
        }
        let name = node.name();
        self.untold.insert(name.to_owned());
        let when = if node.is_running() {
            "thawed"
        } else {
            "started"
        };
        format!("{name} follows it when it is {when}")
    }

    /// Has a replica follow a primary; one that has what that one has not is rewound.
    pub(super) async fn adopt(&self, node: &Node, primary: &Node, history: History) -> String {
        let mut followed = match history {
            History::Same => node.follow(primary).await,
            History::Parted => node.rejoin(primary).await,
        };
        for _ in 0..REWINDS {
            if followed.is_err() || !self.is_stuck(node).await {
                break;
            }
            followed = node.rejoin(primary).await;
        }
        match followed {
            Ok(()) => self.following(node, primary).await,
            Err(error) => format!("{} does not follow it: {}", node.name(), told(&error)),
        }
    }

    /// Whether a replica does not stream, and nothing keeps it from that but its history.
    async fn is_stuck(&self, node: &Node) -> bool {
        let streams = tokio::time::timeout(FOLLOWING, node.wait_streaming()).await;
        !matches!(streams, Ok(Ok(()))) && self.is_free(node).await
    }

    /// The replicas that have received what this one has not.
    async fn ahead_of(&self, node: &Node) -> Result<BTreeSet<String>, Refusal> {
        const HAS: &str = "greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())";
        let has = node
            .query_scalar::<String>(&format!("select {HAS}::text"))
            .await;
        let has = has.map_err(|error| told(&error))?;
        let mut ahead = BTreeSet::new();
        for other in self.cluster.nodes() {
            if !other.is_running() || !other.is_standby() || self.is_frozen(other) {
                continue;
            }
            let more = format!("select coalesce({HAS} > '{has}'::pg_lsn, false)");
            if other
                .query_scalar::<bool>(&more)
                .await
                .map_err(|error| told(&error))?
            {
                ahead.insert(other.name().to_owned());
            }
        }
        Ok(ahead)
    }

    async fn following(&self, node: &Node, primary: &Node) -> String {
        let (name, primary) = (node.name(), primary.name());
        match self.settle(node).await {
            None => format!("{name} follows {primary}"),
            Some(obstacle) => format!("{name} does not stream from {primary} yet: {obstacle}"),
        }
    }

    /// Whether nothing keeps a replica from streaming but its history.
    async fn is_free(&self, node: &Node) -> bool {
        let replays = "select pg_get_wal_replay_pause_state() = 'not paused' \
                       and current_setting('recovery_min_apply_delay') = '0'";
        !node.upstream_wire().is_cut() && node.query_scalar::<bool>(replays).await.unwrap_or(false)
    }
}
