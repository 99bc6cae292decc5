//! The addresses of the service, and its answers.

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

use crate::cleaning;
use crate::db::Db;
use crate::failure::Failure;
use crate::hearing::Heard;
use crate::notes::{self, Count, Draft, Note, Search};

/// What every handler has.
#[derive(Clone, Debug)]
pub struct App {
    /// The database.
    pub db: Db,
    /// What the listener counts.
    pub heard: Heard,
}

type Answer<T> = Result<T, Failure>;

/// The service.
pub fn app(state: App) -> Router {
    let routes = Router::new()
        .route("/notes", get(list).post(create))
        .route("/notes/{id}", get(show).put(edit))
        .route("/search", get(search))
        .route("/export", get(export))
        .route("/import", post(import))
        .route("/clean-up", post(clean_up))
        .route("/count", get(count))
        .route("/heard", get(heard));
    #[cfg(not(feature = "plain-pool"))]
    let routes = crate::sessions::layer(routes, &state.db);
    routes.with_state(state)
}

async fn create(
    State(app): State<App>,
    Json(draft): Json<Draft>,
) -> Answer<(StatusCode, Json<Note>)> {
    let note = notes::create(&app.db, &draft).await?;
    Ok((StatusCode::CREATED, Json(note)))
}

async fn edit(
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(draft): Json<Draft>,
) -> Answer<Json<Note>> {
    Ok(Json(notes::edit(&app.db, id, &draft).await?))
}

async fn show(State(app): State<App>, Path(id): Path<i64>) -> Answer<Json<Note>> {
    Ok(Json(notes::find(&app.db, id).await?))
}

async fn list(State(app): State<App>) -> Answer<Json<Vec<Note>>> {
    Ok(Json(notes::list(&app.db).await?))
}

async fn search(State(app): State<App>, Query(wanted): Query<Search>) -> Answer<Json<Vec<Note>>> {
    Ok(Json(notes::search(&app.db, &wanted).await?))
}

/// One line of JSON for each note, while they arrive.
async fn export(State(app): State<App>) -> Body {
    let lines = notes::export(&app.db).map(|note| {
        let line = serde_json::to_string(&note?)? + "\n";
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(line)
    });
    Body::from_stream(lines)
}

async fn import(State(app): State<App>, csv: Bytes) -> Answer<Json<Value>> {
    let imported = notes::import(&app.db, &csv).await?;
    Ok(Json(json!({ "imported": imported })))
}

async fn clean_up(State(app): State<App>) -> Answer<Json<Value>> {
    let removed = cleaning::clean(&app.db).await?;
    Ok(Json(json!({ "removed": removed })))
}

async fn count(State(app): State<App>) -> Answer<Json<Count>> {
    Ok(Json(notes::count(&app.db).await?))
}

async fn heard(State(app): State<App>) -> Json<Value> {
    Json(json!({ "heard": app.heard.count() }))
}
