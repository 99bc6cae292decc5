//! A job sees what the session saw that enqueued it, on whichever node, or does not run.

use std::time::Duration;

use lagwise::{
    Consistency, Error, JobOptions, Keys, NodeConfig, PgRouter, PgSession, Reason, Role, Token,
};
use lagwise_testkit::Cluster;
use lagwise_tests::cluster::{bare, router, settle, start};
use lagwise_tests::counters::Counters;
use lagwise_tests::observe::until;
use lagwise_tests::service::{SECRET, keyed};
use lagwise_tests::{Outcome, fail};

const NOTES: &str = "create table notes (id bigint primary key, version bigint not null);
    insert into notes select id, 0 from generate_series(1, 9) id;";

/// Longer than a replica takes that replays, shorter than anybody wants to wait for one that does not.
const WAIT: Duration = Duration::from_millis(400);

/// A web service and its worker: two routers over one replica that a busy machine does not take out.
struct Stage {
    cluster: Cluster,
    web: PgRouter,
    worker: PgRouter,
}

impl Stage {
    async fn set() -> Outcome<Self> {
        let cluster = start(1, NOTES).await?;
        let web = Self::router(&cluster, Keys::new(SECRET)?).await?;
        let worker = Self::router(&cluster, Keys::new(SECRET)?).await?;
        Ok(Self {
            cluster,
            web,
            worker,
        })
    }

    async fn router(cluster: &Cluster, keys: Keys) -> Outcome<PgRouter> {
        let calm = router(cluster)
            .max_lag(Duration::from_secs(60))
            .policy(|policy| policy.unseen_for = Duration::from_secs(10));
        settle(calm.keys(keys), 1).await
    }

    /// Writes a version of a note in a session, and enqueues a job.
    async fn enqueue(&self, note: i64, version: i64) -> Outcome<Token> {
        let session = self.web.session();
        write(&session, note, version).await?;
        let payload = serde_json::to_string(&session.token().await?)?;
        assert!(payload.starts_with('"'), "a token is text");
        Ok(serde_json::from_str(&payload)?)
    }

    async fn take_up(
        &self,
        token: Option<&Token>,
        consistency: Consistency,
    ) -> Result<PgSession, Error> {
        let options = JobOptions::new(consistency).wait(WAIT);
        self.worker.resume_job(token, options).await
    }

    /// Asserts that a delayed job is put back.
    async fn is_too_early(&self, token: Option<&Token>) -> Outcome {
        match self.take_up(token, Consistency::Delayed).await {
            Err(error) => {
                assert!(error.is_unavailable(), "{error}");
                let delay = error.retry_after();
                let sensible = Duration::from_millis(100)..Duration::from_secs(46);
                assert!(
                    delay.is_some_and(|delay| sensible.contains(&delay)),
                    "{error}"
                );
                Ok(())
            }
            Ok(_) => fail("the job runs, although no replica has what it must see"),
        }
    }
}

async fn write(session: &PgSession, note: i64, version: i64) -> Outcome {
    sqlx::query("update notes set version = $2 where id = $1")
        .bind(note)
        .bind(version)
        .execute(session)
        .await?;
    Ok(())
}

