//! A notes service with session tokens made by hand: what the checker is tested on.
//!
//! Plain pools, a position of the log in a cookie, and every decision where one would write it first.
//! Without a flaw it keeps what the checker asks of it: a session reads what it wrote and does not go
//! back between replicas, and is told, by the header `x-lagwise-lost: 1`, when its token is of a
//! timeline that a failover has ended, so that a part of what it saw may be gone.
//!
//! It is no example: it asks a replica twice for each read, and signs nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use tokio::net::TcpListener;

use crate::Result;
use crate::service::Config;

pub mod flaw;
mod nodes;
mod read;
mod token;

use flaw::Flaw;
use nodes::{Nodes, POSITION};
use read::Reader;
use token::{COOKIE_NAME, HEADER_NAME, Token};

/// How long a request may take in all.
const PATIENCE: Duration = Duration::from_secs(3);

const SCHEMA: &str = "
    select pg_advisory_lock(4711);
    create table if not exists notes (id bigint primary key, version bigint not null, body text not null);
    select pg_advisory_unlock(4711);";

/// The time is that of the statement's start, before it has waited for the row.
const WRITE: &str = "
    insert into notes (id, version, body) values ($1, 1, $2)
    on conflict (id) do update set version = notes.version + 1, body = excluded.body
    returning version, (extract(epoch from statement_timestamp()) * 1000)::bigint";

#[derive(Clone, Debug)]
struct App {
    nodes: Arc<Nodes>,
    flaw: Option<Flaw>,
    max_lag: Duration,
}

/// What a handler has to say.
struct Answer {
    status: StatusCode,
    value: Value,
    /// The session's token from now on; none if it stays as it is.
    token: Option<Token>,
    lost: bool,
}

#[derive(Debug, Deserialize)]
struct Wish {
    /// Whether the handler is to fail after its write.
    #[serde(default)]
    fail: u8,
}

/// Makes the table, says where it listens, and serves until something breaks.
pub async fn run(config: &Config, flaw: Option<Flaw>) -> Result {
    let nodes = Arc::new(Nodes::open(&config.primary, &config.replica)?);
    // Whichever it is by now.
    nodes.find_primary().await;
    let migration = sqlx::raw_sql(SCHEMA);
    migration.execute(&nodes.primary().pool).await?;
    let app = App {
        nodes: Arc::clone(&nodes),
        flaw,
        max_lag: config.max_lag,
    };
    let routes = Router::new()
        .route("/notes/{id}", get(show).put(write))
        .route("/healthz", get(health))
        .route("/metrics", get(async || "naive 1\n"))
        .with_state(app);
    let socket = TcpListener::bind(&config.listen).await?;
    crate::service::announce(socket.local_addr()?)?;
    tokio::select! {
        ended = axum::serve(socket, routes) => ended?,
        () = nodes.watch(flaw) => {}
    }
    Ok(())
}

async fn health(State(app): State<App>) -> StatusCode {
    match app.nodes.timeline() {
        0 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    }
}

async fn show(State(app): State<App>, Path(id): Path<i64>, headers: HeaderMap) -> Response {
    let token = Token::of(&headers);
    let reader = Reader {
        nodes: &app.nodes,
        flaw: app.flaw,
        max_lag: app.max_lag,
        token,
    };
    let Ok(Ok(found)) = tokio::time::timeout(PATIENCE, reader.read(id)).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let (status, version, body) = match found.note {
        Some((version, body)) => (StatusCode::OK, version, body),
        None => (StatusCode::NOT_FOUND, 0, String::new()),
    };
    let staleness = found.staleness.map(|age| age.as_secs_f64() * 1e3);
    let value = json!({
        "id": id, "version": version, "body": body, "served_by": found.node,
        "reason": found.reason, "staleness_ms": staleness,
    });
    let raises = app.flaw != Some(Flaw::NotFromReads);
    app.answer(
        token,
        Answer {
            status,
            value,
            token: raises.then_some(found.seen),
            lost: false,
        },
    )
}

async fn write(
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let token = Token::of(&headers);
    let written = tokio::time::timeout(PATIENCE, app.store(id, &body)).await;
    let Ok(Ok((version, seen))) = written else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let fails = wish.fail > 0;
    let status = if fails {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    };
    let drops = fails && app.flaw == Some(Flaw::DroppedOnError);
    app.answer(
        token,
        Answer {
            status,
            value: json!({ "id": id, "version": version }),
            token: (!drops).then_some(seen),
            lost: false,
        },
    )
}

impl App {
    /// Writes a note on the primary; returns its version, and where the write is seen from.
    async fn store(&self, id: i64, body: &str) -> std::result::Result<(i64, Token), sqlx::Error> {
        let mut connection = self.nodes.primary().pool.acquire().await?;
        if self.flaw == Some(Flaw::BeforeCommit) {
            sqlx::raw_sql("begin").execute(&mut *connection).await?;
            let written = self.put(&mut connection, id, body).await;
            let end = if written.is_ok() {
                "commit"
            } else {
                "rollback"
            };
            sqlx::raw_sql(end).execute(&mut *connection).await?;
            return written;
        }
        self.put(&mut connection, id, body).await
    }

    async fn put(
        &self,
        connection: &mut PgConnection,
        id: i64,
        body: &str,
    ) -> std::result::Result<(i64, Token), sqlx::Error> {
        let write = sqlx::query_as(WRITE).bind(id).bind(body);
        let (version, wrote) = write.fetch_one(&mut *connection).await?;
        let place = sqlx::query_as(POSITION).fetch_one(&mut *connection).await?;
        let (timeline, position) = place;
        Ok((
            version,
            Token {
                timeline,
                position,
                wrote,
            },
        ))
    }

    /// The response, with the session's token if that moved.
    fn answer(&self, mut token: Token, mut answer: Answer) -> Response {
        let before = token;
        if let Some(seen) = answer.token {
            token.raise(seen);
            answer.lost = before.timeline != 0 && before.timeline < seen.timeline;
        }
        if self.flaw == Some(Flaw::TimelineIgnored) {
            token.position = token.position.max(before.position);
            (token.timeline, answer.lost) = (1, false);
        }
        let mut response = (answer.status, Json(answer.value)).into_response();
        let headers = response.headers_mut();
        if answer.lost {
            headers.insert("x-lagwise-lost", HeaderValue::from_static("1"));
        }
        let text = token.text();
        let cookie =
            format!("{COOKIE_NAME}={text}; Path=/; Max-Age=300; Secure; HttpOnly; SameSite=Lax");
        if token != before
            && let (Ok(text), Ok(cookie)) = (text.parse(), cookie.parse())
        {
            headers.insert(HEADER_NAME, text);
            headers.insert("set-cookie", cookie);
        }
        response
    }
}
