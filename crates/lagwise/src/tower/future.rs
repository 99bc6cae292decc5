//! The future of a request: into its session, through the handler, and out with what is new.
//!
//! A request that neither wrote nor kept its session in a store is not boxed and waits for nothing
//! but its handler. One that wrote waits for the primary's position, for a bounded time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::future::BoxFuture;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::answer::{drop_header, is_public, make_private, put_cookie, put_header};
use super::body::SessionBody;
use super::carrier::is_grpc;
use super::layer::Visit;
use crate::ambient::{self, Ambient, Scoped};
use crate::backend::Backend;
use crate::session::{Renewal, Session};
use crate::store::SessionStore;
use crate::token::Token;

pin_project! {
    /// The future of a request in a session.
    #[must_use = "a future does nothing unless it is polled"]
    pub struct SessionFuture<S, B, DB>
    where
        S: Service<Request<B>>,
        DB: Backend,
    {
        #[pin]
        state: State<S, S::Future, Request<B>, Result<S::Response, S::Error>, DB>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<S, F, Q, O, DB: Backend> {
        /// The session is fetched from its store.
        Recalling {
            recalling: BoxFuture<'static, ()>,
            call: Option<(S, Q, Visit<DB>)>,
        },
        /// The handler runs in the session.
        Running {
            #[pin]
            handler: Scoped<F>,
            visit: Option<Visit<DB>>,
        },
        /// The handler runs in a session that an outer layer has opened.
        PassedOn {
            #[pin]
            handler: Scoped<F>,
            ambient: Arc<Ambient>,
        },
        /// The handler has answered, and the session's last write is being found out.
        Leaving {
            leaving: BoxFuture<'static, ()>,
            answer: Option<(O, Visit<DB>)>,
        },
    }
}

impl<S, B, DB> SessionFuture<S, B, DB>
where
    S: Service<Request<B>>,
    DB: Backend,
{
    pub(super) fn passed_on(
        session: &Session<DB>,
        call: impl FnOnce(Request<B>) -> S::Future,
        request: Request<B>,
    ) -> Self {
        let ambient = ambient::entered(session);
        let handler = ambient::sync_scope(Arc::clone(&ambient), || call(request));
        Self {
            state: State::PassedOn {
                handler: ambient::scope_in(Arc::clone(&ambient), handler),
                ambient,
            },
        }
    }

    pub(super) fn running(
        visit: Visit<DB>,
        call: impl FnOnce(Request<B>) -> S::Future,
        request: Request<B>,
    ) -> Self {
        Self {
            state: run(visit, || call(request)),
        }
    }

    pub(super) fn recalling(visit: Visit<DB>, service: S, request: Request<B>) -> Self {
        let (session, kept) = (visit.session.clone(), visit.kept.clone());
        let recalling = async move {
            if let Some((store, key)) = kept {
                session.recall(&*store, &key).await;
            }
        };
        Self {
            state: State::Recalling {
                recalling: Box::pin(recalling),
                call: Some((service, request, visit)),
            },
        }
    }
}

fn run<S, F, Q, O, DB: Backend>(visit: Visit<DB>, call: impl FnOnce() -> F) -> State<S, F, Q, O, DB>
where
    F: Future,
{
    // What a handler does before it first waits belongs to the session as well.
    let handler = ambient::sync_scope(Arc::clone(&visit.ambient), call);
    State::Running {
        handler: ambient::scope_in(Arc::clone(&visit.ambient), handler),
        visit: Some(visit),
    }
}

impl<S, B, R, DB> Future for SessionFuture<S, B, DB>
where
    S: Service<Request<B>, Response = Response<R>>,
    DB: Backend,
{
    type Output = Result<Response<SessionBody<R, DB>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjected::Recalling { recalling, call } => {
                    ready!(recalling.as_mut().poll(context));
                    let (mut service, request, visit) = ready!(take(call));
                    run(visit, || service.call(request))
                }
                StateProjected::PassedOn { handler, ambient } => {
                    let answer = ready!(handler.poll(context));
                    let ambient = Arc::clone(ambient);
                    let body = |body| SessionBody::passed_on(body, ambient);
                    return Poll::Ready(answer.map(|answer| answer.map(body)));
                }
                StateProjected::Running { handler, visit } => {
                    let answer = ready!(handler.poll(context));
                    let visit = ready!(take(visit));
                    match leave(&visit.session, visit.kept.as_ref()) {
                        None => return Poll::Ready(answer.map(|answer| finish(answer, visit))),
                        Some(leaving) => State::Leaving {
                            leaving,
                            answer: Some((answer, visit)),
                        },
                    }
                }
                StateProjected::Leaving { leaving, answer } => {
                    ready!(leaving.as_mut().poll(context));
                    let (answer, visit) = ready!(take(answer));
                    return Poll::Ready(answer.map(|answer| finish(answer, visit)));
                }
            };
            state.set(next);
        }
    }
}

