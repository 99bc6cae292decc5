//! The side that works: claims a job, reads what it is about on a replica, and ends it.
//!
//! Nothing here asks whether a replica is fresh enough. A job that is taken up sees what it must; one
//! for which no replica does yet is put back, and one that may not wait reads from the primary.

use std::time::Duration;

use lagwise::{PgRouter, PgSession, Route};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::queue::{self, Job};
use crate::report::{Done, Report};
use crate::run::Phase;

/// Runs jobs until none is left to wait for, or the program is to end: then the job at hand is the
/// last.
///
/// # Errors
/// If the primary, or every node that a read may go to, fails.
pub async fn work(db: PgRouter, mut phase: watch::Receiver<Phase>) -> Result<Report, Failure> {
    let mut report = Report::default();
    loop {
        let now = *phase.borrow_and_update();
        if now == Phase::Stopping {
            return Ok(report);
        }
        // In this session, so that it sees what was committed together with the job.
        let session = db.session();
        if let Some(job) = queue::claim(&session).await? {
            if let Some(done) = attempt(&db, &session, &job).await? {
                report.add(&done);
            }
            continue;
        }
        if now == Phase::Draining && queue::left(&db).await? == 0 {
            return Ok(report);
        }
        tokio::select! {
            _ = phase.changed() => {}
            () = tokio::time::sleep(IDLE) => {}
        }
    }
}

/// Runs a job, or puts it back.
async fn attempt(db: &PgRouter, claimed: &PgSession, job: &Job) -> Result<Option<Done>, Failure> {
    match perform(db, claimed, job).await {
        Ok((version, route)) => {
            let past = queue::complete(db, job).await?;
            Ok(Some(Done {
                consistency: job.payload.consistency,
                stale: version < job.payload.version,
                route,
                past,
            }))
        }
        // Nobody has what it must see: not when it was taken up, or not any longer.
        Err(error) if error.is_unavailable() => {
            let delay = error.retry_after().unwrap_or(Duration::from_secs(1));
            queue::put_back(db, job, delay).await?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// What the job is for: here, it looks at the document.
async fn perform(
    db: &PgRouter,
    claimed: &PgSession,
    job: &Job,
) -> Result<(i64, Route), lagwise::Error> {
    let payload = &job.payload;
    let session = match &payload.token {
        Some(token) => db.resume_job(Some(token), payload.consistency).await?,
        None => claimed.for_job(payload.consistency).await?,
    };
    let mut node = session.read().await?;
    let version = sqlx::query_scalar("select version from documents where id = $1")
        .bind(payload.document)
        .fetch_optional(&mut *node)
        .await?;
    Ok((version.unwrap_or(0), node.route().clone()))
}

/// How long a worker without a job waits before it looks for one.
const IDLE: Duration = Duration::from_millis(20);
