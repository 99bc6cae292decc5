//! What a client is told instead of an answer, and what only the log says.
//!
//! A client learns what it can do: mend its request, or try again. That a write was refused and that
//! nobody knows what became of it are told apart, since only the first may be tried again blindly.

use std::error::Error;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::failure::chain;
use crate::notes::has_code;

/// A refusal, or a failure.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    text: String,
    again: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
}

impl Refusal {
    /// The request is at fault, or what it asks for is not there.
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            again: false,
        }
    }

    /// Nothing was done, and the same may work a moment later.
    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        Self {
            again: true,
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }

    /// A read found no node, or none that answered.
    pub(crate) fn of_read(error: &lagwise::Error) -> Self {
        note(error);
        let passes = error.is_unavailable() || error.is_closed();
        let of_node = error.as_sqlx().is_some_and(is_of_node);
        if passes || of_node {
            Self::unavailable("no node can serve this read now")
        } else {
            Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the read failed")
        }
    }

    /// A write was refused, or its end is not known.
    pub(crate) fn of_write(error: &sqlx::Error) -> Self {
        note(error);
        if is_refused(error) {
            return Self::unavailable("nothing was written: no node takes writes now");
        }
        let text = match error {
            sqlx::Error::Database(_) if !is_of_node(error) => "nothing was written: it failed",
            _ => "it is not known whether this was written: read the note before writing it again",
        };
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }
}

/// Whether nothing was sent, or a server said that it takes no writes.
fn is_refused(error: &sqlx::Error) -> bool {
    let by_router = lagwise::Error::behind(error);
    by_router.is_some_and(|error| error.is_unavailable() || error.is_closed())
        || matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
        || REFUSED.iter().any(|code| has_code(error, code))
}

/// Whether the node failed, and not the statement.
fn is_of_node(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(said) => {
            let class = said.code().map(|code| code.chars().take(2).collect());
            class.is_some_and(|class: String| NODES.contains(&&*class))
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed => true,
        _ => false,
    }
}

fn note(error: &dyn Error) {
    tracing::warn!(error = chain(error), "a request failed");
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(Body { error: &self.text });
        let mut response = (self.status, body).into_response();
        if self.again {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// `read_only_sql_transaction`, `cannot_connect_now`, `too_many_connections`.
const REFUSED: [&str; 3] = ["25006", "57P03", "53300"];

/// Classes of `SQLSTATE` that tell of the server: connections, serialization (which is what conflicts
/// with replay are), resources, and an operator's hand.
const NODES: [&str; 5] = ["08", "40", "53", "57", "58"];
