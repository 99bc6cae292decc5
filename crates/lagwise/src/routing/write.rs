//! The way to the primary.

use sqlx::SqlStr;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Reason, Role};

use super::Caller;
use crate::backend::{Backend, Fault};
use crate::connection::WriteConnection;
use crate::error::Error;
use crate::lease::Leased;
use crate::monitor::Command;
use crate::node::Node;
use crate::observe;
use crate::route::Route;
use crate::router::Shared;
use crate::transaction::{Ending, Transaction};

/// A connection to the primary.
#[tracing::instrument(
    name = "lagwise.write",
    target = "lagwise::route",
    level = "debug",
    skip_all,
    fields(lagwise.node, lagwise.reason)
)]
pub(crate) async fn write<DB: Backend>(
    caller: Caller<'_, DB>,
) -> Result<WriteConnection<DB>, Error> {
    let node = primary(caller.shared)?;
    let lease = connect(caller.shared, &node).await?;
    Ok(WriteConnection::new(
        caller.shared,
        lease.lease,
        route(&node),
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
    let node = primary(caller.shared)?;
    let lease = connect(caller.shared, &node).await?;
    let ending = Ending::Write {
        session: caller.session,
        sticky_window: caller.shared.policy.sticky_window,
    };
    Transaction::begin(lease.lease, statement, route(&node), ending)
        .await
        .map_err(|error| failed(caller.shared, &node, error))
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
        Err(error) => Err(failed(shared, node, error)),
    }
}

/// Accounts for an error of a node.
pub(super) fn failed<DB: Backend>(
    shared: &Shared<DB>,
    node: &Arc<Node<DB>>,
    error: sqlx::Error,
) -> Error {
    let fault = DB::fault(&error);
    if fault == Fault::Node {
        shared.orders.give(Command::Suspect(node.id));
    }
    if matches!(fault, Fault::Node | Fault::Busy) {
        observe::node_failed(node.name());
    }
    Error::on_node(node.name(), error)
}

fn route<DB: Backend>(node: &Node<DB>) -> Route {
    let route = Route {
        node: Arc::clone(node.name()),
        role: Role::Primary,
        reason: Reason::Write,
        staleness: Duration::ZERO,
        waited: Duration::ZERO,
        retried: false,
    };
    observe::routed(&route);
    route
}
