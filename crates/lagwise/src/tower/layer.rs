//! The layer, its settings, and the service that it makes.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HeaderName;
use http::request::Parts;
use http::{Method, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::body::SessionBody;
use super::carrier::{TimeLeft, grpc_timeout, is_grpc, session_in, tokens};
use super::future::SessionFuture;
use crate::ambient::{self, Ambient};
use crate::backend::Backend;
use crate::error::Error;
use crate::observe;
use crate::options::ReadOptions;
use crate::router::Router;
use crate::session::Session;
use crate::shared::RouterId;
use crate::store::SessionStore;

/// Runs every request in the session of whoever sent it.
///
/// A cheap clone. See the [module](crate::tower) for what travels how.
pub struct SessionLayer<DB: Backend> {
    settings: Arc<Settings<DB>>,
}

/// What a layer was told.
pub(super) struct Settings<DB: Backend> {
    pub(super) router: Router<DB>,
    pub(super) cookies: Option<Cookies>,
    pub(super) header: Option<HeaderName>,
    pub(super) shares_reads: bool,
    bind: Option<Named>,
    reads: ReadOptions,
    read_only_methods: bool,
    time_limit: Option<Duration>,
    store: Option<(Arc<dyn SessionStore>, Named)>,
}

/// Finds a name in a request.
pub(super) type Named = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// The names of the two cookies.
#[derive(Clone)]
pub(super) struct Cookies {
    /// Set by requests that wrote.
    pub(super) written: String,
    /// Set by requests that only read.
    pub(super) seen: String,
}

impl Cookies {
    pub(super) fn named(name: &str) -> Self {
        Self {
            written: name.to_owned(),
            seen: format!("{name}-seen"),
        }
    }
}

impl<DB: Backend> SessionLayer<DB> {
    /// A layer over a router that has [`Keys`](crate::Keys).
    ///
    /// Timeouts and whatever catches panics go inside of it, so that a handler which was given up still
    /// has its session told of what it wrote. One layer inside of another of the same router adds
    /// what it asks of reads and writes; how a session travels is the outer one's business.
    ///
    /// # Errors
    /// If the router has no keys.
    pub fn new(router: Router<DB>) -> Result<Self, Error> {
        if router.shared().keys.is_none() {
            return Err(Error::no_keys());
        }
        Ok(Self {
            settings: Arc::new(Settings {
                router,
                cookies: Some(Cookies::named("__Host-lagwise")),
                header: Some(HeaderName::from_static(HEADER)),
                shares_reads: true,
                bind: None,
                reads: ReadOptions::new(),
                read_only_methods: false,
                time_limit: None,
                store: None,
            }),
        })
    }

    /// The name of the cookie; that of the other one has `-seen` after it. `__Host-lagwise` unless
    /// set. With the prefix `__Host-`, a browser accepts it from this host alone and only over TLS
    /// (or from localhost). A service of several routers needs several names.
    ///
    /// # Panics
    /// If the text is no name of a cookie (RFC 6265, section 4.1.1).
    #[must_use]
    pub fn cookie(self, name: &str) -> Self {
        assert!(
            HeaderName::try_from(name).is_ok(),
            "{name:?} is no name of a cookie: it takes letters, digits, and a few signs such as - and _"
        );
        self.with(|settings| settings.cookies = Some(Cookies::named(name)))
    }

    /// Neither takes nor sets cookies.
    #[must_use]
    pub fn without_cookie(self) -> Self {
        self.with(|settings| settings.cookies = None)
    }

    /// The name of the header, and of the metadata key. `x-lagwise` unless set.
    #[must_use]
    pub fn header(self, name: HeaderName) -> Self {
        self.with(|settings| settings.header = Some(name))
    }

    /// Neither takes nor sets a header or metadata key.
    #[must_use]
    pub fn without_header(self) -> Self {
        self.with(|settings| settings.header = None)
    }

    /// Binds tokens to a name that is found in the request, such as that of the user whom an outer
    /// layer has let in: a token that was made for somebody else is none. A request without a name
    /// takes and gives tokens that are bound to nobody; whoever signs in goes on with those.
    #[must_use]
    pub fn bind(self, name: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.bind = Some(Arc::new(name)))
    }

    /// What the reads of every request ask for and fall back to, unless they, or a
    /// [`RulesLayer`](super::RulesLayer) on their way, say so themselves.
    #[must_use]
    pub fn reads(self, options: impl Into<ReadOptions>) -> Self {
        let options = options.into();
        self.with(|settings| settings.reads = options)
    }

    /// Refuses writes in requests by `GET`, `HEAD`, `OPTIONS` and `TRACE`, with an error that
    /// [is read-only](Error::is_read_only). [`Session::allow_writes`] and
    /// [`RulesLayer::allow_writes`](super::RulesLayer::allow_writes) let one through.
    #[must_use]
    pub fn read_only_methods(self) -> Self {
        self.with(|settings| settings.read_only_methods = true)
    }

    /// Whether a request that only read gives a token as well, so that the next one, on whichever
    /// instance, reads nothing older. It does unless set, where its response is not marked as public.
    #[must_use]
    pub fn shares_reads(self, shares: bool) -> Self {
        self.with(|settings| settings.shares_reads = shares)
    }

    /// How long after a request's arrival its reads may still wait: for a replica, or for their turn
    /// on the primary. Set it to what the request's own timeout is; less counts where a
    /// [`TimeLeft`] or a `grpc-timeout` says so.
    #[must_use]
    pub fn time_limit(self, limit: Duration) -> Self {
        self.with(|settings| settings.time_limit = Some(limit))
    }

    /// Keeps the sessions of requests that have a key in a store, for clients that cannot carry a
    /// token, or for all devices of one user. Such a request's response carries no token.
    #[must_use]
    pub fn store(
        self,
        store: Arc<dyn SessionStore>,
        key: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.store = Some((store, Arc::new(key))))
    }

    fn with(self, change: impl FnOnce(&mut Settings<DB>)) -> Self {
        let mut settings = Arc::unwrap_or_clone(self.settings);
        change(&mut settings);
        Self {
            settings: Arc::new(settings),
        }
    }
}

