//! The way to the primary.
//!
//! What has not been sent can wait: for a primary to be found, for another node to be promoted. It
//! waits until the policy's `write_wait` has passed, and goes to nobody but the node that accepts
//! writes as far as the monitor knows. What has been sent is never sent again here.

use sqlx::SqlStr;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Instant, NodeId, Place, Reason, Role, Snapshot, Timeline};

use super::Caller;
use super::authority::{Denied, confirm_primary};
use super::deadline::passed;
use super::run::{Run, end_of, fallen_silent};
use crate::backend::{Backend, Fault};
use crate::clock;
use crate::connection::WriteConnection;
use crate::error::Error;
use crate::lease::Leased;
use crate::monitor::Command;
use crate::node::Node;
use crate::observe;
use crate::publish::Watcher;
use crate::route::Route;
use crate::session::SessionState;
use crate::shared::Shared;
use crate::transaction::{Ending, Transaction, begin_on};

/// A connection to the primary, which the caller asked for.
pub(crate) async fn write<DB: Backend>(
    caller: Caller<'_, DB>,
) -> Result<WriteConnection<DB>, Error> {
    write_because(caller, Reason::Write).await
}

/// A connection to the primary.
pub(crate) async fn write_because<DB: Backend>(
    caller: Caller<'_, DB>,
    reason: Reason,
) -> Result<WriteConnection<DB>, Error> {
    match caller.write_at_once(reason) {
        Some(connection) => Ok(connection),
        None => Box::pin(write_in_time(caller, reason)).await,
    }
}

#[tracing::instrument(
    name = "lagwise.write",
    target = "lagwise::route",
    level = "debug",
    skip_all,
    fields(lagwise.node, lagwise.reason)
)]
async fn write_in_time<DB: Backend>(
    caller: Caller<'_, DB>,
    reason: Reason,
) -> Result<WriteConnection<DB>, Error> {
    let found = connect_until(&caller, patience(&caller)).await?;
    let route = found.route(reason);
    Ok(WriteConnection::new(
        caller.shared,
        found.leased.lease,
        route,
        found.on,
        caller.session.cloned(),
    ))
}

/// A transaction on the primary. One that could not begin has written nothing, so it begins on the
/// next primary.
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
    let until = patience(&caller);
    loop {
        let found = connect_until(&caller, until).await?;
        let route = found.route(Reason::Write);
        let ending = Ending::Write {
            shared: Arc::clone(caller.shared),
            session: caller.session.cloned(),
            on: found.on,
        };
        let Leased { node, lease } = found.leased;
        // Nothing is written before it has begun, so what gives no answer is begun elsewhere.
        let begun = tokio::select! {
            biased;
            begun = Transaction::begin(lease, statement.clone(), route, ending) => begun,
            () = deposed(caller.shared, found.on) => Err(fallen_silent()),
            () = passed(until) => Err(fallen_silent()),
        };
        match begun {
            Ok(transaction) => return Ok(transaction),
            Err(error) => {
                let gone = DB::fault(&error) == Fault::Node;
                let error = account(caller.shared, &node, error);
                if !gone || clock::now() >= until {
                    return Err(error);
                }
            }
        }
    }
}

/// A transaction of the driver's own on the primary. Nobody sees it end, so its session trusts no
/// replica any longer.
pub(crate) async fn begin_unseen<DB: Backend>(
    caller: Caller<'_, DB>,
) -> Result<sqlx::Transaction<'static, DB>, Error> {
    let found = connect_until(&caller, patience(&caller)).await?;
    if let Some(session) = caller.session {
        session.bind_to_primary();
        observe::session_bound();
    }
    found.route(Reason::Write);
    let Leased { node, lease } = found.leased;
    let (on, until) = (found.on, patience(&caller));
    let begun = tokio::select! {
        biased;
        begun = begin_on(lease, None) => begun,
        () = deposed(caller.shared, on) => Err(fallen_silent()),
        () = passed(until) => Err(fallen_silent()),
    };
    begun
        .map(|(transaction, _lease)| transaction)
        .map_err(|error| account(caller.shared, &node, error))
}

/// Waits until another node is known to have been promoted after the timeline `on`: whoever still
/// waits for an answer of the old primary may wait for ever.
pub(crate) fn deposed<DB: Backend>(
    shared: &Shared<DB>,
    on: Option<Timeline>,
) -> impl Future<Output = ()> + '_ {
    end_of(shared, Run::Primary(on))
}

/// Waits until the monitor has looked again at a node that refused to write, and says whether that is
/// because it is the primary no longer, or not for now.
pub(crate) async fn is_deposed<DB: Backend>(shared: &Shared<DB>, node: &str) -> bool {
    let Some(id) = shared.named(node).map(|node| node.id) else {
        return false;
    };
    let asked = clock::now();
    shared.orders.give(Command::Suspect(id));
    let mut published = shared.published.watch();
    let until = asked.after(shared.policy().probe_timeout);
    wait_for_news(shared, &mut published, (id, asked), until).await;
    let snapshot = shared.published.load();
    snapshot.primary != Some(id) || snapshot.primary_lost.is_some()
}

