//! What the session layer adds to a request: to one that does nothing, with and without a token, and to
//! one that writes a row, alone and with others at the same time.
//!
//! The requests go to the service itself, without a socket; the rows to a real cluster.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{Request, Response};
use lagwise::tower::SessionLayer;
use lagwise::{Keys, PgRouter};
use lagwise_testkit::Cluster;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt as _, service_fn};

type Body = String;
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A cluster of a primary and a replica, and a router over it.
async fn started() -> Result<(Cluster, PgRouter), Failure> {
    let cluster = Cluster::builder().replicas(1).start().await?;
    cluster
        .primary()
        .execute("create table notes (id int primary key, version int not null); insert into notes select n, 0 from generate_series(0, 63) n")
        .await?;
    cluster.wait_caught_up().await?;
    let router = PgRouter::builder()
        .primary(cluster.primary().url())
        .replica(cluster.replica(0).url())
        .keys(Keys::new("a-secret-of-at-least-32-bytes-for-benches")?)
        .connect()
        .await?;
    router.ready(1, Duration::from_secs(10)).await?;
    Ok((cluster, router))
}

fn request(header: Option<(&str, &str)>) -> Request<Body> {
    let request = header
        .into_iter()
        .fold(Request::builder().uri("/"), |request, (name, value)| {
            request.header(name, value)
        });
    request.body(Body::new()).expect("it is a request")
}

/// A service that waits for nothing is done when it is asked.
fn answer<S: Service<Request<Body>>>(service: &mut S, request: Request<Body>) -> S::Response {
    let mut answer = pin!(service.call(request));
    match answer
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(Ok(response)) => response,
        _ => panic!("it has nothing to wait for"),
    }
}

fn idle(criterion: &mut Criterion, router: &PgRouter, token: &str) {
    let plain =
        service_fn(|_: Request<Body>| ready(Ok::<_, Infallible>(Response::new(Body::new()))));
    let layer = SessionLayer::new(router.clone()).expect("it has keys");
    let mut layered = layer.layer(plain);
    let mut plain = plain;
    let cookie = format!("a=b; __Host-lagwise={token}; c=d");
    let forged = token.replacen(|letter: char| letter != 'A', "A", 1);
    let mut group = criterion.benchmark_group("request");
    group.bench_function("without the layer", |bench| {
        bench.iter(|| answer(&mut plain, black_box(request(None))));
    });
    let cases = [
        ("no token", None),
        ("a token in the header", Some(("x-lagwise", token))),
        ("a token in a cookie", Some(("cookie", cookie.as_str()))),
        ("a forged token", Some(("x-lagwise", forged.as_str()))),
    ];
    for (name, header) in cases {
        group.bench_function(name, |bench| {
            bench.iter(|| answer(&mut layered, black_box(request(header))));
        });
    }
    group.finish();
}

/// Writes of so many at a time, each a request of its own.
async fn write_all<S>(service: S, many: u32, at_once: u32) -> Result<(), Failure>
where
    S: Service<Request<Body>, Error = sqlx::Error> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut writers = JoinSet::new();
    for writer in 0..at_once {
        let service = service.clone();
        writers.spawn(async move {
            for turn in (writer..many).step_by(usize::try_from(at_once).unwrap_or(1)) {
                let key = (turn % 64).to_string();
                drop(
                    service
                        .clone()
                        .oneshot(request(Some(("x-key", &key))))
                        .await?,
                );
            }
            Ok::<_, sqlx::Error>(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    Ok(())
}

fn writes(criterion: &mut Criterion, runtime: &Runtime, router: &PgRouter) {
    let db = router.clone();
    let plain = service_fn(move |request: Request<Body>| {
        let db = db.clone();
        async move {
            let key = request
                .headers()
                .get("x-key")
                .and_then(|key| key.to_str().ok());
            let key: i32 = key.and_then(|key| key.parse().ok()).unwrap_or_default();
            sqlx::query("update notes set version = version + 1 where id = $1")
                .bind(key)
                .execute(&db)
                .await?;
            Ok::<_, sqlx::Error>(Response::new(Body::new()))
        }
    });
    let layer = SessionLayer::new(router.clone()).expect("it has keys");
    let layered = layer.layer(plain.clone());
    let mut group = criterion.benchmark_group("write");
    group.sample_size(10).throughput(Throughput::Elements(64));
    for at_once in [1, 16] {
        group.bench_function(format!("{at_once} at a time, without the layer"), |bench| {
            bench.iter(|| {
                runtime
                    .block_on(write_all(plain.clone(), 64, at_once))
                    .expect("they succeed");
            });
        });
        group.bench_function(format!("{at_once} at a time, with it"), |bench| {
            bench.iter(|| {
                runtime
                    .block_on(write_all(layered.clone(), 64, at_once))
                    .expect("they succeed");
            });
        });
    }
    group.finish();
}

fn layer(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let (cluster, router) = runtime.block_on(started()).expect("a cluster starts");
    let token = runtime.block_on(async {
        let session = router.session();
        sqlx::query("update notes set version = version + 1 where id = 0")
            .execute(&session)
            .await
            .expect("the primary writes");
        session.token().await.expect("there is a token").to_string()
    });
    let _entered = runtime.enter();
    idle(criterion, &router, &token);
    writes(criterion, &runtime, &router);
    runtime.block_on(router.close());
    runtime
        .block_on(cluster.shutdown())
        .expect("the cluster stops");
}

criterion_group!(benches, layer);
criterion_main!(benches);
