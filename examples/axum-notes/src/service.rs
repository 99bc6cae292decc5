//! The addresses of the service, and its answers.
//!
//! The session layer is outside of the deadline: a handler that is given up has perhaps written, and
//! then its response still has to tell the session of it.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderName, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lagwise::tower::SessionLayer;
use lagwise::{PgRouter, PgSession, Route, Within};
use serde::Serialize;

use crate::health::{self, Health};
use crate::refusal::Refusal;
use crate::{nodes, notes, scrape};

/// The most bytes that a note may have.
const LONGEST: usize = 64 * 1024;

/// How long a request may take, from its first handler to its answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// How long a write that was not sent waits for a primary.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Says that a part of what a session wrote may be gone with a primary that was lost.
const LOST: HeaderName = HeaderName::from_static("x-lagwise-lost");

type Answer<T> = Result<T, Refusal>;

/// What a write answers.
#[derive(Serialize)]
struct Written {
    id: i64,
    version: i64,
}

/// What a read answers.
#[derive(Serialize)]
struct Shown {
    id: i64,
    version: i64,
    body: String,
    served_by: String,
    reason: &'static str,
    staleness_ms: Option<f64>,
}

/// The service over a router that has keys. No read is older than the router's `max_lag`.
///
/// # Errors
/// If the router has none.
pub fn app(db: PgRouter) -> Result<Router, lagwise::Error> {
    scrape::begin();
    // A replica may stay in rotation while the primary is away; a read keeps its promise even so.
    let no_older = Within(db.snapshot().policy.max_lag);
    let sessions = SessionLayer::new(db.clone())?
        .reads(no_older)
        .time_limit(DEADLINE);
    // From the outside: the session, what it lost, the deadline, the limit.
    let notes = Router::new()
        .route("/notes/{id}", get(show).put(write))
        .layer(DefaultBodyLimit::max(LONGEST))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn(tell))
        .layer(sessions);
    let nodes = Router::new()
        .route("/nodes", get(nodes::now))
        .route("/events", get(nodes::changes))
        .with_state(db.clone());
    Ok(Router::new()
        .merge(notes)
        .merge(nodes)
        .nest("/status", lagwise::status::router(db.clone()))
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health::report))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this address"))
        .method_not_allowed_fallback(async || {
            let text = "this address takes other methods";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text)
        })
        .with_state(Health::of(db)))
}

async fn write(
    session: PgSession,
    id: Result<Path<i64>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Json<Written>> {
    let id = number(id)?;
    let body = text(body)?;
    let version = notes::write(&session, id, &body)
        .await
        .map_err(|error| Refusal::of_write(&error))?;
    Ok(Json(Written { id, version }))
}

async fn show(session: PgSession, id: Result<Path<i64>, PathRejection>) -> Answer<Response> {
    let id = number(id)?;
    let (note, route) = notes::read(&session, id)
        .await
        .map_err(|error| Refusal::of_read(&error))?;
    Ok(match note {
        Some(note) => Json(Shown {
            id,
            version: note.version,
            body: note.body,
            served_by: route.node.to_string(),
            reason: route.reason.as_str(),
            staleness_ms: millis(&route),
        })
        .into_response(),
        None => Refusal::new(StatusCode::NOT_FOUND, "there is no such note").into_response(),
    })
}

fn number(id: Result<Path<i64>, PathRejection>) -> Answer<i64> {
    let Path(id) = id.map_err(|_| {
        let text = "the id of a note is a whole number of 64 bits";
        Refusal::new(StatusCode::BAD_REQUEST, text)
    })?;
    Ok(id)
}

fn text(body: Result<Bytes, BytesRejection>) -> Answer<String> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let text = "a note has at most 65536 bytes";
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        _ => Refusal::new(StatusCode::BAD_REQUEST, "the body ended before its end"),
    })?;
    let text = String::from_utf8(body.into()).ok();
    // PostgreSQL's text takes every character but this one.
    text.filter(|text| !text.contains('\0')).ok_or_else(|| {
        let text = "a note is text in UTF-8, without the character NUL";
        Refusal::new(StatusCode::BAD_REQUEST, text)
    })
}

/// How stale an answer can be; none if nothing is proved, which no JSON number could say.
fn millis(route: &Route) -> Option<f64> {
    let millis = route.staleness.as_secs_f64() * 1e3;
    route.is_proved().then_some(millis)
}

/// Says of every answer if the session may have lost something: the token that goes with it may be the
/// last that knows, also where nothing else came of the request.
async fn tell(session: PgSession, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    let lost = session.may_have_lost_writes().then_some([(LOST, "1")]);
    (lost, answer).into_response()
}

/// Ends every request.
async fn in_time(request: Request, next: Next) -> Response {
    let writes = *request.method() == Method::PUT;
    let answer = tokio::time::timeout(DEADLINE, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let text = match writes {
            true => "it took too long, and it is not known whether this was written",
            false => "it took too long",
        };
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, text).into_response()
    })
}

async fn page() -> impl IntoResponse {
    let policy = "default-src 'none'; connect-src 'self'; img-src data:; \
                  script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [
        (CONTENT_SECURITY_POLICY, policy),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(include_str!("page.html")))
}

async fn metrics() -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], scrape::text())
}