/// A connection that may be written on.
struct Found<DB: Backend> {
    leased: Leased<DB>,
    /// The timeline that its node is known to write.
    on: Option<Timeline>,
    /// How long there was none to be had.
    waited: Duration,
}

impl<DB: Backend> Found<DB> {
    fn route(&self, reason: Reason) -> Route {
        let route = Route {
            node: Arc::clone(self.leased.node.name()),
            role: Role::Primary,
            reason,
            staleness: Duration::ZERO,
            waited: self.waited,
            retried: false,
            dry: None,
        };
        self.leased.node.chosen(&route);
        route
    }
}

async fn connect_until<DB: Backend>(
    caller: &Caller<'_, DB>,
    until: Instant,
) -> Result<Found<DB>, Error> {
    caller.begun.admit()?;
    caller.rules.admit_write()?;
    let on = || caller.shared.published.load().timeline;
    let mut waited = Duration::ZERO;
    loop {
        let before = on();
        let session = caller.session;
        let until = (until, caller.rules.deadline.unwrap_or(Instant::NEVER));
        let leased = connect_primary(caller.shared, session, until, &mut waited).await?;
        // A timeline that began meanwhile is not known to be that of the connection.
        let after = on();
        if before == after || before.is_none() {
            return Ok(Found {
                leased,
                on: after,
                waited,
            });
        }
    }
}

fn patience<DB: Backend>(caller: &Caller<'_, DB>) -> Instant {
    let until = clock::now().after(caller.shared.policy().write_wait);
    until.min(caller.rules.deadline.unwrap_or(Instant::NEVER))
}

/// Borrows a connection of the node that accepts writes. While there is none, or it cannot be
/// reached, this waits for one until `until`, and adds up how long; for its turn in a pool that is busy,
/// not beyond `deadline`.
pub(super) async fn connect_primary<DB: Backend>(
    shared: &Arc<Shared<DB>>,
    session: Option<&Arc<SessionState>>,
    (until, deadline): (Instant, Instant),
    waited: &mut Duration,
) -> Result<Leased<DB>, Error> {
    let mut suspected = false;
    let mut published = shared.published.watch();
    let mut failure = None;
    let asked_at = clock::now();
    loop {
        if shared.tasks.is_closed() {
            return Err(Error::closed());
        }
        let found = primary_for(shared, session, &mut suspected);
        let began = clock::now();
        let asked = match &found {
            None => None,
            Some(node) => match attempt(shared, node, (until, deadline)).await {
                Ok(leased) => {
                    *waited += began.since(asked_at);
                    return Ok(leased);
                }
                Err(Obstacle::Moved) => continue,
                Err(Obstacle::Final(error)) => return Err(error),
                Err(Obstacle::Passing(error)) => {
                    failure = Some(error);
                    Some((node.id, began))
                }
            },
        };
        if clock::now() >= until {
            return Err(failure.unwrap_or_else(Error::no_primary));
        }
        match asked {
            Some(asked) => wait_for_news(shared, &mut published, asked, until).await,
            None => wait_for_change(shared, &mut published, until).await,
        }
    }
}

/// Why there is no connection.
enum Obstacle {
    /// Another node is the primary now, or the one that was lost is back.
    Moved,
    /// It will not go away.
    Final(Error),
    /// It may go away.
    Passing(Error),
}

/// Tries to borrow a connection of a node for as long as it is the primary.
async fn attempt<DB: Backend>(
    shared: &Arc<Shared<DB>>,
    node: &Arc<Node<DB>>,
    (until, deadline): (Instant, Instant),
) -> Result<Leased<DB>, Obstacle> {
    let late = || {
        // Both waits may end here, and that there is no primary says more.
        if shared.published.load().primary_lost.is_some() {
            return Obstacle::Passing(Error::no_primary());
        }
        Obstacle::Final(Error::on_node(node.name(), sqlx::Error::PoolTimedOut))
    };
    // A lease may be there at once, and nothing is to begin by then.
    if clock::now() >= deadline {
        return Err(late());
    }
    let lease = tokio::select! {
        biased;
        lease = node.lease() => lease,
        obstacle = gives_up(shared, node.id, until) => return Err(obstacle),
        () = passed(deadline) => return Err(late()),
    };
    let mut leased = match lease {
        Ok(lease) => Leased {
            node: Arc::clone(node),
            lease,
        },
        Err(error) => return Err(obstacle(shared, node, error)),
    };
    match confirm_primary(shared, &mut leased).await {
        Ok(()) => Ok(leased),
        Err(denied) => {
            leased.lease.discard();
            shared.orders.give(Command::Suspect(node.id));
            Err(match denied {
                Denied::Deposed => Obstacle::Passing(Error::no_primary()),
                Denied::Failed(error) => obstacle(shared, node, error),
            })
        }
    }
}

