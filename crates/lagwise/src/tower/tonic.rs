//! The session of a gRPC request, and what an error of the router answers there.

use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Request, Status};

use crate::backend::Backend;
use crate::error::Error;
use crate::session::Session;

/// The session of a gRPC request, as the innermost layer has opened it.
///
/// ```
/// use lagwise::PgSession;
/// use lagwise::tower::grpc_session;
/// use tonic::{Request, Response, Status};
///
/// async fn count(request: Request<()>) -> Result<Response<i64>, Status> {
///     let session: PgSession = grpc_session(&request)?;
///     let notes = sqlx::query_scalar("select count(*) from notes").fetch_one(&session);
///     Ok(Response::new(notes.await.map_err(lagwise::Error::from)?))
/// }
/// ```
///
/// # Errors
/// `INTERNAL`, if there is no [`SessionLayer`](super::SessionLayer) around the service.
pub fn grpc_session<DB: Backend, T>(request: &Request<T>) -> Result<Session<DB>, Status> {
    request.extensions().get().cloned().ok_or_else(|| {
        tracing::error!(
            target: "lagwise::session",
            "a method asked for a session on a service without a SessionLayer"
        );
        Status::internal("the service is set up without sessions: put a SessionLayer around it")
    })
}

impl From<Error> for Status {
    /// `UNAVAILABLE` where trying again can help, with `grpc-retry-pushback-ms` where trying *this*
    /// instance again can; `DEADLINE_EXCEEDED` where a read's deadline has passed; `FAILED_PRECONDITION` for a write where the session is read-only; `INTERNAL`
    /// for anything else. What went wrong is for the log, and in the status's source, which is not
    /// sent: no message says more than its code.
    fn from(error: Error) -> Self {
        let mut status = if error.is_unavailable() || error.is_closed() {
            log_unavailable(&error);
            Self::unavailable("the database cannot serve this now")
        } else if error.is_timed_out() {
            log_unavailable(&error);
            Self::deadline_exceeded("the database did not answer in time")
        } else if error.is_read_only() {
            log_refused(&error);
            Self::failed_precondition("this call may only read")
        } else {
            log_failure(&error);
            Self::internal("the request failed")
        };
        if let Some(pause) = pause(&error) {
            let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            let metadata = status.metadata_mut();
            metadata.insert("grpc-retry-pushback-ms", MetadataValue::from(millis));
        }
        status.set_source(Arc::new(error));
        status
    }
}

fn log_unavailable(error: &Error) {
    tracing::warn!(target: "lagwise::session", %error, "a request cannot be served");
}

fn log_refused(error: &Error) {
    tracing::warn!(target: "lagwise::session", %error, "a request may not write");
}

fn log_failure(error: &Error) {
    tracing::error!(target: "lagwise::session", %error, "a request failed");
}

/// After how long the same instance may well serve it.
fn pause(error: &Error) -> Option<Duration> {
    let soon = error.is_unavailable().then_some(Duration::from_secs(1));
    error.retry_after().or(soon)
}

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests {
    use std::error::Error as _;

    use tonic::Code;

    use super::*;

    fn pushback(status: &Status) -> Option<&str> {
        let value = status.metadata().get("grpc-retry-pushback-ms")?;
        value.to_str().ok()
    }

    #[test]
    fn a_request_that_no_layer_has_seen_says_what_is_missing() {
        let refused = grpc_session::<sqlx::Postgres, _>(&Request::new(())).unwrap_err();
        assert_eq!(refused.code(), Code::Internal);
        assert!(refused.message().contains("SessionLayer"), "{refused}");
    }

    #[test]
    fn what_can_be_tried_again_says_so_and_when() {
        let status = Status::from(Error::overloaded());
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(pushback(&status), Some("1000"));
        let status = Status::from(Error::too_early(Duration::from_millis(250)));
        assert_eq!(pushback(&status), Some("250"));
        let status = Status::from(Error::closed());
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(pushback(&status), None, "this instance is gone for good");
    }

    #[test]
    fn a_read_that_took_too_long_is_told_apart_also_through_the_driver() {
        let wrapped = Error::from(sqlx::Error::from(Error::timed_out()));
        let status = Status::from(wrapped);
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(pushback(&status), None, "it may take as long again");
    }

    #[test]
    fn what_cannot_is_told_without_its_cause() {
        let status = Status::from(Error::read_only());
        assert_eq!(status.code(), Code::FailedPrecondition);
        let secret = sqlx::Error::Configuration("postgres://app:secret@db".into());
        let status = Status::from(Error::from(secret));
        assert_eq!((status.code(), pushback(&status)), (Code::Internal, None));
        assert_eq!(status.message(), "the request failed");
        assert!(status.source().is_some(), "for layers of the service");
    }

    #[test]
    fn what_the_router_said_through_the_driver_is_told_apart_as_well() {
        let wrapped = sqlx::Error::from(Error::overloaded());
        assert_eq!(Status::from(Error::from(wrapped)).code(), Code::Unavailable);
    }
}
