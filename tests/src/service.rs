//! A service of notes with the session layer, and a visitor who has nothing but what it sends back.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use lagwise::tower::{PgReadOnly, RulesLayer, SessionLayer};
use lagwise::{Keys, PgRouter, PgSession, ReadOptions, RouterBuilder};
use sqlx::Postgres;
use tower::ServiceExt as _;

use crate::{Outcome, fail};

/// Makes the notes' table; for [`start`](crate::cluster::start).
pub const NOTES: &str =
    "create table notes (id bigint primary key, version bigint not null, body text not null)";

/// The secret that all instances share.
pub const SECRET: &str = "a-secret-that-all-instances-of-a-test-share";

/// Gives a router the keys that all instances share.
pub fn keyed(router: RouterBuilder<Postgres>) -> RouterBuilder<Postgres> {
    match Keys::new(SECRET) {
        Ok(keys) => router.keys(keys),
        Err(_) => router,
    }
}

/// The service on a router, under a layer that may be changed.
pub fn service(
    db: &PgRouter,
    change: impl FnOnce(SessionLayer<Postgres>) -> SessionLayer<Postgres>,
) -> Outcome<Router> {
    let layer = change(SessionLayer::new(db.clone())?);
    Ok(Router::new()
        .route("/notes/{id}", get(show).put(edit))
        .route("/broken/{id}", put(edit_and_fail))
        .route("/public/{id}", get(show_publicly).put(edit_publicly))
        .route("/visits/{id}", get(count_visit))
        .route(
            "/allowed/{id}",
            get(count_visit).layer(RulesLayer::new(db).allow_writes()),
        )
        .route(
            "/primary/{id}",
            get(show).layer(RulesLayer::new(db).reads(ReadOptions::primary())),
        )
        .route("/late/{id}", get(show_late))
        .route(
            "/late-primary/{id}",
            get(show_late).layer(RulesLayer::new(db).reads(ReadOptions::primary())),
        )
        .route("/checked/{id}", put(write_through_a_reader))
        .route("/nothing", get(async || "nothing"))
        .layer(layer)
        .with_state(db.clone()))
}

type Answer<T = Response> = Result<T, lagwise::Error>;

const EDIT: &str = "insert into notes (id, version, body) values ($1, 1, $2) \
     on conflict (id) do update set version = notes.version + 1, body = excluded.body \
     returning version";

/// Knows nothing of sessions: it asks the router.
async fn write(db: &PgRouter, id: i64, body: &str) -> Answer<i64> {
    Ok(sqlx::query_scalar(EDIT)
        .bind(id)
        .bind(body)
        .fetch_one(db)
        .await?)
}

async fn edit(State(db): State<PgRouter>, Path(id): Path<i64>, body: String) -> Answer<String> {
    Ok(write(&db, id, &body).await?.to_string())
}

async fn edit_and_fail(State(db): State<PgRouter>, Path(id): Path<i64>, body: String) -> Answer {
    let version = write(&db, id, &body).await?;
    Ok((StatusCode::INTERNAL_SERVER_ERROR, version.to_string()).into_response())
}

async fn edit_publicly(State(db): State<PgRouter>, Path(id): Path<i64>, body: String) -> Answer {
    let version = write(&db, id, &body).await?;
    Ok(([(CACHE_CONTROL, "public, max-age=60")], version.to_string()).into_response())
}

async fn count_visit(State(db): State<PgRouter>, Path(id): Path<i64>) -> Answer<String> {
    edit(State(db), Path(id), "visited".to_owned()).await
}

/// Answers with the version and the node that it was read on.
async fn show(session: PgSession, Path(id): Path<i64>) -> Answer<String> {
    let mut node = session.read().await?;
    let version: Option<i64> = sqlx::query_scalar("select version from notes where id = $1")
        .bind(id)
        .fetch_optional(&mut *node)
        .await?;
    let route = node.route();
    Ok(format!(
        "{} {} {}",
        version.unwrap_or(0),
        route.node,
        route.reason
    ))
}

async fn show_publicly(session: PgSession, id: Path<i64>) -> Answer {
    Ok((
        [(CACHE_CONTROL, "public, max-age=60")],
        show(session, id).await?,
    )
        .into_response())
}