fn obstacle<DB: Backend>(
    shared: &Shared<DB>,
    node: &Arc<Node<DB>>,
    error: sqlx::Error,
) -> Obstacle {
    let is_busy = matches!(error, sqlx::Error::PoolTimedOut)
        && shared.published.load().primary_lost.is_none();
    let passes = matches!(DB::fault(&error), Fault::Node | Fault::Busy) && !is_busy;
    let error = account(shared, node, error);
    if passes {
        Obstacle::Passing(error)
    } else {
        Obstacle::Final(error)
    }
}

/// Waits until there is no sense in waiting for a connection of a node: it is the primary no longer,
/// it was lost and is back, so that a new connection can be had at once, or it is lost for too long.
async fn gives_up<DB: Backend>(shared: &Shared<DB>, node: NodeId, until: Instant) -> Obstacle {
    let mut published = shared.published.watch();
    let mut lost = false;
    loop {
        let snapshot = shared.published.load();
        let is_lost = snapshot.primary_lost.is_some();
        if snapshot.primary != Some(node) || (lost && !is_lost) {
            return Obstacle::Moved;
        }
        lost = is_lost;
        tokio::select! {
            () = published.changed() => {}
            () = tokio::time::sleep(clock::until(until)), if lost => {
                return Obstacle::Passing(Error::no_primary());
            }
        }
    }
}

/// The node that may be written on, as far as is known. One that cannot be asked is still tried: the
/// way from here to its pool may be better than the monitor's.
///
/// A token can be of a later timeline than any seen here: then the node known as the primary has been
/// deposed, and is asked again at once. Nothing is written on it.
fn primary_for<DB: Backend>(
    shared: &Arc<Shared<DB>>,
    session: Option<&Arc<SessionState>>,
    suspected: &mut bool,
) -> Option<Arc<Node<DB>>> {
    let snapshot = shared.published.load();
    let id = snapshot.primary?;
    if session.is_some_and(|session| is_ahead(&snapshot, session)) {
        // Once is enough: each time makes the monitor look, and whoever waits look again.
        if !std::mem::replace(suspected, true) {
            shared.orders.give(Command::Suspect(id));
        }
        return None;
    }
    shared.node(id)
}

pub(super) fn is_ahead(snapshot: &Snapshot, session: &Arc<SessionState>) -> bool {
    let position = session.floor_under(snapshot).needed_position();
    position.is_some_and(|position| snapshot.place(position, Instant::NEVER) == Place::Ahead)
}

/// Waits for the next snapshot.
async fn wait_for_change<DB: Backend>(
    shared: &Shared<DB>,
    published: &mut Watcher,
    until: Instant,
) {
    tokio::select! {
        () = published.changed() => {}
        () = shared.tasks.cancelled() => {}
        () = tokio::time::sleep(clock::until(until)) => {}
    }
}

/// Waits until a node was asked anew after an instant, or is the primary no longer.
async fn wait_for_news<DB: Backend>(
    shared: &Shared<DB>,
    published: &mut Watcher,
    (node, since): (NodeId, Instant),
    until: Instant,
) {
    let is_news = || {
        let snapshot = shared.published.load();
        let view = snapshot.node(node);
        snapshot.primary != Some(node)
            || view.is_none_or(|view| view.observed_at.is_some_and(|at| at > since))
    };
    while !is_news() && clock::now() < until && !shared.tasks.is_closed() {
        wait_for_change(shared, published, until).await;
    }
}

/// Waits until a primary is known and can be asked, or `until` has come, and adds up how long. Says
/// whether there is one.
pub(super) async fn await_primary<DB: Backend>(
    shared: &Shared<DB>,
    until: Instant,
    waited: &mut Duration,
) -> bool {
    let mut published = shared.published.watch();
    let began = clock::now();
    let is_there = || {
        let snapshot = shared.published.load();
        snapshot.primary.is_some() && snapshot.primary_lost.is_none()
    };
    while !is_there() && clock::now() < until && !shared.tasks.is_closed() {
        wait_for_change(shared, &mut published, until).await;
    }
    *waited += clock::now().since(began);
    is_there()
}

/// Accounts for an error of a node.
pub(super) fn account<DB: Backend>(
    shared: &Shared<DB>,
    node: &Arc<Node<DB>>,
    error: sqlx::Error,
) -> Error {
    let fault = DB::fault(&error);
    if fault == Fault::Node {
        node.cool();
        shared.orders.give(Command::Suspect(node.id));
    }
    if matches!(fault, Fault::Node | Fault::Busy | Fault::Conflict) {
        observe::node_failed(node.name());
    }
    Error::on_node(node.name(), error)
}
