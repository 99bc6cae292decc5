//! Each flaw of a session token is caught in the scenario that shows it, and the flawless service is
//! not flagged in the same one.
//!
//! A scenario is repeated until the flaw is caught, and has some patience for that; the flawless
//! service goes through a fixed number of turns. What the faults are is the test kit's business.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lagwise_chaos::checker::{self, Floor, Guarantee, Terms, Verdict};
use lagwise_chaos::client::{Field, Session};
use lagwise_chaos::history::{Ending, Entry, Excuse, Failover};
use lagwise_chaos::instances::{Instances, Launch};
use lagwise_chaos::jar::Carrier;
use lagwise_chaos::naive::flaw::Flaw;
use lagwise_chaos::service::Service;
use lagwise_chaos::{Result, clock, trail};
use lagwise_testkit::{Cluster, Node};

/// How long a flaw may go uncaught.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the flawless service goes through a scenario.
const TURNS: usize = 2;

/// A cluster with a service over it.
struct Scene {
    cluster: Cluster,
    _instances: Instances,
    field: Field,
    terms: Terms,
    failovers: Vec<Failover>,
    sessions: usize,
}

impl Scene {
    async fn open(flaw: Option<Flaw>, max_lag: Duration) -> Result<Self> {
        let cluster = Cluster::builder().replicas(2).start().await?;
        let launch = Launch {
            program: PathBuf::from(env!("CARGO_BIN_EXE_lagwise-chaos")),
            service: Service::Naive,
            flaw,
            max_lag,
        };
        let instances = Instances::start(launch, 2, &cluster).await?;
        trail::lay(cluster.primary()).await?;
        cluster.wait_caught_up().await?;
        let terms = Terms {
            bound: Some(max_lag),
            reports_loss: true,
            ..Terms::default()
        };
        Ok(Self {
            field: Field::new(Arc::clone(&instances.addresses), terms.deadline),
            cluster,
            _instances: instances,
            terms,
            failovers: Vec::new(),
            sessions: 0,
        })
    }

    fn session(&mut self) -> Session {
        self.sessions += 1;
        let carrier = match self.sessions % 2 {
            0 => Carrier::Header,
            _ => Carrier::Cookie,
        };
        Session::new(&self.field, self.sessions, carrier, self.sessions as u64)
    }

    fn primary(&self) -> &Node {
        match self.failovers.last() {
            Some(_) => self.cluster.replica(0),
            None => self.cluster.primary(),
        }
    }

    /// Waits till all replicas show all there is.
    async fn settle(&self) -> Result {
        self.cluster.wait_caught_up().await?;
        Ok(())
    }

    async fn verdict(&self) -> Result<Verdict> {
        let ending = Ending {
            trail: trail::follow(self.primary()).await?,
            failovers: self.failovers.clone(),
        };
        let entries = self.field.history.entries();
        Ok(checker::judge(&entries, &ending, &self.terms))
    }
}

/// Runs a scenario against the service with the flaw, till that is caught as what it is, and against
/// the one without.
async fn catches<F>(flaw: Flaw, guarantee: Guarantee, max_lag: Duration, turn: F) -> Result
where
    F: AsyncFn(&mut Scene) -> Result,
{
    let mut flawed = Scene::open(Some(flaw), max_lag).await?;
    let began = clock::now();
    let mut verdict = Verdict::default();
    while !verdict.broke(guarantee) {
        let patient = clock::now().saturating_sub(began) < PATIENCE;
        assert!(patient, "{flaw:?} goes uncaught: {verdict:#?}");
        turn(&mut flawed).await?;
        verdict = flawed.verdict().await?;
    }
    flawed.cluster.shutdown().await?;
    is_silent(max_lag, turn).await
}

