//! The second step of the move: every request runs in a session, that of its visitor.
//!
//! A handler does not know: whatever it asks of the router it holds, it asks in that session. A
//! visitor is who sends the same `x-visitor` again; a request without one has a session of its own,
//! which sees what it wrote itself. Sessions are kept in this process, so that a visitor whose next
//! request reaches another instance starts anew there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use lagwise::{PgRouter, PgSession};

/// A session is only missed within moments of its last write.
const KEPT: usize = 1000;

type Sessions = Arc<Mutex<VecDeque<(String, PgSession)>>>;

/// Runs every request in its visitor's session.
pub fn layer<S: Clone + Send + Sync + 'static>(routes: Router<S>, db: &PgRouter) -> Router<S> {
    let (db, sessions) = (db.clone(), Sessions::default());
    routes.layer(middleware::from_fn(move |request: Request, next: Next| {
        let visitor = request.headers().get("x-visitor");
        let session = match visitor.and_then(|name| name.to_str().ok()) {
            Some(name) => of(&sessions, name, &db),
            None => db.session(),
        };
        async move { session.scope(next.run(request)).await }
    }))
}

/// The visitor's session, which is the latest used from now on.
fn of(sessions: &Sessions, visitor: &str, db: &PgRouter) -> PgSession {
    let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
    let known = sessions.iter().position(|(name, _)| name == visitor);
    let (name, session) = known
        .and_then(|at| sessions.remove(at))
        .unwrap_or_else(|| (visitor.to_owned(), db.session()));
    sessions.push_front((name, session.clone()));
    sessions.truncate(KEPT);
    session
}
