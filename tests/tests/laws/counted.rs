//! What becomes of statements is counted.

use std::time::Duration;

use lagwise::{NodeConfig, Reason};
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{PATIENCE, bare, start};
use lagwise_tests::counters::Counters;
use lagwise_tests::observe::until;
use lagwise_tests::statements::{PLACES, is_read, settled};

const LIAR: &str = "
    create sequence runs;
    create function lies() returns int8 language plpgsql stable as $$
        begin return nextval('runs'); end $$;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_statement_is_counted_by_its_replica_and_by_its_reason() -> Outcome {
    let counters = Counters::install();
    let cluster = start(1, &format!("{PLACES}{LIAR}")).await?;
    let router = bare()
        .max_lag(Duration::from_secs(30))
        .wait(Duration::from_secs(5))
        .primary(NodeConfig::url(cluster.primary().url()).name("counted-p"))
        .replica(NodeConfig::url(cluster.replica(0).url()).name("counted-r1"));
    let router = settled(router, 1).await?;
    is_read(&router, "select lies()").await?;
    let refused = || {
        counters.sum(
            "lagwise_statements_refused_total",
            &[("node", "counted-r1")],
        )
    };
    let routed = |node, reason: Reason| {
        let labels = [("node", node), ("reason", reason.as_str())];
        counters.sum("lagwise_routes_total", &labels)
    };
    let session = router.session();
    for runs in 1..=3_i64 {
        let run: i64 = sqlx::query_scalar("select lies()")
            .fetch_one(&session)
            .await?;
        assert_eq!(run, runs, "it ran once on the primary");
        assert_eq!(refused(), 1, "it was refused the first time alone");
    }
    sqlx::query("select 1").execute(&router).await?;
    until("the routes are told of", PATIENCE, async || {
        Ok(routed("counted-p", Reason::OutsideSession) == 1)
    })
    .await?;
    assert_eq!(routed("counted-p", Reason::RefusedByReplica), 1);
    let writes = routed("counted-p", Reason::Write);
    assert_eq!(writes, 2, "it is known then");
    let bound = || counters.sum("lagwise_sessions_bound_total", &[]);
    let before = bound();
    session.scope(async { router.size() }).await;
    assert_eq!(bound(), before + 1, "the pool was taken in a session");
    assert!(counters.sum("lagwise_catalog_reads_total", &[("outcome", "changed")]) >= 1);
    Ok(())
}
