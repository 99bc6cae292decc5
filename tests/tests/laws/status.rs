//! The live view inside a service: the page, the figures and the events of a router.

use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::http::{Request, Response, StatusCode};
use lagwise::status::{self, Cluster};
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{PATIENCE, bare, router, settle, start, with_router};
use lagwise_tests::observe::until;
use lagwise_tests::workload::LANES;
use serde_json::Value;
use tower::ServiceExt as _;

const PASSWORD: &str = "s3cr3t-Pa55word";

async fn get(app: &Router, path: &str) -> Outcome<Response<Body>> {
    let request = Request::get(path).body(Body::empty())?;
    Ok(app.clone().oneshot(request).await?)
}

async fn text(response: Response<Body>) -> Outcome<String> {
    let bytes = to_bytes(response.into_body(), usize::MAX).await?;
    Ok(String::from_utf8(bytes.to_vec())?)
}

async fn json(app: &Router, path: &str) -> Outcome<Value> {
    Ok(serde_json::from_str(&text(get(app, path).await?).await?)?)
}

/// A stream of server-sent events.
struct Stream(Body);

impl Stream {
    async fn open(app: &Router) -> Outcome<Self> {
        let response = get(app, "/status/events").await?;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Ok(Self(response.into_body()))
    }

    /// The next event by name, or nothing once the stream has ended.
    async fn next(&mut self) -> Outcome<Option<(String, Value)>> {
        loop {
            let Some(frame) = self.frame().await? else {
                return Ok(None);
            };
            let frame = String::from_utf8(frame.to_vec())?;
            let Some(rest) = frame.strip_prefix("event: ") else {
                continue;
            };
            let (name, data) = rest.split_once("\ndata: ").ok_or("an event has data")?;
            return Ok(Some((name.to_owned(), serde_json::from_str(data.trim())?)));
        }
    }

    async fn frame(&mut self) -> Outcome<Option<Bytes>> {
        let body = &mut self.0;
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        match tokio::time::timeout(PATIENCE, frame).await? {
            None => Ok(None),
            Some(frame) => Ok(frame?.into_data().ok()),
        }
    }

    /// The first event that is as wanted, within the time that anything may take.
    async fn find(&mut self, wanted: impl Fn(&str, &Value) -> bool) -> Outcome<Value> {
        tokio::time::timeout(PATIENCE, self.look_for(wanted)).await?
    }

    async fn look_for(&mut self, wanted: impl Fn(&str, &Value) -> bool) -> Outcome<Value> {
        loop {
            let next = self.next().await?;
            let (name, data) = next.ok_or("the stream has ended before")?;
            if wanted(&name, &data) {
                return Ok(data);
            }
        }
    }
}

