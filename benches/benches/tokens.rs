//! What it costs to carry a session: signing it, taking it up, refusing what is none, and finding out
//! that there is nothing new to tell.
//!
//! Tokens are made and taken up by a router over a real cluster; no read or write is among what is
//! measured.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use lagwise::{Claim, Keys, PgRouter, Token};
use lagwise_core::{
    Instant, Lsn, Monitor, NodeSpec, Policy, ReadFrom, Role, ServerStart, Session, SystemId,
    Timeline, WallTime,
};
use lagwise_testkit::Cluster;
use tokio::runtime::Runtime;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A claim with everything in it.
fn claim() -> Claim {
    let issued = WallTime::from_millis(1_800_000_000_000);
    let mut claim = Claim::new(SystemId::new(7), Timeline::new(1), issued);
    claim.lsn = Some(Lsn::new(0x10_0000_0000));
    claim.unsettled_until = Some(issued.after(Duration::from_secs(2)));
    claim.read = Some(ReadFrom::Server(
        ServerStart::new(700_000_000_000_000),
        issued,
    ));
    claim
}

fn claims(criterion: &mut Criterion) {
    let bytes = claim().encode();
    criterion.bench_function("claim/encode", |bencher| {
        let claim = claim();
        bencher.iter(|| black_box(&claim).encode());
    });
    criterion.bench_function("claim/decode", |bencher| {
        bencher.iter(|| Claim::decode(black_box(&bytes)));
    });
    criterion.bench_function("claim/decode, cut off", |bencher| {
        bencher.iter(|| Claim::decode(black_box(&bytes[..bytes.len() - 1])));
    });
}

/// What is looked at after every request.
fn renewal(criterion: &mut Criterion) {
    let policy = Policy::default()
        .validate()
        .expect("the defaults are valid");
    let now = Instant::from_nanos(1 << 50);
    let monitor = Monitor::new(now, policy, [NodeSpec::new("p", Role::Primary)]);
    let (snapshot, wall) = (monitor.snapshot(now), claim().issued);
    let mut session = Session::default();
    session.take_up(&claim(), &snapshot, now, wall);
    criterion.bench_function("session/nothing to tell", |bencher| {
        bencher.iter(|| black_box(&session).has_moved(wall, Duration::from_secs(75)));
    });
    criterion.bench_function("session/take up a claim", |bencher| {
        bencher.iter(|| {
            let mut session = Session::default();
            session.take_up(black_box(&claim()), &snapshot, now, wall);
            session
        });
    });
}

async fn started() -> Result<(Cluster, PgRouter, Token), Failure> {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let router = PgRouter::builder()
        .primary(cluster.primary().url())
        .replica(cluster.replica(0).url())
        .keys(Keys::new("a-secret-of-at-least-32-bytes-for-benches")?)
        .connect()
        .await?;
    router.ready(1, Duration::from_secs(10)).await?;
    let session = router.session();
    drop(session.write().await?);
    let token = session.token().await?;
    Ok((cluster, router, token))
}

fn tokens(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let (_cluster, router, token) = runtime.block_on(started()).expect("a cluster starts");
    let session = router.resume(&token);
    criterion.bench_function("token/sign", |bencher| {
        // Nothing was written since it came in, so nobody is asked.
        bencher.iter(|| runtime.block_on(session.token()));
    });
    criterion.bench_function("token/take up", |bencher| {
        let session = router.session();
        assert_eq!(session.merge(&token), Ok(()), "it is good");
        bencher.iter(|| session.merge(black_box(&token)));
    });
    let mut forged = token.to_string();
    forged.replace_range(9..10, if &forged[9..10] == "A" { "B" } else { "A" });
    let bad = [
        ("forged", forged),
        (
            "of another key",
            format!("{}____{}", &token.as_str()[..1], &token.as_str()[5..]),
        ),
        ("garbage of 256 characters", "x".repeat(256)),
    ];
    for (name, text) in bad {
        let bad: Token = text.parse().expect("it can be carried");
        let session = router.session();
        assert!(session.merge(&bad).is_err(), "{name} is none");
        criterion.bench_function(&format!("token/{name}"), |bencher| {
            bencher.iter(|| session.merge(black_box(&bad)));
        });
    }
    criterion.bench_function("token/parse", |bencher| {
        bencher.iter(|| black_box(token.as_str()).parse::<Token>());
    });
}

criterion_group! {
    name = carried;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(30)
        .without_plots();
    targets = claims, renewal, tokens
}
criterion_main!(carried);
