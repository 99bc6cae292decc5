//! Why a request, or the service, could not go on, and what the client is told of it.

use std::fmt;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A failure, with its cause.
#[derive(Debug)]
pub struct Failure(Box<dyn std::error::Error + Send + Sync>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self.0.downcast_ref::<sqlx::Error>() {
            Some(sqlx::Error::RowNotFound) => StatusCode::NOT_FOUND.into_response(),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response(),
        }
    }
}
