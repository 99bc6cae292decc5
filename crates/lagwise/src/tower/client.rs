//! Sessions from service to service: one layer around a client, and nothing where it is called.
//!
//! A call that is made in a session carries the session's token, so that the called service reads
//! what the caller wrote and saw. What the called service wrote comes back in the same way and is the
//! session's own from then on: its next reads here see it, and its client is told of it. The rule kept
//! here: a call tells a service what there is to tell, and takes nothing from what the session's own
//! response will tell.
//!
//! Whom a token is sent to is the application's choice: whoever it puts the layer on.

mod body;
mod future;

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{HeaderMap, HeaderName};
use http::request::Parts;
use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

pub use self::body::ClientBody;
pub use self::future::ClientFuture;

use super::answer::put_header;
use super::carrier::{only, session_in};
use super::layer::{HEADER, Named};
use crate::backend::Backend;
use crate::observe;
use crate::router::Router;
use crate::session::{Renewal, Session};

/// Sends the session of whoever calls another service with the call, and takes up what comes back.
///
/// It goes around any client of [`http`] requests: a channel of `tonic`, or one of `hyper`.
/// The session is the ambient one of the router, such as that of the request that is being served, or
/// the [`Session`] that is put into the request's extensions. What counts is where the call is *made*:
/// `session.scope(async { client.call(request).await })`, and not `session.scope(client.call(request))`,
/// which calls first and enters the session then.
///
/// ```no_run
/// # async fn example<C>(db: lagwise::PgRouter, client: C) -> Result<(), C::Error>
/// # where C: tower_service::Service<http::Request<String>, Response = http::Response<String>> + Clone {
/// use lagwise::tower::ClientLayer;
/// use tower_layer::Layer as _;
/// use tower_service::Service as _;
///
/// let mut prices = ClientLayer::new(&db).layer(client);
/// let session = db.session();
/// session
///     .scope(async {
///         // What this service writes, the next read in the session sees.
///         let response = prices.call(http::Request::new(String::new())).await?;
///         # drop(response);
///         Ok(())
///     })
///     .await
/// # }
/// ```
///
/// # What travels
///
/// * **Out**: the header `x-lagwise`, if the session wrote or saw anything. Where it wrote, the primary
///   is asked first where it stands, as for any [token](Session::token). A request that has the header
///   already keeps what it has.
/// * **Back**: the same header of the response, at once, and of its trailers, when its body has been
///   read to the end. What a stream's messages tell of is in the session when the stream has ended.
/// * A request without a session, or in one that neither wrote nor saw anything, goes as it is. One
///   through a router without [`Keys`](crate::Keys) does, too, and nothing is taken from its response.
///
/// # To whom
///
/// Both services share the keys and the cluster. A token tells who receives it where the primary
/// stands: put the layer on clients of your own services only, and remember that a client which follows
/// redirects takes the header along. Where somebody else may see it, use `Keys::encrypted` (feature
/// `encryption`).
///
/// Commit first, and call then: while a write of the session is open, the token says that it may still
/// take effect, and keeps the called service's reads on the primary.
pub struct ClientLayer<DB: Backend> {
    settings: Arc<Settings<DB>>,
}

/// What a layer was told.
struct Settings<DB: Backend> {
    router: Router<DB>,
    header: HeaderName,
    bind: Option<Named>,
}

impl<DB: Backend> ClientLayer<DB> {
    /// A layer for calls in sessions of this router.
    #[must_use]
    pub fn new(router: &Router<DB>) -> Self {
        Self {
            settings: Arc::new(Settings {
                router: router.clone(),
                header: HeaderName::from_static(HEADER),
                bind: None,
            }),
        }
    }

    /// The name of the header, and of the metadata key: what the called service's
    /// [`SessionLayer`](super::SessionLayer) was told. `x-lagwise` unless set.
    #[must_use]
    pub fn header(self, name: HeaderName) -> Self {
        self.with(|settings| settings.header = name)
    }

