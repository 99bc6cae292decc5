//! The future of a call: with the session's token there, and back with what is new.
//!
//! Only a call in a session that has just written waits for anything but its answer, and is boxed for
//! as long as it waits.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::future::BoxFuture;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Errand;
use super::body::ClientBody;
use crate::backend::Backend;

pin_project! {
    /// The future of a call in a session.
    ///
    /// # Cancel safety
    /// Whatever a dropped call has written there is not in the session: nobody has acknowledged it.
    #[must_use = "a future does nothing unless it is polled"]
    pub struct ClientFuture<S, B, DB>
    where
        S: Service<Request<B>>,
        DB: Backend,
    {
        #[pin]
        state: State<S, S::Future, Request<B>, DB>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<S, F, Q, DB: Backend> {
        /// The session's last write is being found out.
        Capturing {
            capturing: BoxFuture<'static, ()>,
            call: Option<(S, Q, Errand<DB>)>,
        },
        /// The service is working; without an errand, it is no business of a session's.
        Calling {
            #[pin]
            call: F,
            errand: Option<Errand<DB>>,
        },
    }
}

impl<S, B, DB> ClientFuture<S, B, DB>
where
    S: Service<Request<B>>,
    DB: Backend,
{
    pub(super) fn calling(call: S::Future, errand: Option<Errand<DB>>) -> Self {
        Self {
            state: State::Calling { call, errand },
        }
    }

    pub(super) fn capturing(service: S, request: Request<B>, errand: Errand<DB>) -> Self {
        let session = errand.session.clone();
        Self {
            state: State::Capturing {
                capturing: Box::pin(async move { session.capture().await }),
                call: Some((service, request, errand)),
            },
        }
    }
}

impl<S, B, R, DB> Future for ClientFuture<S, B, DB>
where
    S: Service<Request<B>, Response = Response<R>>,
    DB: Backend,
{
    type Output = Result<Response<ClientBody<R, DB>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjected::Capturing { capturing, call } => {
                    ready!(capturing.as_mut().poll(context));
                    // A future that has ended is not polled again.
                    let call = call.take().map_or(Poll::Pending, Poll::Ready);
                    let (mut service, mut request, errand) = ready!(call);
                    errand.tell(request.headers_mut());
                    State::Calling {
                        call: service.call(request),
                        errand: Some(errand),
                    }
                }
                StateProjected::Calling { call, errand } => {
                    let answer = ready!(call.poll(context));
                    let errand = errand.take();
                    return Poll::Ready(answer.map(|answer| heard(answer, errand)));
                }
            };
            state.set(next);
        }
    }
}

/// The response, after a look at its headers.
fn heard<R, DB: Backend>(
    answer: Response<R>,
    errand: Option<Errand<DB>>,
) -> Response<ClientBody<R, DB>> {
    if let Some(errand) = &errand {
        errand.hear(answer.headers());
    }
    answer.map(|body| ClientBody::new(body, errand))
}

impl<S, B, DB> fmt::Debug for ClientFuture<S, B, DB>
where
    S: Service<Request<B>>,
    DB: Backend,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture").finish_non_exhaustive()
    }
}
