//! A read whose answer is late is answered by another replica, and its session notices nothing of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lagwise::{Hedge, Hedged, PgRouter, PgSession, ReadOptions};
use lagwise_testkit::Cluster;
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{PATIENCE, POLL, number, router as router_over, settle, start};
use lagwise_tests::counters::Counters;
use lagwise_tests::observe::until;
use lagwise_tests::statements::{PLACES, calm};
use lagwise_tests::workload::{LANES, Load, Style};
use sqlx::{AssertSqlSafe, Executor as _};

/// `stalls()` takes as long on `r1` as nobody waits, and is answered at once elsewhere.
const STALLS: &str = "
    create function stalls() returns text language plpgsql stable as $$
        begin
            if here() = 'r1' then perform pg_sleep(20); end if;
            return here();
        end $$;
";

async fn stalling(hedge: Hedge) -> Outcome<(Cluster, PgRouter)> {
    let cluster = start(2, &format!("{PLACES}{STALLS}")).await?;
    let router = settle(calm(&cluster).hedge(hedge), 2).await?;
    learn(&router).await?;
    Ok((cluster, router))
}

/// How long reads take has to be known before any is hedged.
async fn learn(router: &PgRouter) -> Outcome {
    for _ in 0..150 {
        router
            .run_read(|node| Box::pin(number(node, "select 8::int8")))
            .await?;
    }
    Ok(())
}

/// Where a read is answered that stalls on `r1`.
async fn stalls(router: &PgRouter, options: ReadOptions) -> Result<String, lagwise::Error> {
    let read = router.run_read_with(options, |node| {
        Box::pin(sqlx::query_scalar::<_, String>("select stalls()").fetch_one(node))
    });
    read.await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_one_replica_stalls_is_answered_by_another() -> Outcome {
    let counters = Counters::install();
    let (_cluster, router) = stalling(Hedge::new().share(100)).await?;
    let count = |name| counters.sum(name, &[("node", "r2")]);
    let began = lagwise::now();
    // Where costs are alike chance decides, but for some seconds they may not be.
    while count("lagwise_hedges_won_total") < 3 && lagwise::now().since(began) < PATIENCE {
        let read = stalls(&router, ReadOptions::new().deadline(PATIENCE));
        assert_eq!(read.await?, "r2");
    }
    let (started, won) = (
        count("lagwise_hedges_started_total"),
        count("lagwise_hedges_won_total"),
    );
    assert!(won > 0, "no read met the replica that stalls");
    assert!(won <= started, "{won} of {started}");
    // Who does not want it waits.
    let never = ReadOptions::new().hedge(Hedged::Never);
    let limit = never.deadline(Duration::from_millis(400));
    let waits = async || match stalls(&router, limit).await {
        Ok(_) => Ok(false),
        Err(error) if error.is_timed_out() => Ok(true),
        Err(error) => Err(error.into()),
    };
    until("a read waits for its replica", PATIENCE, waits).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_second_attempts_are_made_than_their_share_and_none_on_the_primary() -> Outcome {
    let counters = Counters::install();
    let eager = Hedge::new().percentile(50).at_least(Duration::ZERO);
    let (_cluster, router) = stalling(eager.share(10)).await?;
    let before = counters.sum("lagwise_hedges_started_total", &[]);
    for _ in 0..500 {
        router
            .run_read(|node| Box::pin(number(node, "select 8::int8 from pg_sleep(0.001)")))
            .await?;
    }
    let started = counters.sum("lagwise_hedges_started_total", &[]) - before;
    assert!(
        (1..=62).contains(&started),
        "{started} of 500, and saved up ten"
    );
    let on_primary = counters.sum("lagwise_hedges_started_total", &[("node", "p")]);
    assert_eq!(on_primary, 0);
    Ok(())
}

/// What a session must see of a lane, and how it looks.
struct Watcher {
    session: PgSession,
    seen: Arc<AtomicI64>,
}

impl Watcher {
    /// Looks at the lane, which must not be behind what was seen before this began.
    async fn look(&self) -> Outcome {
        let owed = self.seen.load(Ordering::SeqCst);
        // Some are late by chance.
        let text = "select (select n from lanes where lane = 0) \
            from pg_sleep(case when random() < 0.3 then 0.05 else 0 end)";
        let seen: i64 = sqlx::query_scalar(AssertSqlSafe(text))
            .fetch_one(&self.session)
            .await?;
        assert!(seen >= owed, "went backwards: {seen} after {owed}");
        self.seen.fetch_max(seen, Ordering::SeqCst);
        Ok(())
    }

    /// Writes, and looks at it.
    async fn write(&self, n: i64) -> Outcome {
        let write = sqlx::query("update lanes set n = $1 where lane = 7").bind(n);
        self.session.execute(write).await?;
        let seen: i64 = sqlx::query_scalar("select n from lanes where lane = 7")
            .fetch_one(&self.session)
            .await?;
        assert_eq!(seen, n, "its own write");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_reads_are_hedged_never_goes_backwards_and_sees_its_writes() -> Outcome {
    let counters = Counters::install();
    let cluster = start(2, LANES).await?;
    let eager = Hedge::new().percentile(50).at_least(Duration::ZERO);
    let router = settle(router_over(&cluster).hedge(eager.share(100)), 2).await?;
    learn(&router).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    // One is always some way behind the other.
    cluster
        .replica(0)
        .set_apply_delay(Duration::from_millis(20))
        .await?;
    let won = || counters.sum("lagwise_hedges_won_total", &[]);
    let began = lagwise::now();
    let mut turn = 0;
    while turn < 20 || (won() < 5 && lagwise::now().since(began) < PATIENCE) {
        turn += 1;
        let watcher = Watcher {
            session: router.session(),
            seen: Arc::default(),
        };
        for _ in 0..4 {
            watcher.look().await?;
            // Until both replicas may answer.
            tokio::time::sleep(POLL * 2).await;
        }
        let together = tokio::join!(watcher.look(), watcher.look(), watcher.look());
        together.0.and(together.1).and(together.2)?;
        watcher.write(turn).await?;
        watcher.look().await?;
    }
    load.stop().await?;
    assert!(won() >= 5, "{} second attempts won", won());
    Ok(())
}