/// Reads only while its body is being sent, and asks the router.
async fn show_late(State(db): State<PgRouter>, Path(id): Path<i64>) -> Response {
    let late = async_stream::stream! {
        let in_session = db.current_session().is_some();
        let version: Result<Option<i64>, sqlx::Error> =
            sqlx::query_scalar("select version from notes where id = $1")
                .bind(id)
                .fetch_optional(&db)
                .await;
        yield version.map(|version| format!("{} {in_session}", version.unwrap_or(0)));
    };
    Body::from_stream(late).into_response()
}

async fn write_through_a_reader(session: PgReadOnly, Path(id): Path<i64>, body: String) -> Answer {
    let outcome: Result<i64, sqlx::Error> = sqlx::query_scalar(EDIT)
        .bind(id)
        .bind(body)
        .fetch_one(&*session)
        .await;
    let refused = outcome
        .as_ref()
        .err()
        .and_then(lagwise::Error::behind)
        .is_some_and(lagwise::Error::is_read_only);
    Ok(refused.to_string().into_response())
}

/// Somebody who sends back what it was sent, to whichever instance.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// Cookies by name.
    pub cookies: BTreeMap<String, String>,
    /// The last header.
    pub header: Option<String>,
    /// Whether it has cookies.
    pub keeps_cookies: bool,
    /// Whether it sends the header.
    pub keeps_header: bool,
    /// What else it sends.
    pub extra: Vec<(&'static str, String)>,
}

/// A response that was read to its end.
#[derive(Debug)]
pub struct Answered {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

impl Answered {
    /// How many cookies it sets.
    #[must_use]
    pub fn cookies(&self) -> usize {
        self.headers.get_all(SET_COOKIE).iter().count()
    }

    /// Whether it has a token, in whichever way.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.cookies() > 0 || self.headers.contains_key("x-lagwise")
    }

    /// The first word of its body, as a number.
    pub fn version(&self) -> Outcome<i64> {
        match self.text.split(' ').next().map(str::parse) {
            Some(Ok(version)) if self.status.is_success() => Ok(version),
            _ => fail(format!("{}: {}", self.status, self.text)),
        }
    }

    /// The node that it was read on.
    #[must_use]
    pub fn node(&self) -> &str {
        self.text.split(' ').nth(1).unwrap_or_default()
    }
}

impl Visitor {
    /// Somebody with a browser.
    #[must_use]
    pub fn with_cookies() -> Self {
        Self {
            keeps_cookies: true,
            ..Self::default()
        }
    }

    /// Some program that keeps the header.
    #[must_use]
    pub fn with_header() -> Self {
        Self {
            keeps_header: true,
            ..Self::default()
        }
    }

    /// Sends a request to an instance, and keeps what it is sent.
    pub async fn send(&mut self, service: &Router, line: &str, body: &str) -> Outcome<Answered> {
        let answered = self.request(service, line, body).await?;
        self.keep(&answered);
        Ok(answered)
    }

    /// Sends a request, and has not kept anything yet.
    pub async fn request(&self, service: &Router, line: &str, body: &str) -> Outcome<Answered> {
        let (method, path) = line.split_once(' ').unwrap_or(("GET", line));
        let mut request = Request::builder().method(method).uri(path);
        if self.keeps_cookies && !self.cookies.is_empty() {
            let pairs = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            request = request.header(COOKIE, pairs.collect::<Vec<_>>().join("; "));
        }
        if let (true, Some(header)) = (self.keeps_header, &self.header) {
            request = request.header("x-lagwise", header);
        }
        for (name, value) in &self.extra {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(body.to_owned()))?;
        let (parts, body) = service.clone().oneshot(request).await?.into_parts();
        let text = String::from_utf8(to_bytes(body, 1 << 20).await?.to_vec())?;
        Ok(Answered {
            status: parts.status,
            headers: parts.headers,
            text,
        })
    }

    /// Keeps what a response sets.
    pub fn keep(&mut self, answered: &Answered) {
        for cookie in answered.headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap_or_default().split(';').next();
            if let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(header) = answered.headers.get("x-lagwise") {
            self.header = header.to_str().ok().map(str::to_owned);
        }
    }

    /// Writes a note, and returns its version.
    pub async fn write(&mut self, service: &Router, id: i64) -> Outcome<i64> {
        self.send(service, &format!("PUT /notes/{id}"), "text")
            .await?
            .version()
    }

    /// Reads a note.
    pub async fn read(&mut self, service: &Router, id: i64) -> Outcome<Answered> {
        self.send(service, &format!("GET /notes/{id}"), "").await
    }
}
