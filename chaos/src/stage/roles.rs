//! Changes of roles, and how an old primary comes back.
//!
//! Whoever promotes a replica here does what an operator's tool does, or what it should never do. All
//! changes but a switchover may lose acknowledged writes, and each says which it may. In the end of
//! each there is one primary with two replicas again.

use std::collections::BTreeSet;
use std::time::Duration;

use lagwise_testkit::{Node, Stop};
use sqlx::postgres::PgConnection;

use super::{Injury, Ongoing, Stage};
use crate::history::{Excuse, Failover};
use crate::nemesis::{Kind, Parting};
use crate::{Result, clock, fail, trail};

/// How long replicas are cut off before a primary that loses something dies.
const CUT_OFF: Duration = Duration::from_millis(400);

/// The pause between two looks at a server that is being promoted.
const LOOK: Duration = Duration::from_millis(2);

impl Stage {
    /// Ends the primary's reign, and notes what it may have lost.
    pub(super) async fn change_roles(&mut self, ongoing: &mut Ongoing) -> Result {
        let kind = ongoing.injury.fault.kind;
        let old = self.primary().clone();
        let killed = self.depose(kind, &old).await?;
        let (chosen, rest) = self.heirs().await?;
        let promoted = promote(&chosen).await?;
        rest.follow(&chosen).await?;
        for replica in [&chosen, &rest] {
            replica.upstream_wire().heal();
        }
        match kind {
            Kind::SwitchOver => old.rejoin(&chosen).await?,
            Kind::ReturnUnrewound => old.rejoin_without_rewind(&chosen).await?,
            _ => {}
        }
        rest.wait_streaming().await?;
        let number = |node: &Node| node.name() == chosen.name();
        self.primary = self.cluster.nodes().iter().position(number).unwrap_or(0);
        (ongoing.injury.nodes, ongoing.injury.begun) = (self.names(&[chosen]), promoted);
        self.failovers.push(Failover {
            killed,
            promoted,
            primary: super::service_name(self.primary),
            excuse: match kind {
                Kind::SwitchOver => Excuse::None,
                // Till when each instance may not know is seen in the end.
                Kind::SplitBrain => Excuse::Unaware(Vec::new()),
                _ => Excuse::Promotion,
            },
            strays: BTreeSet::new(),
        });
        Ok(())
    }

    /// Brings the old primary back as a replica, and notes what only it has.
    pub(super) async fn reunite(&mut self, injury: &Injury, old: &[Node]) -> Result {
        let primary = self.primary().clone();
        let [old] = old else {
            return fail("a change of roles has one old primary");
        };
        match (injury.fault.kind, self.failovers.last_mut()) {
            (Kind::SwitchOver, _) => return Ok(()),
            (Kind::SplitBrain, Some(failover)) => {
                let ours = trail::follow(&primary).await?;
                let theirs = trail::follow(old).await?;
                failover.strays = theirs.difference(&ours).cloned().collect();
            }
            _ => {}
        }
        Ok(old.rejoin(&primary).await?)
    }

    /// Has the old primary end, or not hear of it; says from when on its writes may be lost.
    async fn depose(&self, kind: Kind, old: &Node) -> Result<Duration> {
        let loses = kind == Kind::ReturnUnrewound || self.parting == Parting::CutOff;
        if kind == Kind::SplitBrain || (loses && kind != Kind::SwitchOver) {
            for replica in self.standbys() {
                replica.upstream_wire().cut();
            }
        }
        if kind == Kind::SplitBrain {
            return Ok(clock::now());
        }
        if kind == Kind::SwitchOver {
            let killed = clock::now();
            old.stop(Stop::Fast).await?;
            return Ok(killed);
        }
        if loses {
            tokio::time::sleep(CUT_OFF).await;
        }
        let killed = clock::now();
        old.kill().await?;
        Ok(killed)
    }

    /// The replica that has received most, and the other one.
    async fn heirs(&self) -> Result<(Node, Node)> {
        let standbys = self.standbys();
        let [one, other] = &standbys[..] else {
            return fail("a change of roles takes two replicas");
        };
        let first = received(one).await? >= received(other).await?;
        let (chosen, rest) = if first { (one, other) } else { (other, one) };
        Ok((chosen.clone(), rest.clone()))
    }
}

/// Promotes a replica; says when it took writes, which the server itself tells with some delay.
async fn promote(chosen: &Node) -> Result<Duration> {
    let mut connection = chosen.connect().await?;
    let (promoted, seen) = tokio::join!(chosen.promote(), takes_writes(&mut connection));
    promoted?;
    seen
}

async fn takes_writes(connection: &mut PgConnection) -> Result<Duration> {
    loop {
        let asked = sqlx::query_scalar("select pg_is_in_recovery()");
        if !asked.fetch_one(&mut *connection).await? {
            return Ok(clock::now());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How much of the log a replica has.
async fn received(replica: &Node) -> Result<i64> {
    let query = "select pg_wal_lsn_diff(
        greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')::bigint";
    Ok(replica.query_scalar(query).await?)
}