/// What a job reads of a note, and where.
async fn read(job: &PgSession, note: i64) -> Outcome<(i64, Role, Reason)> {
    let mut node = job.read().await?;
    let version = sqlx::query_scalar("select version from notes where id = $1")
        .bind(note)
        .fetch_one(&mut *node)
        .await?;
    Ok((version, node.route().role, node.route().reason))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_on_a_replica_sees_what_was_written_before_it_was_enqueued() -> Outcome {
    let stage = Stage::set().await?;
    for version in 1..=20 {
        let token = stage.enqueue(1, version).await?;
        for consistency in [Consistency::Sticky, Consistency::Delayed] {
            let options = JobOptions::new(consistency).wait(Duration::from_secs(8));
            let job = stage.worker.resume_job(Some(&token), options).await?;
            let seen = read(&job, 1).await?;
            assert_eq!(seen, (version, Role::Replica, Reason::Eligible));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_job_reads_on_the_primary_and_spends_no_budget() -> Outcome {
    let stage = Stage::set().await?;
    let token = stage.enqueue(1, 1).await?;
    stage.cluster.wait_caught_up().await?;
    for token in [Some(&token), None] {
        let job = stage.worker.resume_job(token, Consistency::Primary).await?;
        let asked = (1, Role::Primary, Reason::Asked);
        assert_eq!(read(&job, 1).await?, asked);
        let statement = "select version from notes where id = 1 and not pg_is_in_recovery()";
        let version: i64 = sqlx::query_scalar(statement).fetch_one(&job).await?;
        assert_eq!(version, 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sticky_job_waits_for_a_replica_and_then_falls_back() -> Outcome {
    let stage = Stage::set().await?;
    stage.cluster.replica(0).freeze_replay()?;
    let token = stage.enqueue(1, 1).await?;
    let began = lagwise::now();
    let job = stage.take_up(Some(&token), Consistency::Sticky).await?;
    let waited = lagwise::now().since(began);
    assert!(waited >= WAIT, "it waited only {waited:?}");
    let fallen = (1, Role::Primary, Reason::BehindFloor);
    let began = lagwise::now();
    for _ in 0..5 {
        assert_eq!(read(&job, 1).await?, fallen);
    }
    let took = lagwise::now().since(began);
    assert!(took < 5 * WAIT, "it waits no more once it has: {took:?}");
    stage.cluster.replica(0).thaw_replay()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_job_is_put_back_until_a_replica_has_what_it_must_see() -> Outcome {
    let stage = Stage::set().await?;
    stage.cluster.replica(0).freeze_replay()?;
    let token = stage.enqueue(1, 1).await?;
    stage.is_too_early(Some(&token)).await?;
    stage.is_too_early(Some(&token)).await?;
    stage.cluster.replica(0).thaw_replay()?;
    let on_replica = async || {
        let job = stage.take_up(Some(&token), Consistency::Delayed).await?;
        Ok(read(&job, 1).await? == (1, Role::Replica, Reason::Eligible))
    };
    until("it runs", Duration::from_secs(10), on_replica).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_job_is_put_back_while_the_only_replica_is_out() -> Outcome {
    let stage = Stage::set().await?;
    let token = stage.enqueue(1, 1).await?;
    stage.cluster.replica(0).pause_replay().await?;
    let put_back = async || {
        let outcome = stage.take_up(Some(&token), Consistency::Delayed).await;
        Ok(outcome.is_err_and(|error| error.retry_after().is_some()))
    };
    until("it is put back", Duration::from_secs(10), put_back).await?;
    let job = stage.take_up(Some(&token), Consistency::Sticky).await?;
    let seen = read(&job, 1).await?;
    assert_eq!(seen, (1, Role::Primary, Reason::NoneInRotation));
    stage.cluster.replica(0).resume_replay().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_of_a_delayed_job_never_falls_back() -> Outcome {
    let stage = Stage::set().await?;
    let token = stage.enqueue(1, 1).await?;
    let options = JobOptions::new(Consistency::Delayed).wait(Duration::from_secs(8));
    let job = stage.worker.resume_job(Some(&token), options).await?;
    stage.cluster.replica(0).freeze_replay()?;
    write(&job, 1, 2).await?;
    let hurried = lagwise::ReadOptions::new().wait(WAIT);
    match job.read_with(hurried).await {
        Err(error) if error.is_unavailable() => {}
        other => return fail(format!("{other:?}")),
    }
    stage.cluster.replica(0).thaw_replay()?;
    let seen = read(&job, 1).await?;
    assert_eq!(seen, (2, Role::Replica, Reason::Eligible));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_token_is_gone_sees_no_less() -> Outcome {
    let stage = Stage::set().await?;
    let others = Keys::new("another-secret-of-at-least-32-bytes!")?;
    let others = Stage::router(&stage.cluster, others).await?;
    let foreign = others.session().token().await?;
    stage.cluster.replica(0).freeze_replay()?;
    stage.enqueue(1, 1).await?;
    let made_up: Token = "bm90LWEtdG9rZW4".parse()?;
    for gone in [None, Some(&foreign), Some(&made_up)] {
        stage.is_too_early(gone).await?;
        let job = stage.take_up(gone, Consistency::Sticky).await?;
        let fallen = (1, Role::Primary, Reason::BehindFloor);
        assert_eq!(read(&job, 1).await?, fallen);
    }
    stage.cluster.replica(0).thaw_replay()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_enqueued_twice_sees_what_either_saw() -> Outcome {
    let stage = Stage::set().await?;
    let first = stage.enqueue(1, 1).await?;
    stage.cluster.wait_caught_up().await?;
    stage.cluster.replica(0).freeze_replay()?;
    let second = stage.enqueue(2, 1).await?;
    let either = [
        stage.worker.merge_tokens(&first, &second),
        stage.worker.merge_tokens(&second, &first),
    ];
    let bad: Token = "bm90LWEtdG9rZW4".parse()?;
    let half_bad = stage.worker.merge_tokens(&first, &bad);
    assert!(half_bad.is_some());
    for merged in either.iter().chain([&half_bad]) {
        stage.is_too_early(merged.as_ref()).await?;
    }
    // Alone, the first has nothing to wait for.
    let job = stage.take_up(Some(&first), Consistency::Delayed).await?;
    assert_eq!(read(&job, 1).await?.0, 1);
    stage.cluster.replica(0).thaw_replay()?;
    assert!(stage.worker.merge_tokens(&bad, &bad).is_none());
    let merged = either[0].as_ref();
    let options = JobOptions::new(Consistency::Delayed).wait(Duration::from_secs(8));
    let job = stage.worker.resume_job(merged, options).await?;
    assert_eq!(read(&job, 1).await?.0, 1);
    assert_eq!(read(&job, 2).await?.0, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_made_for_somebody_is_good_for_nobody_else() -> Outcome {
    let stage = Stage::set().await?;
    stage.cluster.replica(0).freeze_replay()?;
    let before = stage.web.session();
    let token = before.token_for("ada").await?;
    stage.enqueue(1, 1).await?;
    let delayed = JobOptions::new(Consistency::Delayed).wait(WAIT);
    let worker = &stage.worker;
    let hers = worker.resume_job_for(Some(&token), "ada", delayed).await?;
    assert_eq!(read(&hers, 1).await?.0, 0, "her session has not written");
    let his = worker.resume_job_for(Some(&token), "bob", delayed).await;
    assert!(his.is_err_and(|error| error.retry_after().is_some()));
    stage.cluster.replica(0).thaw_replay()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_no_replica_every_job_runs_on_the_primary() -> Outcome {
    let cluster = start(0, NOTES).await?;
    let db = settle(keyed(router(&cluster)), 0).await?;
    for consistency in [
        Consistency::Primary,
        Consistency::Sticky,
        Consistency::Delayed,
    ] {
        let job = db.resume_job(None, consistency).await?;
        assert_eq!(read(&job, 1).await?.1, Role::Primary);
    }
    db.close().await;
    let closed = db.resume_job(None, Consistency::Delayed).await;
    assert!(closed.is_err_and(|error| error.is_closed()));
    Ok(())
}

/// There is one recorder in a process, and nextest runs each test in one of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_jobs_is_counted() -> Outcome {
    let counters = Counters::install();
    let cluster = start(1, NOTES).await?;
    let node = |node: &lagwise_testkit::Node| NodeConfig::url(node.url());
    let db = keyed(bare())
        .max_lag(Duration::from_secs(60))
        .primary(node(cluster.primary()))
        .replica(node(cluster.replica(0)));
    let db = settle(db, 1).await?;
    let counted = |consistency: Consistency, outcome| {
        let labels = [("consistency", consistency.as_str()), ("outcome", outcome)];
        counters.sum("lagwise_jobs_total", &labels)
    };
    let token = db.session().token().await?;
    let hurried = |consistency| JobOptions::new(consistency).wait(WAIT);
    let all = [
        (Consistency::Primary, "primary", "primary"),
        (Consistency::Sticky, "replica", "fell_back"),
        (Consistency::Delayed, "replica", "delayed"),
    ];
    for (consistency, healthy, _) in all {
        let before = counted(consistency, healthy);
        db.resume_job(Some(&token), hurried(consistency)).await?;
        assert_eq!(counted(consistency, healthy), before + 1, "{consistency}");
    }
    cluster.replica(0).freeze_replay()?;
    let session = db.session();
    write(&session, 1, 1).await?;
    let token = session.token().await?;
    for (consistency, _, frozen) in all {
        let before = counted(consistency, frozen);
        let outcome = db.resume_job(Some(&token), hurried(consistency)).await;
        assert_eq!(outcome.is_err(), frozen == "delayed");
        assert_eq!(counted(consistency, frozen), before + 1, "{consistency}");
    }
    cluster.replica(0).thaw_replay()?;
    Ok(())
}
