//! What all requests for the status share, and the addresses that they are sent to.
//!
//! Every answer comes from memory. None is kept by anybody on the way, and none may be framed, guessed
//! at or sent elsewhere by the browser that shows it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, middleware};
use lagwise_core::Instant;
use tokio::sync::{Semaphore, broadcast};

use super::events::{self, Frame};
use super::history::{self, History};
use super::page::Page;
use super::report::Cluster;
use super::sampler::Sampler;
use crate::backend::Backend;
use crate::clock;
use crate::publish::Published;
use crate::router::Router;
use crate::view::View;

/// What all requests share.
pub(super) struct Board<DB: Backend> {
    db: Router<DB>,
    /// Tells this run from the next one of the same service.
    pub(super) run: String,
    began: Instant,
    history: Mutex<History>,
    frames: broadcast::WeakSender<Frame>,
    pub(super) streams: Arc<Semaphore>,
}

impl<DB: Backend> Board<DB> {
    /// Begins to sample.
    pub(super) fn start(db: Router<DB>) -> Arc<Self> {
        let (frames, _) = broadcast::channel(MOST_FRAMES);
        let tasks = db.shared().tasks.clone();
        let happenings = db.events();
        let board = Arc::new(Self {
            run: format!("{:016x}", fastrand::u64(..)),
            began: clock::now(),
            history: Mutex::default(),
            frames: frames.downgrade(),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            db,
        });
        tasks.spawn(Sampler::new(&board, frames).run(happenings));
        board
    }

    /// What the monitor publishes.
    pub(super) fn published(&self) -> Arc<Published<View<DB>>> {
        Arc::clone(&self.db.shared().published)
    }

    pub(super) fn cluster(&self) -> Cluster {
        Cluster::of(&self.db)
    }

    /// Seconds of this run until an instant.
    pub(super) fn seconds(&self, at: Instant) -> f64 {
        at.since(self.began).as_secs_f64()
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All frames from now on; none once the router is closed.
    pub(super) fn subscribe(&self) -> Option<broadcast::Receiver<Frame>> {
        Some(self.frames.upgrade()?.subscribe())
    }
}

/// The addresses.
pub(super) fn routes<DB, S>(board: Arc<Board<DB>>) -> axum::Router<S>
where
    DB: Backend,
    S: Clone + Send + Sync + 'static,
{
    axum::Router::new()
        .route("/", get(page))
        .route("/cluster", get(cluster::<DB>))
        .route("/events", get(stream::<DB>))
        .route("/history", get(past::<DB>))
        .layer(middleware::map_response(guard))
        .with_state(board)
}

async fn page() -> impl IntoResponse {
    let page = Page::get();
    let policy = [(CONTENT_SECURITY_POLICY, page.policy.as_str())];
    (policy, Html(page.html.as_str()))
}

async fn cluster<DB: Backend>(State(board): State<Arc<Board<DB>>>) -> Json<Cluster> {
    Json(board.cluster())
}

async fn past<DB: Backend>(State(board): State<Arc<Board<DB>>>) -> Json<history::Told> {
    let at = board.seconds(clock::now());
    let recorded = board.history().recorded();
    Json(history::Told::new(board.run.clone(), at, &recorded))
}

async fn stream<DB: Backend>(State(board): State<Arc<Board<DB>>>) -> Response {
    let Ok(place) = Arc::clone(&board.streams).try_acquire_owned() else {
        let text = "too many streams of events are open; try again later\n";
        return unavailable(text);
    };
    let Some(frames) = board.subscribe() else {
        return unavailable("the router is closed\n");
    };
    let kind = [(CONTENT_TYPE, "text/event-stream")];
    let body = Body::from_stream(events::stream(&board, frames, place));
    (kind, body).into_response()
}

fn unavailable(text: &'static str) -> Response {
    let headers = [(RETRY_AFTER, "10")];
    (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response()
}

/// What every answer says to the browsers and caches on its way.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in GUARDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const GUARDS: [(HeaderName, &str); 4] = [
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Pages that are open at the same time, of all people who look.
const MOST_STREAMS: usize = 64;

/// What a client may be behind before it is told everything anew: about a minute. All clients share
/// these.
const MOST_FRAMES: usize = 64;
