//! The session that code runs in without having been handed it.
//!
//! A task-local, not a thread-local: it follows a future over the threads it runs on and ends with
//! it. Sessions of different routers nest without seeing each other.

use std::future::Future;
use std::sync::Arc;

use crate::session::SessionState;
use crate::shared::RouterId;

#[derive(Clone, Debug)]
struct Ambient {
    router: RouterId,
    session: Arc<SessionState>,
    outer: Option<Arc<Self>>,
}

/// Runs `future` in a session of a router.
pub(crate) async fn scope<F: Future>(
    router: RouterId,
    session: Arc<SessionState>,
    future: F,
) -> F::Output {
    let outer = CURRENT.try_with(Arc::clone).ok();
    CURRENT
        .scope(
            Arc::new(Ambient {
                router,
                session,
                outer,
            }),
            future,
        )
        .await
}

/// The innermost session of a router that this code runs in.
pub(crate) fn session(router: RouterId) -> Option<Arc<SessionState>> {
    let innermost = |ambient: &Arc<Ambient>| {
        let mut next = Some(ambient);
        while let Some(ambient) = next {
            if ambient.router == router {
                return Some(Arc::clone(&ambient.session));
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
