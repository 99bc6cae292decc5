//! What the requests of some routes ask for, inside of a session that an outer layer has opened.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::body::SessionBody;
use super::carrier::session_in;
use crate::ambient::{self, Ambient, Scoped};
use crate::backend::Backend;
use crate::options::ReadOptions;
use crate::router::Router;
use crate::session::Session;

/// Changes what the reads of a route ask for, or whether it may write.
///
/// It goes inside of a [`SessionLayer`](super::SessionLayer), on the routes that differ:
///
/// ```no_run
/// # #[cfg(feature = "axum")]
/// # fn example(db: lagwise::PgRouter, balance: axum::routing::MethodRouter) -> axum::Router {
/// use lagwise::ReadOptions;
/// use lagwise::tower::RulesLayer;
///
/// axum::Router::new().route(
///     "/balance",
///     balance.layer(RulesLayer::new(&db).reads(ReadOptions::primary())),
/// )
/// # }
/// ```
pub struct RulesLayer<DB: Backend> {
    router: Router<DB>,
    reads: ReadOptions,
    read_only: Option<bool>,
}

impl<DB: Backend> RulesLayer<DB> {
    /// A layer that changes nothing yet.
    #[must_use]
    pub fn new(router: &Router<DB>) -> Self {
        Self {
            router: router.clone(),
            reads: ReadOptions::new(),
            read_only: None,
        }
    }

    /// What reads ask for and fall back to, unless they say so themselves.
    #[must_use]
    pub fn reads(mut self, options: impl Into<ReadOptions>) -> Self {
        self.reads = options.into();
        self
    }

    /// Refuses writes: see [`Session::read_only`].
    #[must_use]
    pub const fn read_only(mut self) -> Self {
        self.read_only = Some(true);
        self
    }

    /// Lets writes through that the outer layer would refuse by their method.
    #[must_use]
    pub const fn allow_writes(mut self) -> Self {
        self.read_only = Some(false);
        self
    }

    /// The request's session, under these rules; a new one where no outer layer has opened one.
    fn ruled(&self, extensions: &Extensions) -> Session<DB> {
        let outer = session_in(extensions, &self.router);
        let session = outer.unwrap_or_else(|| self.router.session());
        let session = session.with_reads(self.reads);
        match self.read_only {
            Some(true) => session.read_only(),
            Some(false) => session.allow_writes(),
            None => session,
        }
    }
}

impl<S, DB: Backend> Layer<S> for RulesLayer<DB> {
    type Service = RulesService<S, DB>;

    fn layer(&self, inner: S) -> RulesService<S, DB> {
        RulesService {
            inner,
            rules: self.clone(),
        }
    }
}

/// A service whose requests run under rules of their own.
pub struct RulesService<S, DB: Backend> {
    inner: S,
    rules: RulesLayer<DB>,
}

impl<S, B, R, DB> Service<Request<B>> for RulesService<S, DB>
where
    S: Service<Request<B>, Response = Response<R>>,
    DB: Backend,
{
    type Response = Response<SessionBody<R, DB>>;
    type Error = S::Error;
    type Future = RulesFuture<S::Future, DB>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let session = self.rules.ruled(request.extensions());
        request.extensions_mut().insert(session.clone());
        let ambient = ambient::entered(&session);
        let handler = ambient::sync_scope(Arc::clone(&ambient), || self.inner.call(request));
        RulesFuture {
            handler: ambient::scope_in(Arc::clone(&ambient), handler),
            ambient,
            database: PhantomData,
        }
    }
}

pin_project! {
    /// The future of a request under rules of its own.
    #[must_use = "a future does nothing unless it is polled"]
    pub struct RulesFuture<F, DB> {
        #[pin]
        handler: Scoped<F>,
        ambient: Arc<Ambient>,
        database: PhantomData<fn() -> DB>,
    }
}

impl<F, R, E, DB> Future for RulesFuture<F, DB>
where
    F: Future<Output = Result<Response<R>, E>>,
    DB: Backend,
{
    type Output = Result<Response<SessionBody<R, DB>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.handler.poll(context));
        // What is streamed is read under the same rules.
        let body = |body| SessionBody::passed_on(body, Arc::clone(this.ambient));
        Poll::Ready(answer.map(|answer| answer.map(body)))
    }
}

impl<DB: Backend> Clone for RulesLayer<DB> {
    fn clone(&self) -> Self {
        Self {
            router: self.router.clone(),
            ..*self
        }
    }
}

impl<S: Clone, DB: Backend> Clone for RulesService<S, DB> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            rules: self.rules.clone(),
        }
    }
}

impl<DB: Backend> fmt::Debug for RulesLayer<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RulesLayer")
            .field("reads", &self.reads)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl<S, DB: Backend> fmt::Debug for RulesService<S, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RulesService").finish_non_exhaustive()
    }
}

impl<F, DB> fmt::Debug for RulesFuture<F, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RulesFuture").finish_non_exhaustive()
    }
}
