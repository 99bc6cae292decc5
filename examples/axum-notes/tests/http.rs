//! What is asked of the service over sockets, with its nodes well and not well.

use std::process::Stdio;

use lagwise::PgRouter;
use lagwise_testkit::{Cluster, Node, Stop};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::instance::{Instance, PATIENCE, flags, program, until};
use crate::visitor::Visitor;

async fn cluster() -> Cluster {
    Cluster::builder().replicas(2).start().await.unwrap()
}

fn is_replica(note: &Value) -> bool {
    note["served_by"].as_str().unwrap().starts_with("replica-")
}

#[tokio::test]
async fn a_note_is_written_and_read() {
    let cluster = cluster().await;
    let [one, two, three] = &Instance::three(&cluster).await;
    let mut visitor = Visitor::default();
    let missing = visitor.get(one, "/notes/7").await;
    assert_eq!(
        (missing.status, missing.error().as_str()),
        (404, "there is no such note")
    );
    for (instance, version) in [(one, 1), (two, 2), (three, 3)] {
        let written = visitor.put(instance, 7, &format!("text {version}")).await;
        assert_eq!(written.status, 200);
        assert_eq!(written.json(), json!({ "id": 7, "version": version }));
        assert!(written.has_token(), "{:?}", written.headers);
    }
    let note = visitor.note(one, 7).await;
    assert_eq!(note["id"], 7);
    assert_eq!(note["version"], 3);
    assert_eq!(note["body"], "text 3");
    assert!(note["reason"].is_string(), "{note}");
    let staleness = note["staleness_ms"].as_f64().unwrap();
    assert_eq!(staleness > 0.0, is_replica(&note), "{note}");
    let negative = visitor.put(one, i64::MIN, "").await;
    assert_eq!(
        negative.json()["version"],
        1,
        "an empty note of the least id"
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_reason() {
    let cluster = Cluster::builder().replicas(0).start().await.unwrap();
    let instance = &Instance::over(&cluster).await;
    instance.settles(0).await;
    let mut visitor = Visitor::default();
    for (line, body, status, reason) in [
        ("GET /notes/seven", vec![], 400, "a whole number"),
        (
            "PUT /notes/9223372036854775808",
            vec![],
            400,
            "a whole number",
        ),
        ("GET /notes/%ff", vec![], 400, "a whole number"),
        ("PUT /notes/1", vec![0xff, 0xfe], 400, "UTF-8"),
        ("PUT /notes/1", vec![b'a', 0], 400, "NUL"),
        (
            "PUT /notes/1",
            vec![b'a'; 64 * 1024 + 1],
            413,
            "65536 bytes",
        ),
        ("DELETE /notes/1", vec![], 405, "other methods"),
        ("POST /healthz", vec![], 405, "other methods"),
        ("GET /nowhere", vec![], 404, "nothing at this address"),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let answer = visitor.send(instance, method, path, body).await;
        assert_eq!(answer.status, status, "{line}: {}", answer.text());
        assert!(
            answer.error().contains(reason),
            "{line}: {}",
            answer.error()
        );
        assert!(!answer.has_token(), "{line}");
    }
    let longest = visitor.put(instance, 1, &"a".repeat(64 * 1024)).await;
    assert_eq!(longest.json()["version"], 1, "nothing of it was written");
    let broken = visitor.http_garbage(instance).await;
    assert!(broken.starts_with("HTTP/1.1 400"), "{broken}");
}

async fn hops(mut visitor: Visitor) {
    let cluster = cluster().await;
    let instances = &Instance::three_that_bear(&cluster, "30s").await;
    let [r1, r2] = cluster.replicas() else {
        panic!("two replicas")
    };
    // It is not so far behind that it takes no reads.
    r1.freeze_replay().unwrap();
    let mut on_replicas = 0;
    for round in 1..=40 {
        match round {
            20 => {
                r1.thaw_replay().unwrap();
                r2.freeze_replay().unwrap();
            }
            30 => r1.freeze_replay().unwrap(),
            _ => {}
        }
        let written = visitor
            .put(&instances[round % 3], 1, &round.to_string())
            .await;
        assert_eq!(written.json()["version"], round, "round {round}");
        for hop in 1..=3 {
            let note = visitor.note(&instances[(round + hop) % 3], 1).await;
            assert_eq!(note["version"], round, "round {round}, hop {hop}: {note}");
            on_replicas += usize::from(is_replica(&note));
        }
    }
    // While neither replays there are none, and right after a write there may be none.
    assert!(
        on_replicas > 20,
        "{on_replicas} of 120 reads went to replicas"
    );
}

#[tokio::test]
async fn a_visitor_with_cookies_reads_its_writes_on_every_instance() {
    hops(Visitor::default()).await;
}

#[tokio::test]
async fn a_visitor_with_the_header_reads_its_writes_on_every_instance() {
    hops(Visitor::with_header()).await;
}

#[tokio::test]
async fn a_visitor_without_either_may_read_something_older() {
    let cluster = cluster().await;
    let [one, two, _] = &Instance::three_that_bear(&cluster, "30s").await;
    for replica in cluster.replicas() {
        replica.freeze_replay().unwrap();
    }
    let mut writer = Visitor::default();
    writer.put(one, 1, "new").await;
    assert_eq!(writer.note(two, 1).await["served_by"], "primary");
    let stranger = Visitor::default().get(two, "/notes/1").await;
    assert_eq!(stranger.status, 404, "{}", stranger.text());
}

#[tokio::test]
async fn a_replica_that_dies_costs_no_read_and_comes_back() {
    let cluster = cluster().await;
    let [one, ..] = &Instance::three(&cluster).await;
    let [r1, _] = cluster.replicas() else {
        panic!("two replicas")
    };
    let mut visitor = Visitor::default();
    visitor.put(one, 1, "kept").await;
    r1.kill().await.unwrap();
    for _ in 0..100 {
        let note = visitor.note(one, 1).await;
        assert_ne!(note["served_by"], "replica-1", "{note}");
    }
    r1.start().await.unwrap();
    one.settles(2).await;
}

#[tokio::test]
async fn a_replica_that_falls_silent_costs_a_moment() {
    let cluster = Cluster::builder().replicas(1).start().await.unwrap();
    let instance = &Instance::over(&cluster).await;
    instance.settles(1).await;
    let mut visitor = Visitor::default();
    visitor.put(instance, 1, "kept").await;
    until("the replica serves", async || {
        is_replica(&visitor.note(instance, 1).await).then_some(())
    })
    .await;
    cluster.replica(0).client_wire().blackhole();
    let note = visitor.note(instance, 1).await;
    assert_eq!(note["served_by"], "primary", "{note}");
}

/// Reads while the only replica holds the read up, and then fails under it.
async fn reads_while(fails: impl AsyncFnOnce(&Node)) {
    let cluster = Cluster::builder().replicas(1).start().await.unwrap();
    let instance = &Instance::over(&cluster).await;
    instance.settles(1).await;
    let mut visitor = Visitor::default();
    visitor.put(instance, 1, "kept").await;
    cluster.wait_caught_up().await.unwrap();
    // A replica replays locks as well.
    let mut other = cluster.primary().connect().await.unwrap();
    sqlx::raw_sql("begin; lock notes in access exclusive mode")
        .execute(&mut other)
        .await
        .unwrap();
    // Nothing sends the lock's record but a commit after it.
    cluster
        .primary()
        .execute("create table other ()")
        .await
        .unwrap();
    let replica = cluster.replica(0);
    let locks = async |granted: &str| {
        let query = format!(
            "select count(*) from pg_locks \
             where relation = 'notes'::regclass and granted = {granted}"
        );
        until("the lock is there", async || {
            let locks: i64 = replica.query_scalar(&query).await.unwrap();
            (locks > 0).then_some(())
        })
        .await;
    };
    locks("true").await;
    let failing = async {
        locks("false").await;
        fails(replica).await;
        sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    };
    let mut stranger = Visitor::default();
    let (note, ()) = tokio::join!(stranger.note(instance, 1), failing);
    assert_eq!(note["served_by"], "primary", "{note}");
}

#[tokio::test]
async fn a_read_whose_replica_dies_under_it_goes_on_elsewhere() {
    reads_while(async |replica| replica.kill().await.unwrap()).await;
}

#[tokio::test]
async fn a_read_whose_replica_falls_silent_under_it_goes_on_elsewhere() {
    reads_while(async |replica| replica.client_wire().blackhole()).await;
}

#[tokio::test]
async fn without_a_primary_reads_go_on_while_they_can_and_writes_say_so_in_time() {
    let cluster = cluster().await;
    let [one, two, _] = &Instance::three(&cluster).await;
    let mut visitor = Visitor::default();
    visitor.put(one, 1, "kept").await;
    cluster.wait_caught_up().await.unwrap();
    cluster.primary().kill().await.unwrap();
    assert!(is_replica(&Visitor::default().note(two, 1).await));
    let refused = visitor.put(one, 1, "lost").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(
        refused.error().starts_with("nothing was written"),
        "{}",
        refused.text()
    );
    assert!(refused.headers.contains_key("retry-after"));
    let health = until("it is noticed", async || {
        let health = Visitor::default().get(one, "/healthz").await;
        (health.status == 503).then_some(health)
    });
    assert_eq!(
        health.await.json()["missing"],
        json!(["no node takes writes"])
    );
    // What is read is never older than was promised, also if that means to read nothing.
    let read = until("nothing is proved to be new enough", async || {
        let read = Visitor::default().get(two, "/notes/1").await;
        if read.status == 200 {
            let staleness = read.json()["staleness_ms"].as_f64().unwrap();
            assert!(staleness <= 1000.0, "{}", read.text());
        }
        (read.status == 503).then_some(read)
    });
    assert!(read.await.headers.contains_key("retry-after"));

    cluster.primary().start().await.unwrap();
    one.settles(2).await;
    let written = until("writes go on", async || {
        let written = visitor.put(one, 1, "again").await;
        (written.status == 200).then_some(written)
    });
    assert_eq!(
        written.await.json()["version"],
        2,
        "what was refused was not written"
    );
    assert_eq!(visitor.note(two, 1).await["body"], "again");
}

#[tokio::test]
async fn a_write_with_an_unknown_end_fails_in_time_and_its_visitor_sees_what_became_of_it() {
    let cluster = cluster().await;
    let [one, two, _] = &Instance::three(&cluster).await;
    let mut visitor = Visitor::default();
    visitor.put(one, 1, "first").await;
    let mut other = cluster.primary().connect().await.unwrap();
    sqlx::raw_sql("begin; select from notes where id = 1 for update")
        .execute(&mut other)
        .await
        .unwrap();
    let given_up = visitor.put(one, 1, "second").await;
    assert_eq!(given_up.status, 504, "{}", given_up.text());
    assert!(
        given_up.error().contains("not known"),
        "{}",
        given_up.text()
    );
    assert!(given_up.has_token(), "{:?}", given_up.headers);
    let note = visitor.note(two, 1).await;
    assert_eq!(
        note["served_by"], "primary",
        "it may yet be written: {note}"
    );
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();

    sqlx::raw_sql("begin; select from notes where id = 2 for update; lock notes")
        .execute(&mut other)
        .await
        .unwrap();
    let waits = until("the write waits for the lock", async || {
        let query = "select count(*) from pg_locks where not granted";
        let waiting: i64 = cluster.primary().query_scalar(query).await.unwrap();
        (waiting > 0).then_some(())
    });
    let cut = async {
        waits.await;
        cluster.primary().client_wire().cut();
        cluster.primary().client_wire().heal();
    };
    let (broken, ()) = tokio::join!(visitor.put(one, 2, "cut"), cut);
    assert_eq!(broken.status, 500, "{}", broken.text());
    assert!(broken.error().contains("not known"), "{}", broken.text());
    assert!(broken.has_token(), "{:?}", broken.headers);
}

#[tokio::test]
async fn an_instance_starts_before_its_nodes() {
    let cluster = cluster().await;
    let [r1, _] = cluster.replicas() else {
        panic!("two replicas")
    };
    let primary = cluster.primary();
    primary.stop(Stop::Fast).await.unwrap();
    r1.stop(Stop::Fast).await.unwrap();
    let instance = &Instance::over(&cluster).await;
    let mut visitor = Visitor::default();
    let health = visitor.get(instance, "/healthz").await;
    assert_eq!(health.status, 503, "{}", health.text());
    let refused = visitor.put(instance, 1, "early").await;
    assert_eq!(refused.status, 503, "{}", refused.text());

    primary.start().await.unwrap();
    instance.settles(1).await;
    assert_eq!(
        visitor.put(instance, 1, "on time").await.json()["version"],
        1
    );
    r1.start().await.unwrap();
    instance.settles(2).await;
}

#[tokio::test]
async fn a_promotion_is_followed() {
    let cluster = cluster().await;
    let instances = &Instance::three(&cluster).await;
    let [r1, r2] = cluster.replicas() else {
        panic!("two replicas")
    };
    let mut visitor = Visitor::default();
    visitor.put(&instances[0], 1, "before").await;
    cluster.wait_caught_up().await.unwrap();
    cluster.primary().kill().await.unwrap();
    r1.promote().await.unwrap();
    r2.follow(r1).await.unwrap();
    for (instance, version) in instances.iter().zip(2..) {
        let written = until("writes go to the new primary", async || {
            let written = visitor.put(instance, 1, "after").await;
            (written.status == 200).then_some(written)
        });
        assert_eq!(written.await.json()["version"], version);
        assert_eq!(visitor.note(&instances[0], 1).await["version"], version);
    }
}

#[tokio::test]
async fn a_loss_is_told_with_a_refusal_too() {
    let cluster = cluster().await;
    let instance = &Instance::over(&cluster).await;
    instance.settles(2).await;
    let [r1, r2] = cluster.replicas() else {
        panic!("two replicas")
    };
    let mut visitor = Visitor::default();
    visitor.put(instance, 1, "kept").await;
    cluster.wait_caught_up().await.unwrap();
    for replica in [r1, r2] {
        replica.upstream_wire().cut();
    }
    let before = visitor.get(instance, "/notes/seven").await;
    assert!(!before.headers.contains_key("x-lagwise-lost"), "nothing is");
    assert_eq!(visitor.put(instance, 1, "lost").await.status, 200);
    cluster.primary().kill().await.unwrap();
    r1.promote().await.unwrap();
    let told = until("the loss is told", async || {
        let refused = visitor.get(instance, "/notes/seven").await;
        assert_eq!(refused.status, 400);
        refused.headers.get("x-lagwise-lost").cloned()
    });
    assert_eq!(told.await, "1");
}

#[tokio::test]
async fn several_instances_make_the_table_at_once() {
    let cluster = Cluster::builder().replicas(0).start().await.unwrap();
    let db = PgRouter::builder().primary(cluster.primary().url());
    let db = db.connect().await.unwrap();
    for _ in 0..10 {
        let makers = [(); 6].map(|()| axum_notes::make_table(&db));
        let [a, b, c, d, e, f] = makers;
        let made = tokio::join!(a, b, c, d, e, f);
        let made = [made.0, made.1, made.2, made.3, made.4, made.5];
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        cluster.primary().execute("drop table notes").await.unwrap();
    }
    // A database may also lose its table: a promoted replica never had it, say.
    let instance = &Instance::over(&cluster).await;
    instance.settles(0).await;
    cluster.primary().execute("drop table notes").await.unwrap();
    let mut visitor = Visitor::default();
    assert_eq!(visitor.get(instance, "/notes/1").await.status, 404);
    assert_eq!(visitor.put(instance, 1, "new").await.json()["version"], 1);
}

#[tokio::test]
async fn what_the_router_counts_is_shown() {
    let cluster = Cluster::builder().replicas(1).start().await.unwrap();
    let instance = &Instance::over(&cluster).await;
    instance.settles(1).await;
    let mut visitor = Visitor::default();
    visitor.put(instance, 1, "counted").await;
    let shown = visitor.get(instance, "/metrics").await;
    assert_eq!(shown.status, 200);
    assert!(
        shown.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    let text = shown.text();
    let writes = "lagwise_routes_total{node=\"primary\",role=\"primary\",reason=\"write\"} ";
    let line = text.lines().find_map(|line| line.strip_prefix(writes));
    assert!(line.unwrap().parse::<u64>().unwrap() >= 1, "{text}");
    assert!(
        text.contains("# TYPE lagwise_probe_duration_seconds histogram"),
        "{text}"
    );
    assert!(
        text.contains("lagwise_captures_total{outcome=\"captured\"} 1\n"),
        "{text}"
    );
}

#[tokio::test]
async fn an_instance_ends_in_peace_when_it_is_told_to() {
    let cluster = Cluster::builder().replicas(1).start().await.unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let mut instance = Instance::over(&cluster).await;
        instance.settles(1).await;
        // A connection that is kept open does not hold it up.
        let mut visitor = Visitor::default();
        visitor.put(&instance, 1, "kept").await;
        let id = i32::try_from(instance.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
        let ended = timeout(PATIENCE, instance.child.wait()).await;
        assert!(ended.unwrap().unwrap().success());
    }
}

#[tokio::test]
async fn without_a_key_it_says_so_and_with_a_bad_one_it_does_not_start() {
    let cluster = Cluster::builder().replicas(0).start().await.unwrap();
    let flags = flags(&cluster);
    let mut command = program(&flags);
    command.env_remove("LAGWISE_KEY").stderr(Stdio::piped());
    let mut alone = Instance::launch(command).await;
    alone.settles(0).await;
    assert!(Visitor::default().put(&alone, 1, "alone").await.has_token());
    alone.child.kill().await.unwrap();
    let said = Instance::complaint(alone.child).await;
    assert!(
        said.starts_with("warning: LAGWISE_KEY is not set"),
        "{said}"
    );

    let mut command = program(&flags);
    command.env("LAGWISE_KEY", "hunter2").stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert!(!child.wait().await.unwrap().success());
    let said = Instance::complaint(child).await;
    assert!(said.contains("at least 32"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn it_gives_up_if_no_primary_comes() {
    let mut command = program(&["--primary", "postgres://nobody:hunter2@127.0.0.1:1/none"]);
    command
        .args(["--start-timeout", "300ms"])
        .stderr(Stdio::piped());
    let mut instance = Instance::launch(command).await;
    let ended = timeout(PATIENCE, instance.child.wait()).await;
    assert!(!ended.unwrap().unwrap().success());
    let said = Instance::complaint(instance.child).await;
    assert!(said.contains("no node accepts writes"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn on_its_own_it_has_a_cluster_of_its_own() {
    let instance = &Instance::launch(program(&["--log", "error"])).await;
    instance.settles(2).await;
    let mut visitor = Visitor::default();
    assert_eq!(visitor.put(instance, 1, "own").await.json()["version"], 1);
    assert_eq!(visitor.note(instance, 1).await["body"], "own");
}

#[tokio::test]
async fn an_instance_says_where_the_nodes_stand_and_what_changes() {
    let cluster = cluster().await;
    let instance = &Instance::over(&cluster).await;
    instance.settles(2).await;
    let mut visitor = Visitor::default();
    let nodes = visitor.get(instance, "/nodes").await.json();
    assert_eq!(nodes["primary"], "primary", "{nodes}");
    assert_eq!(nodes["timeline"], 1, "{nodes}");
    assert!(nodes["primary_lost_ms"].is_null(), "{nodes}");
    let memberships = |nodes: &Value| {
        let one = |node: &Value| (node["name"].clone(), node["membership"].clone());
        nodes["nodes"].as_array().unwrap().iter().map(one).collect()
    };
    let all: Vec<(Value, Value)> = memberships(&nodes);
    let serves = |name: &str| (json!(name), json!("in_rotation"));
    assert_eq!(all[1..], [serves("replica-1"), serves("replica-2")]);
    assert!(nodes["nodes"][1]["staleness_ms"].is_f64(), "{nodes}");

    let mut events = visitor.lines(instance, "/events").await;
    let first: Value = serde_json::from_str(&events.next().await).unwrap();
    assert_eq!(memberships(&first), all, "it begins with what is");
    cluster.replica(0).pause_replay().await.unwrap();
    let ejected = loop {
        let event: Value = serde_json::from_str(&events.next().await).unwrap();
        if event["event"] == "ejected" {
            break event;
        }
    };
    assert_eq!(ejected["node"], "replica-1", "{ejected}");
    assert_eq!(ejected["cause"], "paused", "{ejected}");
    assert!(ejected["age_ms"].as_f64().unwrap() >= 0.0, "{ejected}");
    let text = visitor.get(instance, "/nodes").await.text();
    assert!(!text.contains("postgres"), "no addresses: {text}");
}