    /// Binds the tokens that are sent, and takes those that come back only if they are bound to the
    /// same name, which is found in the outgoing request.
    ///
    /// It says what the *called* service binds its tokens to, by
    /// [`SessionLayer::bind`](super::SessionLayer::bind): where that finds a user in a header that is
    /// passed on, find the same one here. A service that knows its callers and not their users binds
    /// nothing, and neither does this layer unless it is told to. How the session's own client is bound
    /// does not matter here: a token is opened where it arrives, and made anew where it leaves.
    #[must_use]
    pub fn bind(self, name: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.bind = Some(Arc::new(name)))
    }

    fn with(self, change: impl FnOnce(&mut Settings<DB>)) -> Self {
        let mut settings = Arc::unwrap_or_clone(self.settings);
        change(&mut settings);
        Self {
            settings: Arc::new(settings),
        }
    }
}

impl<S, DB: Backend> Layer<S> for ClientLayer<DB> {
    type Service = ClientService<S, DB>;

    fn layer(&self, inner: S) -> ClientService<S, DB> {
        ClientService {
            inner,
            settings: Arc::clone(&self.settings),
        }
    }
}

/// A client whose calls are made in sessions.
pub struct ClientService<S, DB: Backend> {
    inner: S,
    settings: Arc<Settings<DB>>,
}

impl<S, B, R, DB> Service<Request<B>> for ClientService<S, DB>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    DB: Backend,
{
    type Response = Response<ClientBody<R, DB>>;
    type Error = S::Error;
    type Future = ClientFuture<S, B, DB>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(session) = self.settings.session(request.extensions()) else {
            return ClientFuture::calling(self.inner.call(request), None);
        };
        let (mut parts, body) = request.into_parts();
        let errand = Errand {
            binding: self.settings.bind.as_ref().and_then(|name| name(&parts)),
            settings: Arc::clone(&self.settings),
            session,
        };
        let has_one = parts.headers.contains_key(&self.settings.header);
        let tells = match errand.session.errand() {
            _ if has_one => Renewal::None,
            tells => tells,
        };
        if tells == Renewal::Captured {
            // The one that was made ready is the one to call.
            let clone = self.inner.clone();
            let inner = mem::replace(&mut self.inner, clone);
            return ClientFuture::capturing(inner, Request::from_parts(parts, body), errand);
        }
        if tells != Renewal::None {
            errand.tell(&mut parts.headers);
        }
        let call = self.inner.call(Request::from_parts(parts, body));
        ClientFuture::calling(call, Some(errand))
    }
}

impl<DB: Backend> Settings<DB> {
    /// The session that a call is made in.
    fn session(&self, extensions: &Extensions) -> Option<Session<DB>> {
        self.router.shared().keys.as_ref()?;
        session_in(extensions, &self.router).or_else(|| self.router.current_session())
    }
}

/// A session on its way to another service and back.
struct Errand<DB: Backend> {
    session: Session<DB>,
    settings: Arc<Settings<DB>>,
    binding: Option<String>,
}

impl<DB: Backend> Errand<DB> {
    /// Puts a token into the headers of a call. What the session's client was told stays as it was.
    fn tell(&self, headers: &mut HeaderMap) {
        let Some(keys) = &self.settings.router.shared().keys else {
            return;
        };
        // Without a primary nothing was written or read either.
        if let Some(claim) = self.session.claim() {
            let token = keys.sign(&claim, self.binding.as_deref());
            put_header(headers, &self.settings.header, &token);
        }
    }

    /// Takes up the token in the headers or trailers of a response; a bad one is none.
    fn hear(&self, headers: &HeaderMap) {
        let values = headers.get_all(&self.settings.header).iter();
        match only(values.map(http::HeaderValue::as_bytes)) {
            None => {}
            // Why it is no good is counted there.
            Some(Ok(token)) => drop(self.session.learn(&token, self.binding.as_deref()).ok()),
            Some(Err(fault)) => observe::token_received(Err(fault)),
        }
    }
}

impl<DB: Backend> Clone for Settings<DB> {
    fn clone(&self) -> Self {
        Self {
            router: self.router.clone(),
            header: self.header.clone(),
            bind: self.bind.clone(),
        }
    }
}

impl<DB: Backend> Clone for ClientLayer<DB> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<S: Clone, DB: Backend> Clone for ClientService<S, DB> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<DB: Backend> fmt::Debug for ClientLayer<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLayer")
            .field("header", &self.settings.header)
            .finish_non_exhaustive()
    }
}

impl<S, DB: Backend> fmt::Debug for ClientService<S, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientService").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests;
