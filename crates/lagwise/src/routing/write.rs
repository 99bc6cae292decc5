//! The way to the primary.

use sqlx::SqlStr;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Instant, Place, Reason, Role};

use super::Caller;
use crate::backend::{Backend, Fault};
use crate::connection::WriteConnection;
use crate::error::Error;
use crate::lease::Leased;
use crate::monitor::Command;
use crate::node::Node;
use crate::observe;
use crate::route::Route;
use crate::shared::Shared;
use crate::transaction::{Ending, Transaction};

/// A connection to the primary, which the caller asked for.
pub(crate) async fn write<DB: Backend>(
    caller: Caller<'_, DB>,
) -> Result<WriteConnection<DB>, Error> {
    write_because(caller, Reason::Write).await
}

/// A connection to the primary.
#[tracing::instrument(
    name = "lagwise.write",
    target = "lagwise::route",
    level = "debug",
    skip_all,
    fields(lagwise.node, lagwise.reason)
)]
pub(crate) async fn write_because<DB: Backend>(
    caller: Caller<'_, DB>,
    reason: Reason,
) -> Result<WriteConnection<DB>, Error> {
    let node = primary_for(&caller)?;
    let lease = connect(caller.shared, &node).await?;
    Ok(WriteConnection::new(
        caller.shared,
        lease.lease,
        route(&node, reason),
        caller.session,
    ))
}

/// A transaction on the primary.
#[tracing::instrument(
    name = "lagwise.begin",
    target = "lagwise::route",
    level = "debug",
    skip_all,
    fields(lagwise.node, lagwise.reason)
)]
pub(crate) async fn begin<DB: Backend>(
    caller: Caller<'_, DB>,
    statement: Option<SqlStr>,
) -> Result<Transaction<DB>, Error> {
    let node = primary_for(&caller)?;
    let lease = connect(caller.shared, &node).await?;
    let ending = Ending::Write {
        session: caller.session,
        sticky_window: caller.shared.policy.sticky_window,
    };
    Transaction::begin(lease.lease, statement, route(&node, Reason::Write), ending)
        .await
        .map_err(|error| account(caller.shared, &node, error))
}

/// A transaction of the driver's own on the primary. Nobody sees it end, so its session trusts no
/// replica any longer.
pub(crate) async fn begin_unseen<DB: Backend>(
    caller: Caller<'_, DB>,
) -> Result<sqlx::Transaction<'static, DB>, Error> {
    let node = primary_for(&caller)?;
    let lease = connect(caller.shared, &node).await?;
    if let Some(session) = &caller.session {
        session.bind_to_primary();
        observe::session_bound();
    }
    let (connection, _in_flight) = lease.lease.into_parts();
    let transaction = sqlx::Transaction::begin(connection, None)
        .await
        .map_err(|error| account(caller.shared, &node, error))?;
    route(&node, Reason::Write);
    Ok(transaction)
}

/// The node that a caller may write on.
///
/// A token can be of a later timeline than any seen here: then the node known as the primary has been
/// deposed, and is asked again at once. Nothing is written on it.
fn primary_for<DB: Backend>(caller: &Caller<'_, DB>) -> Result<Arc<Node<DB>>, Error> {
    caller.rules.admit_write()?;
    let node = primary(caller.shared)?;
    let snapshot = caller.shared.published.load();
    let position = caller
        .session
        .as_ref()
        .and_then(|session| session.floor_under(&snapshot).needed_position());
    let ahead = |position| snapshot.place(position, Instant::NEVER) == Place::Ahead;
    if position.is_some_and(ahead) {
        caller.shared.orders.give(Command::Suspect(node.id));
        return Err(Error::no_primary());
    }
    Ok(node)
}

/// The node that accepts writes, as far as is known. One that cannot be asked is still tried: the
/// way from here to its pool may be better than the monitor's.
pub(super) fn primary<DB: Backend>(shared: &Shared<DB>) -> Result<Arc<Node<DB>>, Error> {
    if shared.tasks.is_closed() {
        return Err(Error::closed());
    }
    let id = shared
        .published
        .load()
        .primary
        .ok_or_else(Error::no_primary)?;
    shared
        .node(id)
        .map(Arc::clone)
        .ok_or_else(Error::no_primary)
}

/// Connects to a node, and tells the monitor if that fails.
pub(super) async fn connect<DB: Backend>(
    shared: &Shared<DB>,
    node: &Arc<Node<DB>>,
) -> Result<Leased<DB>, Error> {
    match node.lease().await {
        Ok(lease) => Ok(Leased {
            node: Arc::clone(node),
            lease,
        }),
        Err(error) => Err(account(shared, node, error)),
    }
}

/// Accounts for an error of a node.
pub(super) fn account<DB: Backend>(
    shared: &Shared<DB>,
    node: &Arc<Node<DB>>,
    error: sqlx::Error,
) -> Error {
    let fault = DB::fault(&error);
    if fault == Fault::Node {
        shared.orders.give(Command::Suspect(node.id));
    }
    if matches!(fault, Fault::Node | Fault::Busy | Fault::Conflict) {
        observe::node_failed(node.name());
    }
    Error::on_node(node.name(), error)
}

fn route<DB: Backend>(node: &Node<DB>, reason: Reason) -> Route {
    let route = Route {
        node: Arc::clone(node.name()),
        role: Role::Primary,
        reason,
        staleness: Duration::ZERO,
        waited: Duration::ZERO,
        retried: false,
    };
    observe::routed(&route);
    route
}
