//! The body of another service's response, whose trailers may tell what was written while it streamed.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Errand;
use crate::backend::Backend;

pin_project! {
    /// A body that a called service answers with. Its frames, its size and its end are those of the
    /// body in it.
    pub struct ClientBody<R, DB: Backend> {
        #[pin]
        inner: R,
        errand: Option<Errand<DB>>,
    }
}

impl<R, DB: Backend> ClientBody<R, DB> {
    pub(super) const fn new(inner: R, errand: Option<Errand<DB>>) -> Self {
        Self { inner, errand }
    }
}

impl<R: Body, DB: Backend> Body for ClientBody<R, DB> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(context));
        if let (Some(Ok(frame)), Some(errand)) = (&frame, this.errand.as_ref())
            && let Some(trailers) = frame.trailers_ref()
        {
            errand.hear(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<R: Default, DB: Backend> Default for ClientBody<R, DB> {
    fn default() -> Self {
        Self::new(R::default(), None)
    }
}

impl<R, DB: Backend> fmt::Debug for ClientBody<R, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody").finish_non_exhaustive()
    }
}
