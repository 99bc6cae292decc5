//! A read ends by its deadline, wherever it is then, and leaves nothing behind.

use std::time::Duration;

use lagwise::{Budget, Cause, Error, Fallback, PgRouter, PgSession, ReadOptions};
use lagwise_testkit::Cluster;
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{PATIENCE, number, settle};
use lagwise_tests::observe::{ejected, readmitted, snapshot_where, until};
use lagwise_tests::statements::{calm, drained, is_read, place, settled, with_places};
use sqlx::{AssertSqlSafe, Executor as _};

/// `dozes(n)` takes `n` milliseconds and only reads.
const DOZES: &str = "
    create table notes (body text not null);
    create function dozes(n int8) returns int8 language plpgsql stable as $$
        begin perform pg_sleep(n / 1000.0); return n; end $$;
";

/// Long enough for a read on a busy machine, and far from what the reads here would take.
const LIMIT: Duration = Duration::from_millis(700);

async fn dozing(replicas: usize) -> Outcome<(Cluster, PgRouter)> {
    let (cluster, router) = with_places(replicas, DOZES).await?;
    is_read(&router, "select dozes(1)").await?;
    Ok((cluster, router))
}

/// Runs something, and says whether it timed out; it does not take long in any case.
async fn times_out<T>(what: &str, work: impl Future<Output = Result<T, Error>>) -> Outcome<bool> {
    let began = lagwise::now();
    let outcome = tokio::time::timeout(PATIENCE, work).await?;
    let took = lagwise::now().since(began);
    assert!(took < LIMIT * 4, "{what} took {took:?} for {LIMIT:?}");
    match outcome {
        Ok(_) => Ok(false),
        Err(error) if error.is_timed_out() => {
            assert!(!error.is_unavailable(), "that is another status");
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

const FORMS: [&str; 6] = ["execute", "all", "one", "optional", "stream", "many"];

async fn doze(db: &PgSession, form: &str, text: &str) -> Result<(), sqlx::Error> {
    let query = sqlx::query(AssertSqlSafe(text));
    match form {
        "execute" => query.execute(db).await.map(drop),
        "all" => query.fetch_all(db).await.map(drop),
        "one" => query.fetch_one(db).await.map(drop),
        "optional" => query.fetch_optional(db).await.map(drop),
        "stream" => drained(query.fetch(db)).await.map(drop),
        _ => drained(db.fetch_many(query)).await.map(drop),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_cut_at_the_deadline_in_every_form() -> Outcome {
    let (cluster, router) = dozing(1).await?;
    router.close().await;
    let limited = calm(&cluster).read_deadline(LIMIT);
    let router = settled(limited, 1).await?;
    is_read(&router, "select dozes(1)").await?;
    let db = router.session();
    for form in FORMS {
        let dozed = async { Ok(doze(&db, form, "select dozes(20000)").await?) };
        assert!(times_out(form, dozed).await?, "{form} has no deadline");
        let wrapped = doze(&db, form, "select dozes(20000), 1").await.unwrap_err();
        let behind = Error::behind(&wrapped).is_some_and(Error::is_timed_out);
        assert!(behind, "{form} says it through the driver: {wrapped:?}");
        doze(&db, form, "select dozes(1)").await?;
    }
    // After the first row as well.
    let rows = "select dozes(case when n < 3 then 0 else 20000 end) from generate_series(1, 4) n";
    let streamed = async { Ok(doze(&db, "stream", rows).await?) };
    assert!(times_out("a stream", streamed).await?);
    // Nobody is blamed, and the session goes on where it was.
    assert_eq!(router.snapshot().in_rotation(), 1);
    assert_eq!(place(&db).await?, "r1");
    // Longer, for who says so.
    let patient = db.with_reads(ReadOptions::new().deadline(Duration::from_secs(60)));
    doze(&patient, "all", "select dozes(900)").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_cut_is_not_used_again() -> Outcome {
    let (_cluster, router) = dozing(1).await?;
    let limited = ReadOptions::new().deadline(LIMIT);
    for turn in 0..20 {
        // More of them than the pool has places, were none of them free again.
        let read = router.run_read_with(limited.deadline(Duration::from_millis(60)), |node| {
            Box::pin(number(node, "select dozes(20000)"))
        });
        assert!(times_out("a read", read).await?, "turn {turn}");
    }
    let answer = router.run_read_with(limited, |node| Box::pin(number(node, "select 8::int8")));
    assert_eq!(answer.await?, 8, "it is not another read's");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_holds_on_the_primary_and_within_a_session_s_own() -> Outcome {
    let (_cluster, router) = dozing(1).await?;
    let asked = ReadOptions::primary().deadline(LIMIT);
    let read = router.run_read_with(asked, |node| Box::pin(number(node, "select dozes(20000)")));
    assert!(times_out("a read on the primary", read).await?);
    let session = router.session().with_deadline(LIMIT);
    let patient = ReadOptions::new().deadline(Duration::from_secs(60));
    let read = session.run_read_with(patient, |node| {
        Box::pin(number(node, "select dozes(20000)"))
    });
    assert!(times_out("a read of a limited session", read).await?);
    // What may write is never cut.
    let late = router.session().with_deadline(Duration::from_millis(100));
    late.execute("insert into notes select pg_sleep(0.4)::text")
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_begins_by_the_deadline_or_not_at_all() -> Outcome {
    let (cluster, router) = dozing(1).await?;
    let refuse = ReadOptions::new()
        .fallback(Fallback::Refuse)
        // Before the monitor knows.
        .deadline(Duration::from_millis(150));
    let r1 = cluster.replica(0);
    r1.freeze()?;
    let begun = async { Ok(router.begin_read_only_with(refuse).await?) };
    let timed_out = times_out("a transaction", begun).await;
    r1.thaw()?;
    assert!(timed_out?, "there is nowhere else to go");
    readmitted(&router, "r1").await?;
    let again = async || Ok(router.begin_read_only_with(refuse).await.is_ok());
    until("the replica serves again", PATIENCE, again).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_does_not_queue_for_the_primary_beyond_its_deadline() -> Outcome {
    let (cluster, router) = dozing(1).await?;
    router.close().await;
    let budget = Budget::new()
        .concurrent(1)
        .queue_for(Duration::from_secs(60));
    let router = settle(calm(&cluster).budget(budget), 1).await?;
    router.drain("r1")?;
    ejected(&router, "r1", Cause::Drained).await?;
    let held = router.read().await?;
    let queued = router.read_with(ReadOptions::new().deadline(LIMIT));
    assert!(times_out("a read in the queue", queued).await?);
    drop(held);
    let served = router.read_with(ReadOptions::new().deadline(LIMIT));
    assert!(!times_out("a read with its turn", served).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_waits_leaves_time_for_its_fallback() -> Outcome {
    let (cluster, router) = dozing(1).await?;
    let session = router.session();
    cluster.replica(0).freeze_replay()?;
    session.execute("insert into notes values ('one')").await?;
    let wait = ReadOptions::new().wait(Duration::from_secs(60));
    let read = session.read_with(wait.deadline(LIMIT)).await;
    cluster.replica(0).thaw_replay()?;
    assert_eq!(
        &*read?.route().node,
        "p",
        "the primary had half of the time"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_whose_deadline_passes_for_want_of_a_primary_says_that_there_is_none() -> Outcome {
    let (cluster, router) = with_places(1, "").await?;
    router.drain("r1")?;
    cluster.primary().kill().await?;
    snapshot_where(&router, "the primary is lost", |snapshot| {
        snapshot.primary_lost.is_some()
    })
    .await?;
    let reads = (20..40).map(|millis| {
        let router = router.clone();
        // Both the wait for a primary and the read end by then.
        let options = ReadOptions::new().deadline(Duration::from_millis(millis * 5));
        async move { router.read_with(options).await.map(drop) }
    });
    let reads = tokio::task::JoinSet::from_iter(reads).join_all().await;
    for read in reads {
        let error = read.expect_err("nobody serves it");
        assert!(error.is_unavailable() && !error.is_timed_out(), "{error}");
    }
    Ok(())
}
