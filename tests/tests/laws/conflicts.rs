//! A replica whose replay cancels reads fails none of them, and gets fewer for some seconds.

use lagwise::{PgRouter, ReadOptions};
use lagwise_testkit::Cluster;
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{PATIENCE, number, router as router_over, settle, start};
use lagwise_tests::counters::Counters;
use lagwise_tests::observe::until;
use lagwise_tests::readers::Readers;
use lagwise_tests::statements::PLACES;

/// `scans()` is canceled on `r1` as replay cancels what it is in conflict with.
const SCANS: &str = "
    create function scans() returns int8 language plpgsql stable as $$
        begin
            if current_setting('cluster_name') = 'r1' then
                raise exception 'a conflict' using errcode = '40001';
            end if;
            return 8;
        end $$;
";

async fn in_conflict() -> Outcome<(Cluster, PgRouter)> {
    let cluster = start(2, &format!("{PLACES}{SCANS}")).await?;
    let router = settle(router_over(&cluster), 2).await?;
    Ok((cluster, router))
}

/// Runs a read that `r1` cancels, and says how often it was tried.
async fn scan(router: &PgRouter) -> Outcome<usize> {
    let mut tries = 0;
    let answer = router.run_read(|node| {
        tries += 1;
        Box::pin(number(node, "select scans()"))
    });
    assert_eq!(answer.await?, 8);
    Ok(tries)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_cancels_reads_gets_fewer_of_them_and_its_share_back_later() -> Outcome {
    let counters = Counters::install();
    let (_cluster, router) = in_conflict().await?;
    let mut canceled = 0;
    // A caller that reads one after the other stays where a probe was answered faster of late.
    until("it cancels a read", PATIENCE, async || {
        canceled += scan(&router).await? - 1;
        Ok(canceled > 0)
    })
    .await?;
    for _ in 0..200 {
        let tries = scan(&router).await?;
        assert!(tries <= 2, "{tries} tries for one read");
        canceled += tries - 1;
    }
    // Half of them, were it not for the first one.
    assert!(canceled < 40, "{canceled} of 200 were tried twice");
    let counted = counters.sum("lagwise_conflicts_total", &[("node", "r1")]);
    assert_eq!(counted, u64::try_from(canceled)?, "each was counted");
    assert_eq!(counters.sum("lagwise_conflicts_total", &[("node", "p")]), 0);
    assert_eq!(router.snapshot().in_rotation(), 2, "nobody is gone");
    let readers = Readers::start(&router, 1, ReadOptions::new());
    readers
        .wait_for("it gets other reads again", |tally| tally.by("r1") > 20)
        .await?;
    let tally = readers.stop().await;
    assert_eq!(tally.failures, Vec::<String>::new());
    Ok(())
}

/// Runs a hundred such reads, and says how many were tried twice.
async fn scan_often(router: &PgRouter) -> Outcome<usize> {
    let mut canceled = 0;
    for _ in 0..100 {
        canceled += scan(router).await? - 1;
    }
    Ok(canceled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_are_canceled_under_load_are_all_answered() -> Outcome {
    let (_cluster, router) = in_conflict().await?;
    let readers = (0..6).map(|_| {
        let router = router.clone();
        async move { scan_often(&router).await }
    });
    let readers = tokio::task::JoinSet::from_iter(readers).join_all().await;
    let canceled: usize = readers.into_iter().sum::<Outcome<usize>>()?;
    // Half of them, did nobody look; how many fewer depends on what else this machine does.
    assert!(
        (1..300).contains(&canceled),
        "{canceled} of 600 were tried twice"
    );
    Ok(())
}