/// What a state holds until it ends; a future that has ended is not polled again.
fn take<T>(held: &mut Option<T>) -> Poll<T> {
    held.take().map_or(Poll::Pending, Poll::Ready)
}

/// What has to be waited for before a response, or its trailers, can go.
pub(super) fn leave<DB: Backend>(
    session: &Session<DB>,
    kept: Option<&(Arc<dyn SessionStore>, String)>,
) -> Option<BoxFuture<'static, ()>> {
    let session = session.clone();
    match (session.renewal(), kept) {
        (Renewal::None, _) | (Renewal::Known | Renewal::Reads, None) => None,
        (Renewal::Captured, None) => Some(Box::pin(async move { session.capture().await })),
        (_, Some((store, key))) => {
            let (store, key) = (Arc::clone(store), key.clone());
            Some(Box::pin(async move {
                session.remember(&*store, &key).await;
                // Its client is told of nothing, so that what is kept is all there was to tell.
                session.tell();
            }))
        }
    }
}

/// The response, with a token on it if there is something to tell.
fn finish<R, DB: Backend>(
    mut answer: Response<R>,
    visit: Visit<DB>,
) -> Response<SessionBody<R, DB>> {
    let headers = answer.headers_mut();
    let settings = &visit.settings;
    if let Some(header) = &settings.header {
        drop_header(headers, header);
    }
    let renewal = match &visit.kept {
        None => visit.session.renewal(),
        Some(_) => Renewal::None,
    };
    let wanted = match renewal {
        Renewal::None => false,
        Renewal::Reads => settings.shares_reads && !is_public(headers),
        Renewal::Known | Renewal::Captured => true,
    };
    let grpc = visit.grpc || is_grpc(headers);
    let token = wanted.then(|| renew(&visit.session, visit.binding.as_deref()));
    if let Some((token, keep)) = token.flatten() {
        if let Some(header) = &settings.header {
            put_header(headers, header, &token);
        }
        if let (Some(cookies), false) = (&settings.cookies, grpc) {
            let name = if renewal == Renewal::Reads {
                &cookies.seen
            } else {
                &cookies.written
            };
            put_cookie(headers, name, &token, keep);
        }
        let header = settings.header.as_ref().map(http::HeaderName::as_str);
        let cookie = settings.cookies.as_ref().map(|_| "cookie");
        let depends_on: Vec<&str> = cookie.into_iter().chain(header).collect();
        make_private(headers, &depends_on);
    }
    answer.map(|body| SessionBody::of_visit(body, visit, grpc))
}

/// A token that says all there is to say, and how long it is good.
pub(super) fn renew<DB: Backend>(
    session: &Session<DB>,
    binding: Option<&str>,
) -> Option<(Token, std::time::Duration)> {
    let keys = session.router().shared().keys.as_ref()?;
    let claim = session.tell()?;
    Some((keys.sign(&claim, binding), keys.kept_for()))
}

impl<S, B, DB> fmt::Debug for SessionFuture<S, B, DB>
where
    S: Service<Request<B>>,
    DB: Backend,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFuture").finish_non_exhaustive()
    }
}
