//! A session goes with a visitor from instance to instance, by nothing but what is sent back.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use lagwise::tower::{RulesLayer, SessionLayer};
use lagwise::{Keys, PgRouter, ReadOptions, RouterBuilder};
use lagwise_testkit::Cluster;
use lagwise_tests::cluster::{PATIENCE, router, settle, start};
use lagwise_tests::observe::until;
use lagwise_tests::service::{NOTES, Visitor, keyed, service};
use lagwise_tests::{Outcome, fail};
use sqlx::Postgres;

/// A cluster, and that many instances of the service on it.
async fn instances(
    replicas: usize,
    many: usize,
    change: fn(SessionLayer<Postgres>) -> SessionLayer<Postgres>,
) -> Outcome<(Cluster, Vec<(PgRouter, Router)>)> {
    let cluster = start(replicas, NOTES).await?;
    let mut instances = Vec::new();
    for _ in 0..many {
        let db = settle(keyed(router(&cluster)), replicas).await?;
        let app = service(&db, change)?;
        instances.push((db, app));
    }
    Ok((cluster, instances))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "what is compared is made for it"
)]
fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Outcome {
    if found == wanted {
        return Ok(());
    }
    fail(format!("{what}: {found:?} where {wanted:?} is right"))
}

async fn hops(mut visitor: Visitor) -> Outcome {
    let (cluster, instances) = instances(2, 3, |layer| layer).await?;
    cluster.replica(0).pause_replay().await?;
    let mut on_replicas = 0;
    for round in 1..=60_usize {
        let version = visitor.write(&instances[round % 3].1, 7).await?;
        for hop in 1..3 {
            let read = visitor.read(&instances[(round + hop) % 3].1, 7).await?;
            same("the version read", read.version()?, version)?;
            on_replicas += usize::from(read.node() != "p");
        }
        if round == 30 {
            cluster.replica(0).resume_replay().await?;
            cluster.replica(1).pause_replay().await?;
        }
    }
    if on_replicas < 30 {
        return fail(format!("{on_replicas} of 120 reads went to replicas"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_with_cookies_reads_its_writes_on_every_instance() -> Outcome {
    hops(Visitor::with_cookies()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_with_the_header_reads_its_writes_on_every_instance() -> Outcome {
    hops(Visitor::with_header()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_fails_after_its_write_tells_of_it() -> Outcome {
    let (cluster, instances) = instances(1, 2, |layer| layer).await?;
    cluster.replica(0).pause_replay().await?;
    let mut visitor = Visitor::with_cookies();
    let failed = visitor.send(&instances[0].1, "PUT /broken/1", "x").await?;
    same(
        "the status",
        failed.status,
        StatusCode::INTERNAL_SERVER_ERROR,
    )?;
    same("cookies", failed.cookies(), 1)?;
    let read = visitor.read(&instances[1].1, 1).await?;
    same("the version", read.version()?, 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_a_token_only_if_there_is_something_to_tell() -> Outcome {
    let (_cluster, instances) = instances(1, 1, |layer| layer).await?;
    let app = &instances[0].1;
    let mut visitor = Visitor::with_cookies();
    let nothing = visitor.send(app, "GET /nothing", "").await?;
    same(
        "a request that touched nothing has one",
        nothing.has_token(),
        false,
    )?;
    same(
        "and nothing of caches",
        nothing.headers.get(CACHE_CONTROL),
        None,
    )?;

    let first = visitor.read(app, 1).await?;
    same("the first read", first.cookies(), 1)?;
    // A replica is known again once its run is older than clocks may differ.
    until(
        "another read on it has nothing to tell",
        PATIENCE,
        async || Ok(!visitor.read(app, 1).await?.has_token()),
    )
    .await?;
    visitor.write(app, 1).await?;
    let names: Vec<&str> = visitor.cookies.keys().map(String::as_str).collect();
    same(
        "cookies",
        names,
        vec!["__Host-lagwise", "__Host-lagwise-seen"],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_a_read_never_takes_the_place_of_a_writes() -> Outcome {
    let (cluster, instances) = instances(1, 2, |layer| layer).await?;
    let mut visitor = Visitor::with_cookies();
    let read = visitor.request(&instances[0].1, "GET /notes/1", "").await?;
    cluster.replica(0).pause_replay().await?;
    visitor.write(&instances[0].1, 1).await?;
    // The read was sent before the write, and is answered after it.
    visitor.keep(&read);
    let after = visitor.read(&instances[1].1, 1).await?;
    same("the version", after.version()?, 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_for_everybody_tells_nobody_what_was_read_and_the_writer_what_was_written()
-> Outcome {
    let (_cluster, instances) = instances(1, 1, |layer| layer).await?;
    let app = &instances[0].1;
    let mut visitor = Visitor::with_cookies();
    let read = visitor.send(app, "GET /public/1", "").await?;
    same("a token of reads", read.has_token(), false)?;
    same(
        "still public",
        read.headers[CACHE_CONTROL].to_str()?,
        "public, max-age=60",
    )?;
    let written = visitor.send(app, "PUT /public/1", "x").await?;
    same("cookies", written.cookies(), 1)?;
    same(
        "private",
        written.headers[CACHE_CONTROL].to_str()?,
        "max-age=60, private",
    )?;
    let vary = written.headers.get_all("vary").iter();
    let vary: Vec<&str> = vary.filter_map(|name| name.to_str().ok()).collect();
    same("depends on", vary, vec!["cookie", "x-lagwise"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_are_not_shared_leave_responses_alone() -> Outcome {
    let (_cluster, instances) = instances(1, 1, |layer| layer.shares_reads(false)).await?;
    let mut visitor = Visitor::with_cookies();
    let read = visitor.read(&instances[0].1, 1).await?;
    same("a token", read.has_token(), false)?;
    visitor.write(&instances[0].1, 1).await?;
    same("cookies", visitor.cookies.len(), 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_method_writes_only_where_it_was_allowed_to() -> Outcome {
    let (_cluster, instances) = instances(1, 1, |layer| layer.read_only_methods()).await?;
    let app = &instances[0].1;
    let mut visitor = Visitor::with_cookies();
    let refused = visitor.send(app, "GET /visits/1", "").await?;
    same("refused", refused.status, StatusCode::INTERNAL_SERVER_ERROR)?;
    let allowed = visitor.send(app, "GET /allowed/1", "").await?;
    same("allowed", allowed.version()?, 1)?;
    same("PUT", visitor.write(app, 1).await?, 2)?;
    let reader = visitor.send(app, "PUT /checked/1", "x").await?;
    same("a reader's handle refuses", reader.text, "true".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_has_rules_of_its_own() -> Outcome {
    let (_cluster, instances) = instances(1, 1, |layer| layer).await?;
    let app = &instances[0].1;
    let mut visitor = Visitor::with_cookies();
    visitor.write(app, 1).await?;
    let read = visitor.send(app, "GET /primary/1", "").await?;
    same(
        "the primary, because it was asked for",
        read.text,
        "1 p asked".to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_streamed_in_its_session() -> Outcome {
    let (cluster, instances) = instances(1, 2, |layer| layer).await?;
    cluster.replica(0).pause_replay().await?;
    let mut visitor = Visitor::with_cookies();
    visitor.write(&instances[0].1, 1).await?;
    let read = visitor.send(&instances[1].1, "GET /late/1", "").await?;
    same("what was read late", read.text, "1 true".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_user_is_none() -> Outcome {
    let by_user = |layer: SessionLayer<Postgres>| {
        layer.bind(|parts| {
            let user = parts.headers.get("x-user")?;
            user.to_str().ok().map(str::to_owned)
        })
    };
    let cluster = start(1, NOTES).await?;
    let patient = keyed(router(&cluster)).max_lag(Duration::from_secs(30));
    let app = &service(&settle(patient, 1).await?, by_user)?;
    cluster.replica(0).freeze_replay()?;
    let mut visitor = Visitor::with_cookies();
    visitor.extra = vec![("x-user", "ann".to_owned())];
    visitor.write(app, 1).await?;
    same("hers", visitor.clone().read(app, 1).await?.version()?, 1)?;
    for other in [vec![("x-user", "bob".to_owned())], vec![]] {
        let mut thief = visitor.clone();
        thief.extra = other;
        let read = thief.read(app, 1).await?;
        same("a stranger's", read.text, "0 r1 eligible".to_owned())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_token_is_as_if_there_were_none() -> Outcome {
    let (cluster, instances) = instances(1, 1, |layer| layer).await?;
    let app = &instances[0].1;
    let mut visitor = Visitor::with_cookies();
    visitor.write(app, 1).await?;
    cluster.wait_caught_up().await?;
    let good = visitor.cookies["__Host-lagwise"].clone();
    let flipped = good.replacen(|letter: char| letter != 'A', "A", 1);
    let doubled = format!("{good}; __Host-lagwise={good}");
    let long = "A".repeat(1 << 20);
    let other = {
        let db = router(&cluster).keys(Keys::new("another-secret-of-at-least-32-bytes!")?);
        let db = settle(db, 1).await?;
        let session = db.session();
        sqlx::query("update notes set version = 1")
            .execute(&session)
            .await?;
        session.token().await?.to_string()
    };
    for bad in [
        &flipped,
        &good[..20],
        &doubled,
        &long,
        &other,
        "%0d%0aset-cookie: a=b",
        "",
        "\u{e9}",
        ";",
    ] {
        let mut visitor = Visitor::with_cookies();
        visitor
            .cookies
            .insert("__Host-lagwise".to_owned(), bad.to_owned());
        let read = visitor.read(app, 1).await?;
        same("a read with a bad token", read.version()?, 1)?;
        same("on", read.node(), "r1")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_without_keys_is_refused_with_the_way_out() -> Outcome {
    let cluster = start(0, "").await?;
    let db = settle(router(&cluster), 0).await?;
    let refused = SessionLayer::new(db).err().map(|error| error.to_string());
    match refused {
        Some(text) if text.contains(".keys(Keys::from_env(..)?)") => Ok(()),
        other => fail(format!("{other:?}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inner_layer_adds_its_rules_and_leaves_the_telling_to_the_outer_one() -> Outcome {
    let cluster = start(1, NOTES).await?;
    let db = settle(keyed(router(&cluster)), 1).await?;
    let strict = service(&db, SessionLayer::read_only_methods)?;
    let app = strict.layer(SessionLayer::new(db.clone())?);
    let mut visitor = Visitor::with_cookies();
    let written = visitor.send(&app, "PUT /notes/1", "x").await?;
    same("one token", written.cookies(), 1)?;
    let refused = visitor.send(&app, "GET /visits/1", "").await?;
    same(
        "the inner one refuses",
        refused.status,
        StatusCode::INTERNAL_SERVER_ERROR,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_outside_of_the_layer_do_not_keep_it_from_telling() -> Outcome {
    let cluster = start(1, NOTES).await?;
    let db = settle(keyed(router(&cluster)), 1).await?;
    let app = service(&db, |layer| layer)?;
    let app = app.layer(RulesLayer::new(&db).reads(ReadOptions::primary()));
    let mut visitor = Visitor::with_cookies();
    let written = visitor.send(&app, "PUT /notes/1", "x").await?;
    same("one token", written.cookies(), 1)?;
    let read = visitor.read(&app, 1).await?;
    same("under the rules", read.text, "1 p asked".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_hold_for_what_is_read_while_a_body_is_sent() -> Outcome {
    let (cluster, instances) = instances(1, 1, |layer| layer).await?;
    cluster.replica(0).freeze_replay()?;
    let app = &instances[0].1;
    Visitor::with_cookies().write(app, 1).await?;
    let mut stranger = Visitor::with_cookies();
    let read = stranger.send(app, "GET /late-primary/1", "").await?;
    same("what the primary has", read.text, "1 true".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_in_goes_on_with_what_was_written_before() -> Outcome {
    let (cluster, instances) = instances(1, 1, |layer| {
        layer.bind(|parts| Some(parts.headers.get("x-user")?.to_str().ok()?.to_owned()))
    })
    .await?;
    cluster.replica(0).pause_replay().await?;
    let app = &instances[0].1;
    let mut visitor = Visitor::with_cookies();
    visitor.write(app, 1).await?;
    visitor.extra = vec![("x-user", "ann".to_owned())];
    same("the version", visitor.read(app, 1).await?.version()?, 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_of_a_request_keeps_its_answer_from_being_private() -> Outcome {
    let (_cluster, instances) = instances(1, 1, |layer| layer).await?;
    for kind in [
        "application/grpc",
        "application/grpc-web",
        "application/grpcx",
    ] {
        let mut visitor = Visitor::with_header();
        visitor.extra = vec![("content-type", kind.to_owned())];
        let read = visitor.read(&instances[0].1, 1).await?;
        same("a token", read.has_token(), true)?;
        let control = read.headers.get(CACHE_CONTROL).map(|value| value.to_str());
        same("private", control.transpose()?, Some("private"))?;
    }
    Ok(())
}

/// A visitor who has written, over replicas that are late by more than a read waits, reads on one of
/// them after a while, and not on the primary for ever.
async fn leaves_the_primary(db: RouterBuilder<Postgres>, cluster: &Cluster) -> Outcome {
    let db = settle(keyed(db).max_lag(Duration::from_secs(30)), 1).await?;
    let app = service(&db, |layer| layer)?;
    let late = Duration::from_millis(150);
    cluster.replica(0).set_apply_delay(late).await?;
    let mut visitor = Visitor::with_cookies();
    visitor.write(&app, 1).await?;
    let first = visitor.read(&app, 1).await?;
    same("at first", first.text, "1 p behind_floor".to_owned())?;
    // Somebody else writes on and on, so that the replica is late all the time.
    let stop = tokio::sync::Notify::new();
    let others = async {
        let mut other = Visitor::with_cookies();
        loop {
            tokio::select! {
                written = other.write(&app, 2) => drop(written?),
                () = stop.notified() => return Ok::<_, Box<dyn std::error::Error + Send + Sync>>(()),
            }
        }
    };
    let visits = async {
        let left = until("a replica serves", PATIENCE, async || {
            // As a person does, it takes its time.
            tokio::time::sleep(late * 2).await;
            Ok(visitor.read(&app, 1).await?.node() == "r1")
        })
        .await;
        stop.notify_one();
        left
    };
    let (wrote, left) = tokio::join!(others, visits);
    wrote?;
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_fell_back_does_not_keep_the_next_ones_on_the_primary() -> Outcome {
    let cluster = start(1, NOTES).await?;
    leaves_the_primary(router(&cluster), &cluster).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_not_captured_does_not_either() -> Outcome {
    let cluster = start(1, NOTES).await?;
    let db = settle(keyed(router(&cluster)).max_lag(Duration::from_secs(30)), 1).await?;
    let hasty = router(&cluster).policy(|policy| policy.capture_timeout = Duration::from_millis(1));
    let hasty = settle(keyed(hasty).max_lag(Duration::from_secs(30)), 1).await?;
    let apps = [
        service(&hasty, |layer| layer)?,
        service(&db, |layer| layer)?,
    ];
    cluster
        .replica(0)
        .set_apply_delay(Duration::from_millis(150))
        .await?;
    let mut visitor = Visitor::with_cookies();
    cluster
        .primary()
        .client_wire()
        .delay(Duration::from_millis(5));
    visitor.write(&apps[0], 1).await?;
    cluster.primary().client_wire().heal();
    until("a replica serves", PATIENCE, async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster
            .primary()
            .execute("update notes set body = 'on and on'")
            .await?;
        Ok(visitor.read(&apps[1], 1).await?.text == "1 r1 eligible")
    })
    .await
}
