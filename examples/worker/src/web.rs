//! The side that writes: each request changes a document, and leaves the rest of the work to a job.
//!
//! There are two ways to do that. After the write, the session knows where it stands, and its token
//! goes into the job's payload: the job waits for exactly that. But if the process dies in between,
//! there is a write without a job. In one transaction with the write there is no such gap, and no
//! token either, since the commit is still to come: what the job must see is known by whoever claims
//! it.

use lagwise::{Consistency, PgRouter, PgSession};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::plan::Plan;
use crate::queue::{self, Payload};
use crate::run::Phase;

/// Writes documents at the plan's pace, until all are written or the program is to end.
///
/// # Errors
/// What the primary said.
pub async fn serve(
    db: PgRouter,
    plan: Plan,
    mut phase: watch::Receiver<Phase>,
) -> Result<(), Failure> {
    for number in 0..i64::from(plan.jobs) {
        tokio::select! {
            _ = phase.wait_for(|phase| *phase == Phase::Stopping) => return Ok(()),
            () = tokio::time::sleep(plan.pace()) => {}
        }
        let consistency = match number % 8 {
            0 => Consistency::Primary,
            1..4 => Consistency::Sticky,
            _ => Consistency::Delayed,
        };
        let document = number % DOCUMENTS;
        if number % 3 == 0 {
            change_with_job(&db.session(), document, consistency).await?;
        } else {
            change_then_enqueue(&db.session(), document, consistency).await?;
        }
    }
    Ok(())
}

/// Writes, and enqueues a job that carries the session's token.
async fn change_then_enqueue(
    session: &PgSession,
    document: i64,
    consistency: Consistency,
) -> Result<(), Failure> {
    let version = sqlx::query_scalar(CHANGE)
        .bind(document)
        .fetch_one(session)
        .await?;
    let payload = Payload {
        document,
        version,
        consistency,
        token: Some(session.token().await?),
    };
    queue::add(session, &payload).await
}

/// Writes, and enqueues a job with the same commit.
async fn change_with_job(
    session: &PgSession,
    document: i64,
    consistency: Consistency,
) -> Result<(), Failure> {
    let mut transaction = session.begin().await?;
    let version = sqlx::query_scalar(CHANGE)
        .bind(document)
        .fetch_one(&mut *transaction)
        .await?;
    let payload = Payload {
        document,
        version,
        consistency,
        token: None,
    };
    queue::add(&mut *transaction, &payload).await?;
    transaction.commit().await?;
    Ok(())
}

const CHANGE: &str = "insert into documents (id, version) values ($1, 1)
    on conflict (id) do update set version = documents.version + 1 returning version";

/// Few enough that each is changed again and again.
const DOCUMENTS: i64 = 50;
