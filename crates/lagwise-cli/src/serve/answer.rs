//! The addresses, and what every answer says to whoever passes it on.

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::{Service, health, metrics};

/// All addresses of a service.
pub(super) fn app(service: Service) -> Router {
    let status = lagwise::status::router(service.db.clone());
    Router::new()
        .route("/healthz", check(health::itself))
        .route("/node/{name}", check(health::node))
        .route("/primary", check(health::primary))
        .route("/primary/{name}", check(health::primary_named))
        .route("/metrics", get(metrics::report))
        .with_state(service)
        .merge(status)
        .fallback(async || line(StatusCode::NOT_FOUND, "there is nothing at this address"))
        .method_not_allowed_fallback(async || {
            line(
                StatusCode::METHOD_NOT_ALLOWED,
                "this can only be read: use GET",
            )
        })
        .layer(from_fn(guard))
}

/// Balancers send a check by whichever method they like best.
fn check<H, T>(handler: H) -> MethodRouter<Service>
where
    H: Handler<T, Service>,
    T: 'static,
{
    get(handler.clone()).options(handler)
}

/// An answer of one line.
pub(super) fn line(status: StatusCode, text: impl std::fmt::Display) -> Response {
    (status, format!("{text}\n")).into_response()
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in GUARDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const GUARDS: [(HeaderName, &str); 2] = [
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];
