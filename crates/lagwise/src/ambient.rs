//! The session that code runs in without having been handed it.
//!
//! A task-local, not a thread-local: it follows a future over the threads it runs on and ends with
//! it. Sessions of different routers nest without seeing each other.

use std::future::Future;
use std::sync::Arc;

use tokio::task::futures::TaskLocalFuture;

use crate::backend::Backend;
use crate::rules::Rules;
use crate::session::{Session, SessionState};
use crate::shared::RouterId;

/// A session that code runs in, inside of those it runs in besides.
#[derive(Clone, Debug)]
pub(crate) struct Ambient {
    router: RouterId,
    session: Arc<SessionState>,
    rules: Rules,
    outer: Option<Arc<Self>>,
}

/// A future that runs in a session.
pub(crate) type Scoped<F> = TaskLocalFuture<Arc<Ambient>, F>;

/// Runs `future` in a session.
pub(crate) fn scope<DB: Backend, F: Future>(session: &Session<DB>, future: F) -> Scoped<F> {
    scope_in(entered(session), future)
}

/// Runs `future` in a session that was entered before.
pub(crate) fn scope_in<F: Future>(ambient: Arc<Ambient>, future: F) -> Scoped<F> {
    CURRENT.scope(ambient, future)
}

/// What code that runs in a session from now on sees.
pub(crate) fn entered<DB: Backend>(session: &Session<DB>) -> Arc<Ambient> {
    Arc::new(Ambient {
        router: session.router().id(),
        session: Arc::clone(session.state()),
        rules: session.rules(),
        outer: CURRENT.try_with(Arc::clone).ok(),
    })
}

/// Runs what does not wait in a session.
#[cfg(feature = "tower")]
pub(crate) fn sync_scope<T>(ambient: Arc<Ambient>, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(ambient, work)
}

/// The innermost session of a router that this code runs in, and the rules it runs under.
pub(crate) fn session(router: RouterId) -> Option<(Arc<SessionState>, Rules)> {
    let innermost = |ambient: &Arc<Ambient>| {
        let mut next = Some(ambient);
        while let Some(ambient) = next {
            if ambient.router == router {
                return Some((Arc::clone(&ambient.session), ambient.rules));
            }
            next = ambient.outer.as_ref();
        }
        None
    };
    CURRENT.try_with(innermost).ok().flatten()
}

tokio::task_local! {
    static CURRENT: Arc<Ambient>;
}
