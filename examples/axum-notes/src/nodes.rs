//! Where the nodes stand, as this instance sees them: now, and as it changes.
//!
//! For people and for programs that ask why an instance routes as it does, such as tests that measure
//! how soon it notices a failure. Names, roles and ages are told, and neither addresses nor positions.
//! Whoever asks costs the nodes nothing: the answer is what the monitor knows anyway.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lagwise::{Event, Happened, Instant, PgRouter, Snapshot};
use serde::Serialize;
use tokio::time::sleep;

/// How long a stream of events lasts: one that never ended would hold up the end of the service.
const LONGEST: Duration = Duration::from_secs(60);

/// All nodes at one moment.
#[derive(Serialize)]
struct Standing {
    /// The node that takes writes, as last proved.
    primary: Option<Arc<str>>,
    /// For how long that node cannot be asked.
    primary_lost_ms: Option<f64>,
    /// The timeline that it writes.
    timeline: Option<u32>,
    nodes: Vec<Node>,
}

/// One node.
#[derive(Serialize)]
struct Node {
    name: Arc<str>,
    is_primary: bool,
    role: Option<&'static str>,
    membership: &'static str,
    cause: Option<&'static str>,
    staleness_ms: Option<f64>,
}

/// One event.
#[derive(Serialize)]
struct Line {
    event: &'static str,
    node: Option<Arc<str>>,
    timeline: Option<u32>,
    cause: Option<&'static str>,
    /// How long ago the monitor noticed.
    age_ms: f64,
}

/// `GET /nodes`
pub(crate) async fn now(State(db): State<PgRouter>) -> impl IntoResponse {
    Json(Standing::of(&db.snapshot(), lagwise::now()))
}

/// `GET /events`: a line of JSON with all nodes, as of now, and one for each event after it.
pub(crate) async fn changes(State(db): State<PgRouter>) -> Response {
    // Asked for before the nodes are looked at: an event may be told twice, and none is missed.
    let mut events = db.events();
    let first = line(&Standing::of(&db.snapshot(), lagwise::now()));
    drop(db);
    let lines = async_stream::stream! {
        yield Ok::<_, Infallible>(first);
        let end = sleep(LONGEST);
        tokio::pin!(end);
        loop {
            let happened = tokio::select! {
                happened = events.next() => happened,
                () = &mut end => None,
            };
            let Some(happened) = happened else { break };
            yield Ok(line(&Line::of(&happened, lagwise::now())));
        }
    };
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
}

fn line(value: &impl Serialize) -> String {
    // Only maps with strange keys and failing writers are no JSON, and there are none here.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

impl Standing {
    fn of(snapshot: &Snapshot, now: Instant) -> Self {
        let name = |id| snapshot.node(id).map(|node| Arc::clone(&node.spec.name));
        let nodes = snapshot.nodes.iter().map(|node| Node {
            name: Arc::clone(&node.spec.name),
            is_primary: Some(node.id) == snapshot.primary,
            role: node.role.map(|role| role.as_str()),
            membership: node.membership.as_str(),
            cause: node.membership.cause().map(|cause| cause.as_str()),
            staleness_ms: node.staleness(now).map(millis),
        });
        Self {
            primary: snapshot.primary.and_then(name),
            primary_lost_ms: snapshot.primary_lost.map(|lost| millis(now.since(lost))),
            timeline: snapshot.timeline.map(|timeline| timeline.as_u32()),
            nodes: nodes.collect(),
        }
    }
}

impl Line {
    fn of(happened: &Happened, now: Instant) -> Self {
        let (timeline, cause) = match happened.event {
            Event::PrimaryFound { timeline, .. } | Event::HistoryBegun { timeline, .. } => {
                (Some(timeline.as_u32()), None)
            }
            Event::Ejected { cause, .. } | Event::Readmitted { after: cause, .. } => {
                (None, Some(cause.as_str()))
            }
            _ => (None, None),
        };
        Self {
            event: happened.event.as_str(),
            node: happened.node.clone(),
            timeline,
            cause,
            age_ms: millis(now.since(happened.at)),
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
