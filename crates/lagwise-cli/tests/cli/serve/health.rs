//! What load balancers are told of each node, in each state of it.

use lagwise_testkit::Cluster;

use super::{Service, until};
use crate::Outcome;

async fn status(service: &Service, path: &str) -> Outcome<u16> {
    Ok(service.get(path).await?.status)
}

/// A check, its status, and how its line begins.
const CHECKS: [(&str, u16, &str); 21] = [
    ("/healthz", 200, "ok\n"),
    ("/node/primary", 200, "primary is the primary\n"),
    (
        "/node/primary?role=primary",
        200,
        "primary is the primary\n",
    ),
    (
        "/node/primary?role=replica",
        503,
        "primary is the primary\n",
    ),
    ("/node/primary?max_lag=1ms", 200, "primary is the primary\n"),
    ("/node/replica-1", 200, "replica-1 is in rotation, at most "),
    (
        "/node/replica-1?role=replica",
        200,
        "replica-1 is in rotation, at most ",
    ),
    (
        "/node/replica-1?role=primary",
        503,
        "replica-1 is not the primary\n",
    ),
    (
        "/node/replica-1?max_lag=10s",
        200,
        "replica-1 is in rotation, at most ",
    ),
    (
        "/node/replica-1?max_lag=1ns",
        503,
        "replica-1 is in rotation, at most ",
    ),
    (
        "/node/replica-1?role=replica&max_lag=10s",
        200,
        "replica-1 is in rotation, at most ",
    ),
    ("/primary", 200, "primary\n"),
    ("/primary/primary", 200, "primary is the primary\n"),
    ("/primary/replica-1", 503, "replica-1 is not the primary\n"),
    (
        "/node/replica-2",
        404,
        "there is no node replica-2; there are primary, replica-1\n",
    ),
    (
        "/node/%1b%5b2J",
        404,
        "there is no node \\u{1b}[2J; there are primary, replica-1\n",
    ),
    (
        "/primary/x",
        404,
        "there is no node x; there are primary, replica-1\n",
    ),
    // What nobody can mean must not pass for no limit.
    (
        "/node/replica-1?maxlag=1s",
        400,
        "what may be asked is role=primary or role=replica",
    ),
    (
        "/node/replica-1?max_lag=2",
        400,
        "what may be asked is role=primary or role=replica",
    ),
    (
        "/node/replica-1?role=standby",
        400,
        "what may be asked is role=primary or role=replica",
    ),
    ("/nodes", 404, "there is nothing at this address\n"),
];

#[tokio::test]
async fn a_check_is_a_status_and_one_line_by_whichever_method() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let service = Service::settled(&cluster).await?;
    for (path, expected, says) in CHECKS {
        let answer = service.get(path).await?;
        assert_eq!(answer.status, expected, "{path}: {answer:?}");
        assert!(answer.body.starts_with(says), "{path}: {answer:?}");
        assert_eq!(answer.body.lines().count(), 1, "{path}: {answer:?}");
        for header in ["cache-control: no-store", "x-content-type-options: nosniff"] {
            assert!(answer.head.contains(header), "{path}: {answer:?}");
        }
        for method in ["HEAD", "OPTIONS"] {
            let other = service.ask(method, path, "").await?;
            let known = path != "/nodes" || method == "HEAD" || other.status == 404;
            assert!(
                other.status == expected && known,
                "{method} {path}: {other:?}"
            );
            assert!(method == "OPTIONS" || other.body.is_empty(), "{other:?}");
        }
    }
    let primary = service.get("/primary").await?;
    assert!(
        primary.head.contains("x-lagwise-node: primary"),
        "{primary:?}"
    );
    let refused = service.ask("POST", "/cluster", "").await?;
    assert_eq!(refused.status, 405, "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_node_that_takes_no_reads_is_no_good_until_it_takes_them_again() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let service = Service::settled(&cluster).await?;
    cluster.replica(0).pause_replay().await?;
    until("a paused replica is out", async || {
        Ok(service.get("/node/replica-1?max_lag=1h").await?.status == 503)
    })
    .await?;
    let answer = service.get("/node/replica-1").await?;
    assert_eq!(answer.body, "replica-1 is ejected: paused\n");
    assert_eq!(
        status(&service, "/node/replica-2").await?,
        200,
        "the other is in"
    );
    cluster.replica(0).resume_replay().await?;
    until("it is in again", async || {
        Ok(status(&service, "/node/replica-1").await? == 200)
    })
    .await?;
    assert_eq!(status(&service, "/healthz").await?, 200);
    Ok(())
}

#[tokio::test]
async fn writes_follow_a_promotion_and_go_nowhere_before() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let service = Service::settled(&cluster).await?;
    cluster.primary().kill().await?;
    until("there is no primary", async || {
        Ok(status(&service, "/primary").await? == 503)
    })
    .await?;
    let answer = service.get("/primary").await?;
    assert!(
        answer.body.starts_with("primary has not answered for "),
        "{answer:?}"
    );
    for path in ["/primary/primary", "/node/primary"] {
        assert_eq!(status(&service, path).await?, 503, "{path}");
    }
    assert_eq!(
        status(&service, "/healthz").await?,
        200,
        "the monitor is well"
    );
    cluster.replica(0).promote().await?;
    until("the replica is the primary", async || {
        Ok(status(&service, "/primary/replica-1").await? == 200)
    })
    .await?;
    let answer = service.get("/primary").await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, "replica-1\n"));
    assert_eq!(status(&service, "/primary/primary").await?, 503);
    assert_eq!(status(&service, "/node/replica-1?role=replica").await?, 503);
    Ok(())
}