/// What is said of one node.
fn node<'a>(cluster: &'a Value, name: &str) -> Outcome<&'a Value> {
    let nodes = cluster["nodes"].as_array().ok_or("there are nodes")?;
    let found = nodes.iter().find(|node| node["name"] == name);
    Ok(found.ok_or("there is the node")?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_streamed_as_it_happens_and_the_stream_ends_with_the_router() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    let app = Router::new().nest("/status", status::router(router.clone()));
    let mut stream = Stream::open(&app).await?;
    let (name, first) = stream.next().await?.ok_or("it begins")?;
    assert_eq!(name, "cluster");
    let primary = node(&first["cluster"], "p")?;
    assert_eq!(
        primary["membership"], "primary",
        "it is not out of anything"
    );
    assert_eq!(primary["cause"], Value::Null);
    assert_eq!(first["cluster"]["in_rotation"], 2, "{first}");
    let run = first["run"].clone();

    cluster.replica(0).pause_replay().await?;
    let change = stream.find(|name, _| name == "event").await?;
    assert_eq!(
        (&change["event"], &change["node"], &change["cause"]),
        (&"ejected".into(), &"r1".into(), &"paused".into())
    );
    let sample = stream.find(|name, _| name == "sample").await?;
    assert_eq!(sample["run"], run);
    let ejected = node(&sample["cluster"], "r1")?;
    assert_eq!(
        ejected["membership"], "ejected",
        "with the first sample after it"
    );
    let since = sample["at"].as_f64().zip(change["at"].as_f64());
    let since = since.ok_or("both are dated")?;
    assert!(since.0 >= since.1, "{since:?}");

    let past = json(&app, "/status/history").await?;
    let told = past["events"].as_array().ok_or("events are kept")?;
    assert!(told.contains(&change), "{told:?}");
    let series = node(&past, "r1")?;
    let standings = series["standings"].as_array().ok_or("standings are kept")?;
    let last = standings.last().ok_or("one at least")?;
    assert_eq!(
        (&last["standing"], &last["cause"]),
        (&"ejected".into(), &"paused".into())
    );
    let columns = ["bound", "estimate", "routes"].map(|name| series[name].as_array().map(Vec::len));
    let times = past["times"].as_array().map(Vec::len);
    assert!(
        columns.iter().all(|column| *column == times),
        "{columns:?} of {times:?}"
    );

    let closes = router.close();
    let ends = async {
        while stream.next().await?.is_some() {}
        Outcome::Ok(())
    };
    let ((), ended) = tokio::join!(closes, tokio::time::timeout(PATIENCE, ends));
    ended??;
    let refused = get(&app, "/status/events").await?;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&app, "/status").await?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_are_counted_by_node_and_reason_without_an_exporter() -> Outcome {
    let (_cluster, router) = with_router(1, LANES).await?;
    let before = Cluster::of(&router);
    assert!(
        before.nodes.iter().all(|node| node.routes.is_empty()),
        "{before:?}"
    );
    for _ in 0..3 {
        drop(router.read().await?);
    }
    drop(router.write().await?);
    drop(router.begin().await?);
    let now = serde_json::to_value(Cluster::of(&router))?;
    assert_eq!(
        node(&now, "r1")?["routes"],
        serde_json::json!({ "eligible": 3 })
    );
    assert_eq!(
        node(&now, "p")?["routes"],
        serde_json::json!({ "write": 2 })
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_and_no_password_is_in_any_answer() -> Outcome {
    let cluster = start(1, LANES).await?;
    let secret = |node: &lagwise_testkit::Node| {
        let password = format!("postgres:{PASSWORD}@");
        node.url().replace("postgres@", &password)
    };
    let settings = bare()
        .primary(secret(cluster.primary()))
        .replica(secret(cluster.replica(0)));
    let router = settle(settings, 1).await?;
    let app: Router = status::router(router);
    let mut stream = get(&app, "/events").await?.into_body();
    let mut told = String::new();
    while !told.contains("event: sample") {
        let frame = std::future::poll_fn(|context| Pin::new(&mut stream).poll_frame(context));
        let frame = tokio::time::timeout(PATIENCE, frame)
            .await?
            .ok_or("it goes on")??;
        told.push_str(std::str::from_utf8(
            &frame.into_data().map_err(|_| "data")?,
        )?);
    }
    for path in ["/", "/cluster", "/history"] {
        let response = get(&app, path).await?;
        let headers = format!("{:?}", response.headers());
        assert!(
            headers.contains("no-store") && headers.contains("nosniff"),
            "{headers}"
        );
        told.push_str(&headers);
        told.push_str(&text(response).await?);
    }
    for secret in [PASSWORD, "postgres://", "127.0.0.1"] {
        assert!(!told.contains(secret), "{secret}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let request = Request::builder()
            .method(method)
            .uri("/cluster")
            .body(Body::empty())?;
        let refused = app.clone().oneshot(request).await?;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_limited_in_number_and_a_slow_one_is_told_everything_anew() -> Outcome {
    let (_cluster, router) = with_router(1, LANES).await?;
    let app = Router::new().nest("/status", status::router(router.clone()));
    let mut slow = Stream::open(&app).await?;
    let (name, _) = slow.next().await?.ok_or("it begins")?;
    assert_eq!(name, "cluster");
    let others = async {
        let mut open = Vec::new();
        for _ in 1..64 {
            open.push(Stream::open(&app).await?);
        }
        Outcome::Ok(open)
    };
    let others = others.await?;
    let refused = get(&app, "/status/events").await?;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(others);
    drop(Stream::open(&app).await?);

    // More happens than is kept for anybody.
    let mut events = router.events();
    for _ in 0..100 {
        router.drain("r1")?;
        events.next().await.ok_or("it is announced")?;
        router.undrain("r1")?;
        events.next().await.ok_or("it is announced")?;
    }
    until("all of it has been passed on", PATIENCE, async || {
        let past = json(&app, "/status/history").await?;
        let told = past["events"].as_array().map_or(0, Vec::len);
        assert!(told <= 256, "what is kept is bounded: {told}");
        Ok(told > 190)
    })
    .await?;
    let (name, anew) = slow.next().await?.ok_or("it goes on")?;
    assert_eq!(name, "cluster", "what was missed is told as a whole");
    assert!(node(&anew["cluster"], "r1").is_ok());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_listens_keeps_neither_the_service_nor_the_router() -> Outcome {
    let cluster = start(1, LANES).await?;
    let router = settle(router(&cluster), 1).await?;
    let mut events = router.events();
    let app = Router::new().nest("/status", status::router(router));
    let mut stream = Stream::open(&app).await?;
    stream.next().await?;
    drop(app);
    let ends = async {
        while stream.next().await?.is_some() {}
        Outcome::Ok(())
    };
    tokio::time::timeout(PATIENCE, ends).await??;
    let ended = async { while events.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, ended).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_is_told_the_worst_of_every_second() -> Outcome {
    let cluster = start(2, LANES).await?;
    let every = Duration::from_millis(400);
    let router = settle(
        router(&cluster)
            .max_lag(Duration::from_secs(4))
            .poll_interval(every)
            .policy(|policy| policy.idle_poll_interval = every),
        2,
    )
    .await?;
    let app: Router = Router::new().nest("/status", status::router(router.clone()));
    let mut stream = Stream::open(&app).await?;
    let is_sample = |name: &str, _: &Value| name == "sample";
    let peak = |sample: &Value| sample["peaks"]["r1"].as_f64();
    // Between two answers a bound grows by all of the time between them.
    let mut high = 0;
    while high < 2 {
        let sample = stream.find(is_sample).await?;
        high += usize::from(peak(&sample) >= Some(0.3));
    }
    // What happens to the other node brings a sample before this one is asked again.
    for _ in 0..4 {
        router.drain("r2")?;
        let sample = stream.find(is_sample).await?;
        router.undrain("r2")?;
        let now = node(&sample["cluster"], "r1")?["staleness_seconds"].as_f64();
        assert!(now.is_some() && peak(&sample) >= now, "{sample}");
    }
    Ok(())
}