impl<S, DB: Backend> Layer<S> for SessionLayer<DB> {
    type Service = SessionService<S, DB>;

    fn layer(&self, inner: S) -> SessionService<S, DB> {
        SessionService {
            inner,
            settings: Arc::clone(&self.settings),
        }
    }
}

/// A service whose requests run in sessions.
pub struct SessionService<S, DB: Backend> {
    inner: S,
    settings: Arc<Settings<DB>>,
}

impl<S, B, R, DB> Service<Request<B>> for SessionService<S, DB>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    DB: Backend,
{
    type Response = Response<SessionBody<R, DB>>;
    type Error = S::Error;
    type Future = SessionFuture<S, B, DB>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let id = self.settings.router.id();
        let opened = parts.extensions.get_or_insert_default::<Opened>();
        if opened.0.contains(&id) {
            let session = self.settings.ruled(&parts);
            parts.extensions.insert(session.clone());
            let request = Request::from_parts(parts, body);
            return SessionFuture::passed_on(&session, |request| self.inner.call(request), request);
        }
        opened.0.push(id);
        let visit = self.settings.open(&parts);
        parts.extensions.insert(visit.session.clone());
        let request = Request::from_parts(parts, body);
        if visit.kept.is_none() {
            return SessionFuture::running(visit, |request| self.inner.call(request), request);
        }
        // The one that was made ready is the one to call.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        SessionFuture::recalling(visit, inner, request)
    }
}

/// The routers whose sessions a layer has opened for a request, and tells its client of.
#[derive(Clone, Default)]
struct Opened(Vec<RouterId>);

/// A request's stay in its session.
pub(super) struct Visit<DB: Backend> {
    pub(super) session: Session<DB>,
    /// What the handler and its body run in.
    pub(super) ambient: Arc<Ambient>,
    pub(super) settings: Arc<Settings<DB>>,
    pub(super) binding: Option<String>,
    pub(super) grpc: bool,
    /// Where the session is kept, and under which key.
    pub(super) kept: Option<(Arc<dyn SessionStore>, String)>,
}

impl<DB: Backend> Settings<DB> {
    /// Opens the session of a request.
    fn open(self: &Arc<Self>, parts: &Parts) -> Visit<DB> {
        let binding = self.bind.as_ref().and_then(|name| name(parts));
        let kept = self
            .store
            .as_ref()
            .and_then(|(store, key)| Some((Arc::clone(store), key(parts)?)));
        let session = self.ruled(parts);
        let header = self.header.as_ref();
        for token in tokens(&parts.headers, self.cookies.as_ref(), header)
            .into_iter()
            .flatten()
        {
            match token {
                // Why it is no good is counted there.
                Ok(token) => drop(session.take_up_of_client(&token, binding.as_deref()).ok()),
                Err(fault) => observe::token_received(Err(fault)),
            }
        }
        Visit {
            ambient: ambient::entered(&session),
            session,
            settings: Arc::clone(self),
            binding,
            grpc: is_grpc(&parts.headers),
            kept,
        }
    }

    /// The session that a request is in already, or a new one, under the rules of this layer.
    fn ruled(&self, parts: &Parts) -> Session<DB> {
        let outer = session_in(&parts.extensions, &self.router);
        let session = outer.unwrap_or_else(|| self.router.session());
        let mut session = session.with_reads(self.reads);
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];
        if self.read_only_methods && reads.contains(&parts.method) {
            session = session.read_only();
        }
        let limits = [
            self.time_limit,
            parts.extensions.get::<TimeLeft>().map(|left| left.0),
            is_grpc(&parts.headers)
                .then(|| grpc_timeout(&parts.headers))
                .flatten(),
        ];
        match limits.into_iter().flatten().min() {
            Some(limit) => session.with_deadline(limit),
            None => session,
        }
    }
}

impl<DB: Backend> Clone for Settings<DB> {
    fn clone(&self) -> Self {
        Self {
            router: self.router.clone(),
            cookies: self.cookies.clone(),
            header: self.header.clone(),
            shares_reads: self.shares_reads,
            bind: self.bind.clone(),
            reads: self.reads,
            read_only_methods: self.read_only_methods,
            time_limit: self.time_limit,
            store: self.store.clone(),
        }
    }
}

impl<DB: Backend> Clone for SessionLayer<DB> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<S: Clone, DB: Backend> Clone for SessionService<S, DB> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<DB: Backend> fmt::Debug for SessionLayer<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer").finish_non_exhaustive()
    }
}

impl<S, DB: Backend> fmt::Debug for SessionService<S, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").finish_non_exhaustive()
    }
}

/// The header and the metadata key, unless another is set.
pub(super) const HEADER: &str = "x-lagwise";