/// Runs it against the service without a flaw, and finds nothing.
async fn is_silent<F>(max_lag: Duration, turn: F) -> Result
where
    F: AsyncFn(&mut Scene) -> Result,
{
    let mut flawless = Scene::open(None, max_lag).await?;
    for _ in 0..TURNS {
        // A failover happens once to a cluster.
        if flawless.failovers.is_empty() {
            turn(&mut flawless).await?;
        }
    }
    let verdict = flawless.verdict().await?;
    let silent = verdict.breaches.is_empty();
    assert!(silent, "no flaw, no breach: {verdict:#?}");
    assert!(verdict.reads > 0, "it was put to the test");
    flawless.cluster.shutdown().await?;
    Ok(())
}

async fn reads(session: &mut Session, key: u32, times: usize) -> Vec<Entry> {
    let mut all = Vec::new();
    for _ in 0..times {
        all.push(session.read(key).await);
    }
    all
}

/// A bound that no lag of a scenario comes near.
const LONG: Duration = Duration::from_secs(20);

/// The size of a segment of the log.
const SEGMENT: i64 = 16 << 20;

/// The first position with nine digits; a cluster begins below it.
const CROSSING: i64 = 100_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn positions_compared_as_text() -> Result {
    catches(
        Flaw::TextOrder,
        Guarantee::ReadYourWrites,
        LONG,
        async |scene| {
            let mut session = scene.session();
            session.write(1).await;
            // The next position is to have a digit more than those the replicas stand at.
            let primary = scene.cluster.primary();
            let position = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
            let mut at: i64 = primary.query_scalar(position).await?;
            while at / SEGMENT < (CROSSING - 1) / SEGMENT {
                primary
                    .execute("select pg_switch_wal(); select txid_current()")
                    .await?;
                at = primary.query_scalar(position).await?;
            }
            scene.settle().await?;
            for replica in scene.cluster.replicas() {
                replica.pause_replay().await?;
            }
            primary
                .execute("select pg_switch_wal(); select txid_current()")
                .await?;
            session.write(1).await;
            reads(&mut session, 1, 4).await;
            for replica in scene.cluster.replicas() {
                replica.resume_replay().await?;
            }
            scene.settle().await?;
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_has_to_be_past_the_token() -> Result {
    catches(
        Flaw::StrictlyAfter,
        Guarantee::Offload,
        LONG,
        async |scene| {
            let mut session = scene.session();
            session.write(1).await;
            scene.settle().await?;
            let from = clock::now();
            reads(&mut session, 1, 10).await;
            scene.terms.floor = Some(Floor {
                percent: 80,
                from,
                until: clock::now(),
            });
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_taken_before_the_commit() -> Result {
    catches(
        Flaw::BeforeCommit,
        Guarantee::ReadYourWrites,
        LONG,
        async |scene| {
            // Only commits wait for the delay: what comes before one is replayed at once.
            for replica in scene.cluster.replicas() {
                replica.set_apply_delay(Duration::from_millis(300)).await?;
            }
            let mut session = scene.session();
            session.write(1).await;
            reads(&mut session, 1, 10).await;
            scene.settle().await?;
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_dropped_on_an_error() -> Result {
    catches(
        Flaw::DroppedOnError,
        Guarantee::ReadYourWrites,
        LONG,
        async |scene| {
            let mut session = scene.session();
            for replica in scene.cluster.replicas() {
                replica.pause_replay().await?;
            }
            session.write_and_fail(1).await;
            reads(&mut session, 1, 4).await;
            for replica in scene.cluster.replicas() {
                replica.resume_replay().await?;
            }
            scene.settle().await?;
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_not_raised_by_reads() -> Result {
    catches(
        Flaw::NotFromReads,
        Guarantee::MonotonicReads,
        LONG,
        async |scene| {
            let (mut writer, mut reader) = (scene.session(), scene.session());
            scene.cluster.replica(1).pause_replay().await?;
            writer.write(1).await;
            reads(&mut reader, 1, 12).await;
            scene.cluster.replica(1).resume_replay().await?;
            scene.settle().await?;
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_is_ignored() -> Result {
    catches(
        Flaw::TimelineIgnored,
        Guarantee::Unreported,
        LONG,
        async |scene| {
            let mut session = scene.session();
            session.write(1).await;
            scene.settle().await?;
            for replica in scene.cluster.replicas() {
                replica.upstream_wire().cut();
            }
            session.write(1).await;
            let killed = clock::now();
            scene.cluster.primary().kill().await?;
            let chosen = scene.cluster.replica(0);
            chosen.promote().await?;
            scene.failovers.push(Failover {
                killed,
                promoted: clock::now(),
                primary: "replica-1".to_owned(),
                ..Failover::default()
            });
            // The new history goes past the old one's end.
            let chosen = scene.primary();
            chosen
                .execute("select pg_switch_wal(); select txid_current()")
                .await?;
            let mut other = scene.session();
            while !other.write(2).await.answered() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            reads(&mut session, 1, 4).await;
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_primary_gets_writes_while_it_answers() -> Result {
    let (flaw, broken) = (Flaw::OldPrimary, Guarantee::Fork);
    catches(flaw, broken, LONG, async |scene| {
        let mut session = scene.session();
        session.write(1).await;
        scene.settle().await?;
        let killed = clock::now();
        scene.cluster.replica(0).promote().await?;
        let promoted = clock::now();
        // Long enough for whoever asks the nodes to know of the new one.
        let aware = promoted + Duration::from_secs(1);
        tokio::time::sleep(aware.saturating_sub(clock::now())).await;
        let entry = session.write(1).await;
        assert!(entry.answered(), "written, somewhere");
        let ours = trail::follow(scene.cluster.replica(0)).await?;
        let theirs = trail::follow(scene.cluster.primary()).await?;
        scene.failovers.push(Failover {
            killed,
            promoted,
            primary: "replica-1".to_owned(),
            excuse: Excuse::Unaware(vec![aware; 2]),
            strays: theirs.difference(&ours).cloned().collect(),
        });
        reads(&mut session, 1, 4).await;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_is_measured_from_the_writes_start() -> Result {
    let window = Duration::from_millis(1_200);
    let (flaw, broken) = (Flaw::StickyFromStart, Guarantee::ReadYourWrites);
    catches(flaw, broken, window, async |scene| {
        for replica in scene.cluster.replicas() {
            replica.set_apply_delay(Duration::from_millis(600)).await?;
        }
        let mut session = scene.session();
        session.write(1).await;
        // Someone else holds the row for longer than the window.
        let hold = "update notes set body = body where id = 1; select pg_sleep(1.5)";
        let primary = scene.cluster.primary().clone();
        let (_, entry) = tokio::join!(primary.execute(hold), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            session.write(1).await
        });
        assert!(entry.answered(), "written in the end");
        reads(&mut session, 1, 6).await;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_the_age_of_the_last_commit() -> Result {
    let max_lag = Duration::from_secs(1);
    let (flaw, broken) = (Flaw::LagOfLastCommit, Guarantee::Offload);
    catches(flaw, broken, max_lag, async |scene| {
        let mut session = scene.session();
        session.write(1).await;
        scene.settle().await?;
        tokio::time::sleep(max_lag * 2).await;
        let from = clock::now();
        reads(&mut session, 1, 10).await;
        scene.terms.floor = Some(Floor {
            percent: 80,
            from,
            until: clock::now(),
        });
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stopped_passes_for_fresh() -> Result {
    let max_lag = Duration::from_millis(500);
    let (flaw, broken) = (Flaw::NoLagIfReplayed, Guarantee::Stale);
    catches(flaw, broken, max_lag, async |scene| {
        let (mut writer, mut reader) = (scene.session(), scene.session());
        writer.write(1).await;
        scene.settle().await?;
        for replica in scene.cluster.replicas() {
            replica.freeze_stream()?;
        }
        writer.write(1).await;
        tokio::time::sleep(max_lag * 2).await;
        reads(&mut reader, 1, 4).await;
        for replica in scene.cluster.replicas() {
            replica.thaw_stream()?;
        }
        scene.settle().await?;
        Ok(())
    })
    .await
}
