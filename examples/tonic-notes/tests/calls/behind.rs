//! A service behind another one: what either wrote, a browser reads on every instance of both.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::routing::{get as getting, put as putting};
use hyper_client::client::legacy::Client;
use hyper_client::rt::TokioExecutor;
use lagwise::tower::{ClientLayer, SessionLayer};
use lagwise::{PgRouter, PgSession};
use tower::{Layer as _, Service as _, ServiceExt as _};

use crate::stage::{Carrying, Outcome, Stage, get, put, same};

/// What an instance of the service in front has.
#[derive(Clone)]
struct Front {
    db: PgRouter,
    notes: Carrying,
}

type Answer = Result<String, StatusCode>;

/// It has a router of its own, and calls an instance of the service of notes.
async fn front(stage: &mut Stage) -> Outcome<Router> {
    let db = stage.router().await?;
    let layer = SessionLayer::new(db.clone())?;
    let notes = stage.carrying(&db).await?;
    Ok(Router::new()
        .route("/here/{id}", getting(read_here).put(write_here))
        .route("/there/{id}", getting(read_there).put(write_there))
        .route("/both/{id}", putting(write_here_and_read_there))
        .layer(layer)
        .with_state(Front { db, notes }))
}

async fn write_here(State(front): State<Front>, Path(id): Path<i64>) -> Answer {
    let written = sqlx::query_scalar(
        "insert into notes values ($1, 1, '') \
         on conflict (id) do update set version = notes.version + 1 returning version",
    );
    let version: Result<i64, _> = written.bind(id).fetch_one(&front.db).await;
    Ok(version.map_err(failed)?.to_string())
}

async fn read_here(State(front): State<Front>, Path(id): Path<i64>) -> Answer {
    let read = sqlx::query_scalar("select version from notes where id = $1");
    let version: Option<i64> = read
        .bind(id)
        .fetch_optional(&front.db)
        .await
        .map_err(failed)?;
    Ok(version.unwrap_or(0).to_string())
}

async fn write_there(State(mut front): State<Front>, Path(id): Path<i64>) -> Answer {
    let written = front.notes.put(put(id)).await.map_err(failed)?;
    Ok(written.into_inner().version.to_string())
}

async fn read_there(State(mut front): State<Front>, Path(id): Path<i64>) -> Answer {
    let note = get(&mut front.notes, id).await.map_err(failed)?;
    Ok(note.version.to_string())
}

async fn write_here_and_read_there(front: State<Front>, Path(id): Path<i64>) -> Answer {
    write_here(front.clone(), Path(id)).await?;
    read_there(front, Path(id)).await
}

fn failed(_: impl std::fmt::Display) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

/// Somebody with cookies, which are sent to every instance of the service in front.
#[derive(Clone, Default)]
struct Browser {
    cookies: std::collections::BTreeMap<String, String>,
}

impl Browser {
    async fn send(&mut self, service: &Router, line: &str) -> Outcome<String> {
        let (method, path) = line.split_once(' ').unwrap_or(("GET", line));
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(COOKIE, cookies.join("; "))
            .body(Body::empty())?;
        let (parts, body) = service.clone().oneshot(request).await?.into_parts();
        for cookie in parts.headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or_default();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        same(line, parts.status, StatusCode::OK)?;
        Ok(String::from_utf8(to_bytes(body, 1 << 20).await?.to_vec())?)
    }
}

/// Two instances of either service, each with a router of its own, and a replica that stands still.
async fn two() -> Outcome<(Stage, [Router; 2])> {
    let mut stage = Stage::start(1).await?;
    let fronts = [front(&mut stage).await?, front(&mut stage).await?];
    stage.cluster.replica(0).freeze_replay()?;
    Ok((stage, fronts))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_called_service_wrote_the_browser_reads_on_another_instance_of_either() -> Outcome {
    let (_stage, [first, second]) = two().await?;
    let mut browser = Browser::default();
    let written = browser.send(&first, "PUT /there/1").await?;
    same("written", &*written, "1")?;
    same("a cookie", browser.cookies.len(), 1)?;
    same(
        "in front",
        &*browser.clone().send(&second, "GET /here/1").await?,
        "1",
    )?;
    same(
        "behind",
        &*browser.clone().send(&second, "GET /there/1").await?,
        "1",
    )?;
    // Else the replica did not stand still, and nothing was proved.
    let mut stranger = Browser::default();
    same(
        "a stranger's",
        &*stranger.send(&second, "GET /here/1").await?,
        "0",
    )?;
    let mut stranger = Browser::default();
    same(
        "a stranger's, behind",
        &*stranger.send(&second, "GET /there/1").await?,
        "0",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_service_in_front_wrote_the_called_one_reads() -> Outcome {
    let (_stage, [first, second]) = two().await?;
    let mut browser = Browser::default();
    let read = browser.send(&first, "PUT /both/1").await?;
    same("in the same request", &*read, "1")?;
    same(
        "behind the other",
        &*browser.send(&second, "GET /there/1").await?,
        "1",
    )?;
    same(
        "in front of it",
        &*browser.send(&second, "GET /here/1").await?,
        "1",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_only_read_takes_no_writes_place_in_the_browser() -> Outcome {
    let (stage, [first, second]) = two().await?;
    let mut browser = Browser::default();
    stage.cluster.replica(0).thaw_replay()?;
    browser.send(&first, "GET /there/1").await?;
    let names: Vec<&str> = browser.cookies.keys().map(String::as_str).collect();
    same("the cookies", names, vec!["__Host-lagwise-seen"])?;
    stage.cluster.replica(0).freeze_replay()?;
    browser.send(&first, "PUT /there/1").await?;
    same(
        "the version",
        &*browser.send(&second, "GET /here/1").await?,
        "1",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_hyper_carries_sessions_over_http_as_well() -> Outcome {
    let (mut stage, [first, second]) = two().await?;
    let urls = [stage.serve_at(first).await?, stage.serve_at(second).await?];
    let db = stage.router().await?;
    let hyper = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let mut client = ClientLayer::new(&db).layer(hyper);
    let session = db.session();
    let mut send = async |session: &PgSession, method: &str, url: &str| -> Outcome<String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{url}/here/1"));
        let request = request.body(Body::empty())?;
        let called = session.scope(async { client.ready().await?.call(request).await });
        let response = called.await?;
        same(method, response.status(), StatusCode::OK)?;
        let body = to_bytes(Body::new(response.into_body()), 1 << 20).await?;
        Ok(String::from_utf8(body.to_vec())?)
    };
    same("written", &*send(&session, "PUT", &urls[0]).await?, "1")?;
    same("read", &*send(&session, "GET", &urls[1]).await?, "1")?;
    same(
        "a stranger's",
        &*send(&db.session(), "GET", &urls[1]).await?,
        "0",
    )
}
