//! The second step of the move: every request runs in a session, that of its visitor.
//!
//! A handler does not know: whatever it asks of the router it holds, it asks in that session. The
//! session travels with the visitor, in a cookie or a header, so that the next request may reach another
//! instance. All instances have the secret that `LAGWISE_KEY` says.

use axum::Router;
use lagwise::tower::SessionLayer;
use lagwise::{Keys, PgRouter};

use crate::failure::Failure;

/// Runs every request in its visitor's session.
///
/// # Panics
/// If the router has no keys.
#[expect(clippy::expect_used, reason = "`db::open` is the only way to one")]
pub fn layer<S: Clone + Send + Sync + 'static>(routes: Router<S>, db: &PgRouter) -> Router<S> {
    let sessions = SessionLayer::new(db.clone());
    routes.layer(sessions.expect("a router of `db::open` has keys"))
}

/// What sessions are signed with. Without a secret of its own, this instance shares them with no other.
///
/// # Errors
/// If the secret is too short.
pub fn keys() -> Result<Keys, Failure> {
    const SECRET: &str = "LAGWISE_KEY";
    if std::env::var_os(SECRET).is_some() {
        return Ok(Keys::from_env(SECRET)?);
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    Ok(Keys::new(secret)?)
}
