//! Hundreds of jobs on a real cluster: none reads stale data, and none is lost.
#![expect(clippy::unwrap_used, reason = "what a test stands on may fail it")]

use std::time::Duration;

use lagwise_testkit::Cluster;
use lagwise_worker::nodes::Nodes;
use lagwise_worker::plan::Plan;
use lagwise_worker::queue;
use lagwise_worker::report::Report;
use lagwise_worker::run::run;

fn plan(jobs: u32, rate: u32) -> Plan {
    Plan {
        jobs,
        rate,
        workers: 6,
        replicas: 2,
        pause: 0,
    }
}

async fn start() -> (Cluster, Nodes) {
    let cluster = Cluster::builder().replicas(2).start().await.unwrap();
    let nodes = Nodes::of(&cluster).unwrap();
    (cluster, nodes)
}

/// Asserts that every job is done and none read stale data.
fn check(report: &Report, jobs: usize) {
    assert_eq!(
        (report.jobs(), report.left, report.stale()),
        (jobs, 0, 0),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn most_jobs_read_on_replicas_while_they_are_healthy() {
    let (cluster, nodes) = start().await;
    let db = nodes.open().await.unwrap();
    let report = run(&db, &plan(400, 100), std::future::pending())
        .await
        .unwrap();
    check(&report, 400);
    assert_eq!(report.asked(), 50, "{report}");
    assert!(report.on_replicas() > 300, "{report}");
    db.close().await;
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_reads_stale_data_while_replicas_are_delayed_and_paused() {
    let (cluster, nodes) = start().await;
    let db = nodes.open().await.unwrap();
    let [r1, r2] = cluster.replicas() else {
        panic!("two replicas")
    };
    let disturb = async {
        let moment = || tokio::time::sleep(Duration::from_millis(700));
        r1.set_apply_delay(Duration::from_millis(200))
            .await
            .unwrap();
        moment().await;
        r2.pause_replay().await.unwrap();
        moment().await;
        r1.pause_replay().await.unwrap();
        moment().await;
        moment().await;
        r2.resume_replay().await.unwrap();
        moment().await;
        r1.resume_replay().await.unwrap();
        r1.set_apply_delay(Duration::ZERO).await.unwrap();
    };
    let plan = plan(500, 120);
    let (report, ()) = tokio::join!(run(&db, &plan, std::future::pending()), disturb);
    let report = report.unwrap();
    check(&report, 500);
    assert!(report.put_back() > 0, "some had to come back: {report}");
    assert!(report.fell_back() > 0, "some could not wait: {report}");
    assert!(report.on_replicas() > 200, "{report}");
    db.close().await;
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_ended_leaves_the_other_jobs_in_the_queue() {
    let (cluster, nodes) = start().await;
    let db = nodes.open().await.unwrap();
    for replica in cluster.replicas() {
        replica.pause_replay().await.unwrap();
    }
    // By now some jobs are in the queue for good: nobody has what they must see.
    let end = async {
        while queue::left(&db).await.unwrap_or(0) < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let report = run(&db, &plan(100_000, 200), end).await.unwrap();
    assert_eq!(report.stale(), 0, "{report}");
    assert!(report.left >= 10, "{report}");
    assert_eq!(queue::left(&db).await.unwrap(), report.left);
    db.close().await;
    cluster.shutdown().await.unwrap();
}
