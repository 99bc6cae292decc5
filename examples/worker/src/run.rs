//! A run: the web side and the workers at the same time, until all is done or somebody ends it.

use std::time::Duration;

use lagwise::PgRouter;
use lagwise_testkit::Cluster;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::plan::Plan;
use crate::queue;
use crate::report::Report;
use crate::web;
use crate::worker;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Jobs are enqueued. Exits: `Draining` when all are, `Stopping` by whoever ends the run.
    Enqueuing,
    /// The jobs that are left are run. Exits: the end, `Stopping`.
    Draining,
    /// The jobs at hand are the last.
    Stopping,
}

/// Enqueues and runs the plan's jobs. Once `end` comes about, the jobs at hand are the last.
///
/// # Errors
/// What broke.
pub async fn run(
    db: &PgRouter,
    plan: &Plan,
    end: impl Future<Output = ()>,
) -> Result<Report, Failure> {
    queue::migrate(db).await?;
    let (phase, phases) = watch::channel(Phase::Enqueuing);
    let mut workers = JoinSet::new();
    for _ in 0..plan.workers {
        workers.spawn(worker::work(db.clone(), phases.clone()));
    }
    let all = async {
        web::serve(db.clone(), plan.clone(), phases).await?;
        // Not if it is ending already.
        phase.send_if_modified(|phase| match *phase {
            Phase::Enqueuing => {
                *phase = Phase::Draining;
                true
            }
            Phase::Draining | Phase::Stopping => false,
        });
        let mut report = Report::default();
        while let Some(worker) = workers.join_next().await {
            report.merge(worker??);
        }
        Ok::<_, Failure>(report)
    };
    let ends = async {
        end.await;
        phase.send_replace(Phase::Stopping);
        std::future::pending::<()>().await;
    };
    let mut report = tokio::select! {
        report = all => report?,
        () = ends => Report::default(),
    };
    report.left = queue::left(db).await?;
    Ok(report)
}

/// Has replay stand still on all replicas for that long, a second from now.
///
/// # Errors
/// If a replica does not do as it is told.
pub async fn pause(cluster: &Cluster, length: Duration) -> Result<(), Failure> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    for replica in cluster.replicas() {
        replica.pause_replay().await?;
    }
    tokio::time::sleep(length).await;
    for replica in cluster.replicas() {
        replica.resume_replay().await?;
    }
    Ok(())
}
