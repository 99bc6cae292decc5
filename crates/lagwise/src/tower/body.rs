//! A response's body, which is streamed in the session of its request.
//!
//! A handler that streams may still read and write. What it writes comes too late for the headers;
//! gRPC ends with trailers, and there the token goes then.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::future::BoxFuture;
use http::header::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::answer::{drop_header, put_header};
use super::future::{leave, renew};
use super::layer::Visit;
use crate::ambient::{Ambient, sync_scope};
use crate::backend::Backend;
use crate::session::{Renewal, Session};
use crate::store::SessionStore;

pin_project! {
    /// A body in a session.
    pub struct SessionBody<R, DB: Backend> {
        #[pin]
        inner: R,
        ambient: Option<Arc<Ambient>>,
        trailing: Option<Trailing<DB>>,
        held: Option<(HeaderMap, BoxFuture<'static, ()>)>,
    }
}

/// What the trailers are to tell.
struct Trailing<DB: Backend> {
    session: Session<DB>,
    binding: Option<String>,
    header: Option<HeaderName>,
    kept: Option<(Arc<dyn SessionStore>, String)>,
}

impl<R, DB: Backend> SessionBody<R, DB> {
    /// A body whose session is an outer layer's business.
    pub(super) fn passed_on(inner: R, ambient: Arc<Ambient>) -> Self {
        Self {
            inner,
            ambient: Some(ambient),
            trailing: None,
            held: None,
        }
    }

    pub(super) fn of_visit(inner: R, visit: Visit<DB>, grpc: bool) -> Self {
        let ambient = Some(visit.ambient);
        let trailing = grpc.then(|| Trailing {
            header: visit.settings.header.clone(),
            session: visit.session,
            binding: visit.binding,
            kept: visit.kept,
        });
        Self {
            inner,
            ambient,
            trailing,
            held: None,
        }
    }
}

impl<DB: Backend> Trailing<DB> {
    /// Puts a token into the trailers, if there is anything to tell and no store that keeps it.
    fn put(&self, trailers: &mut HeaderMap) {
        let Some(header) = &self.header else { return };
        drop_header(trailers, header);
        if self.kept.is_some() || self.session.renewal() == Renewal::None {
            return;
        }
        if let Some((token, _)) = renew(&self.session, self.binding.as_deref()) {
            put_header(trailers, header, &token);
        }
    }

    /// What has to be waited for before they can go.
    fn leave(&self) -> Option<BoxFuture<'static, ()>> {
        leave(&self.session, self.kept.as_ref())
    }
}

impl<R: Body, DB: Backend> Body for SessionBody<R, DB> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        let this = self.project();
        if this.held.is_none() {
            let frame = match this.ambient {
                Some(ambient) => {
                    let (ambient, inner) = (Arc::clone(ambient), this.inner);
                    ready!(sync_scope(ambient, || inner.poll_frame(context)))
                }
                None => ready!(this.inner.poll_frame(context)),
            };
            let Some(trailing) = this.trailing else {
                return Poll::Ready(frame);
            };
            let mut trailers = match frame.map(|frame| frame.map(Frame::into_trailers)) {
                Some(Ok(Ok(trailers))) => trailers,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            };
            let Some(capture) = trailing.leave() else {
                trailing.put(&mut trailers);
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            };
            *this.held = Some((trailers, capture));
        }
        if let Some((_, capture)) = this.held {
            ready!(capture.as_mut().poll(context));
        }
        let mut trailers = this
            .held
            .take()
            .map(|(trailers, _)| trailers)
            .unwrap_or_default();
        if let Some(trailing) = this.trailing {
            trailing.put(&mut trailers);
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<R: Default, DB: Backend> Default for SessionBody<R, DB> {
    fn default() -> Self {
        Self {
            inner: R::default(),
            ambient: None,
            trailing: None,
            held: None,
        }
    }
}

impl<R, DB: Backend> fmt::Debug for SessionBody<R, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBody").finish_non_exhaustive()
    }
}
