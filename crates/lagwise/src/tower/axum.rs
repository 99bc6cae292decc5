//! Extractors for axum, and what an error of the router answers there.

use std::ops::Deref;

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use crate::backend::Backend;
use crate::error::Error;
use crate::session::Session;

/// The request's session, as the innermost layer has opened it.
impl<S: Sync, DB: Backend> FromRequestParts<S> for Session<DB> {
    type Rejection = NoSession;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoSession> {
        parts.extensions.get().cloned().ok_or(NoSession)
    }
}

/// The request's session, for reading: what is not known to be a read is refused.
///
/// ```no_run
/// use lagwise::tower::PgReadOnly;
///
/// async fn count(session: PgReadOnly) -> Result<String, lagwise::Error> {
///     let notes: i64 = sqlx::query_scalar("select count(*) from notes").fetch_one(&*session).await?;
///     Ok(notes.to_string())
/// }
/// ```
#[derive(Debug)]
pub struct ReadOnly<DB: Backend>(Session<DB>);

/// The session of a request over PostgreSQL nodes, for reading.
#[cfg(feature = "postgres")]
pub type PgReadOnly = ReadOnly<sqlx::Postgres>;

impl<S: Sync, DB: Backend> FromRequestParts<S> for ReadOnly<DB> {
    type Rejection = NoSession;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, NoSession> {
        let session = Session::from_request_parts(parts, state).await?;
        Ok(Self(session.read_only()))
    }
}

impl<DB: Backend> Deref for ReadOnly<DB> {
    type Target = Session<DB>;

    fn deref(&self) -> &Session<DB> {
        &self.0
    }
}

impl<DB: Backend> Clone for ReadOnly<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A handler asked for the session of a request that no layer has opened one for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoSession;

impl IntoResponse for NoSession {
    fn into_response(self) -> Response {
        tracing::error!(
            target: "lagwise::session",
            "a handler asked for a session on a route without a SessionLayer"
        );
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the service is set up without sessions on this route",
        )
            .into_response()
    }
}

impl IntoResponse for Error {
    /// 503 with `Retry-After` where trying again can help, 504 where a read's deadline has passed, and
    /// 500 for anything else. What went wrong is for the log, not for the client.
    fn into_response(self) -> Response {
        if self.is_unavailable() || self.is_closed() {
            log_unavailable(&self);
            unavailable()
        } else if self.is_timed_out() {
            log_unavailable(&self);
            let text = "the database did not answer in time";
            (StatusCode::GATEWAY_TIMEOUT, text).into_response()
        } else {
            log_failure(&self);
            (StatusCode::INTERNAL_SERVER_ERROR, "the request failed").into_response()
        }
    }
}

fn log_unavailable(error: &Error) {
    tracing::warn!(target: "lagwise::session", %error, "a request cannot be served");
}

fn log_failure(error: &Error) {
    tracing::error!(target: "lagwise::session", %error, "a request failed");
}

fn unavailable() -> Response {
    let text = "the database cannot serve this now";
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_status() {
        let wrapped = Error::from(sqlx::Error::from(Error::timed_out()));
        for (error, status) in [
            (Error::overloaded(), StatusCode::SERVICE_UNAVAILABLE),
            (Error::no_primary(), StatusCode::SERVICE_UNAVAILABLE),
            (Error::timed_out(), StatusCode::GATEWAY_TIMEOUT),
            (wrapped, StatusCode::GATEWAY_TIMEOUT),
            (Error::read_only(), StatusCode::INTERNAL_SERVER_ERROR),
        ] {
            let (text, response) = (error.to_string(), error.into_response());
            assert_eq!(response.status(), status, "{text}");
            let again = response.headers().contains_key(RETRY_AFTER);
            assert_eq!(again, status == StatusCode::SERVICE_UNAVAILABLE, "{text}");
        }
    }
}
