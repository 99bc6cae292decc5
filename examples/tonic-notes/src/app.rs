//! Everything that one port answers.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use lagwise::PgRouter;
use lagwise::tower::SessionLayer;
use tonic::service::Routes;

use crate::proto::notes_server::NotesServer;
use crate::service::Service;
use crate::upkeep::{self, Health};

/// The service over a router that has keys: gRPC, `GET /healthz` and `GET /metrics`.
///
/// # Errors
/// If the router has none.
pub fn app(db: PgRouter) -> Result<Router, lagwise::Error> {
    upkeep::begin();
    // Callers keep no cookies. All there is to carry is in the metadata.
    let sessions = SessionLayer::new(db.clone())?.without_cookie();
    let calls = Routes::new(NotesServer::new(Service))
        .into_axum_router()
        .layer(sessions);
    Ok(Router::new()
        .route("/healthz", get(upkeep::health))
        .route("/metrics", get(upkeep::metrics))
        .with_state(Health::of(db))
        .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED)
        .merge(calls))
}
