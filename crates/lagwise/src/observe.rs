//! What the router tells the world about itself: metrics, spans and log lines, by reason.
//!
//! Every metric is listed in `docs/metrics.md`. Labels are names of nodes and of reasons, which are
//! few; never a text that a client sent. Without the feature `metrics` the same calls do nothing.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "observe/metrics_off.rs"]
mod metrics;

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Because, Claim, Event, Instant, ProbeFailure, Redacted, Snapshot, Voided};

use crate::backend::Backend;
use crate::events::Happened;
use crate::job::Consistency;
use crate::node::Node;
use crate::route::{DryRoute, Route};
use crate::router::Shutdown;
use crate::store::StoreError;
use crate::token::TokenFault;

/// Whether anybody wants to see the spans of requests.
pub(crate) fn traces_routes() -> bool {
    tracing::enabled!(target: "lagwise::route", tracing::Level::DEBUG)
}

/// A handle or a transaction was routed. The span of the request says where to.
pub(crate) fn routed(route: &Route) {
    if tracing::dispatcher::has_been_set() {
        show_in_span(route);
    }
    metrics::routed(route);
}

fn show_in_span(route: &Route) {
    let span = tracing::Span::current();
    span.record("lagwise.node", &*route.node);
    span.record("lagwise.reason", route.reason.as_str());
    tracing::trace!(
        target: "lagwise::route",
        node = %route.node,
        role = %route.role,
        reason = %route.reason,
        staleness = ?route.staleness,
        waited = ?route.waited,
        retried = route.retried,
        "routed"
    );
}

/// How often each node was chosen since the last time, and why.
pub(crate) fn tallied<'a, DB: Backend>(nodes: impl IntoIterator<Item = &'a Arc<Node<DB>>>) {
    for node in nodes {
        for (reason, count) in node.tally.untold() {
            metrics::tallied(node.name(), reason, count);
        }
    }
}

/// In dry mode a read would have gone there. The span of the request says so.
pub(crate) fn foreseen(dry: &DryRoute) {
    let span = tracing::Span::current();
    span.record("lagwise.dry", tracing::field::display(dry));
    tracing::trace!(target: "lagwise::route", %dry, "where a read would have gone");
    metrics::foreseen(dry);
}

/// A read was refused.
pub(crate) fn refused(cause: &'static str) {
    tracing::debug!(target: "lagwise::route", cause, "a read was refused");
    metrics::refused(cause);
}

/// So many reads have fallen back to the primary, and so many wait for their turn.
pub(crate) fn budget(out: u32, waiting: usize) {
    metrics::budget(out, waiting);
}

/// A read failed on a node and goes on elsewhere.
pub(crate) fn retried(node: &Arc<str>) {
    tracing::debug!(target: "lagwise::route", node = %node, "a read goes on elsewhere");
    metrics::retried(node);
}

/// A read whose answer is late is asked of another node as well.
pub(crate) fn hedged(node: &Arc<str>) {
    tracing::trace!(target: "lagwise::route", node = %node, "a second attempt begins");
    metrics::hedged(node);
}

/// A second attempt was answered first.
pub(crate) fn hedge_won(node: &Arc<str>) {
    metrics::hedge_won(node);
}

/// Replay canceled a read on a replica.
pub(crate) fn conflicted(node: &Arc<str>) {
    tracing::debug!(target: "lagwise::route", node = %node, "replay canceled a read");
    metrics::conflicted(node);
}

/// A node failed a request: it could not be connected to, was lost, or would not serve now.
pub(crate) fn node_failed(node: &Arc<str>) {
    metrics::node_failed(node);
}

/// A replica refused a statement as a write; it goes on on the primary.
pub(crate) fn statement_refused(node: &Arc<str>) {
    tracing::debug!(target: "lagwise::route", node = %node, "a replica refused a statement");
    metrics::statement_refused(node);
}

/// A refused statement is remembered. Its text is not shown as it is: it may hold what a client sent.
pub(crate) fn refusal_learned(node: &Arc<str>, sql: &str) {
    let statement = Redacted::new(sql);
    tracing::warn!(
        target: "lagwise::route",
        node = %node,
        %statement,
        "a statement that looked like a read was refused as a write: from now on it goes to the \
         primary"
    );
}

/// A statement that is bound to a connection was run on whichever one there was.
pub(crate) fn bound_statement(because: &Because<'_>) {
    tracing::warn!(
        target: "lagwise::route",
        %because,
        "a statement that is bound to its connection was run as on a pool: use write() or begin()"
    );
}

/// A session is kept on the primary from now on, because of what nobody here sees the end of.
pub(crate) fn session_bound() {
    tracing::debug!(target: "lagwise::route", "a session stays on the primary: its pool was used");
    metrics::session_bound();
}

/// The database's objects have changed.
pub(crate) fn catalog_changed(node: &Arc<str>, objects: usize) {
    tracing::debug!(target: "lagwise::cluster", node = %node, objects, "the catalog was read");
    metrics::catalog_read("changed");
}

/// The database's objects could not be read.
pub(crate) fn catalog_failed(node: &Arc<str>, error: &sqlx::Error) {
    tracing::warn!(target: "lagwise::cluster", node = %node, %error, "the catalog cannot be read");
    metrics::catalog_read("failed");
}

/// A token came in.
pub(crate) fn token_received(outcome: Result<(), TokenFault>) {
    let outcome = match outcome {
        Ok(()) => "accepted",
        Err(fault) => fault.as_str(),
    };
    tracing::trace!(target: "lagwise::session", outcome, "a token came in");
    metrics::token_received(outcome);
}

/// The position that a session brought with it counts no longer.
pub(crate) fn position_voided(voided: Voided) {
    match voided {
        Voided::Lost => {
            tracing::warn!(
                target: "lagwise::session",
                "a session may have lost writes: they are not proved to be on the timeline that is \
                 written now"
            );
            metrics::token_voided("lost");
        }
        Voided::Foreign => metrics::token_voided("foreign"),
        _ => metrics::token_voided("beyond"),
    }
}

/// A session leaves the process.
pub(crate) fn token_issued(claim: &Claim) {
    let says = if claim.uncaptured {
        "uncaptured"
    } else if claim.lsn.is_some() {
        "position"
    } else {
        "reads"
    };
    metrics::token_issued(says);
}

/// A store of sessions was asked to load or to raise one.
pub(crate) fn store_asked(op: &'static str, took: Duration) {
    metrics::store_asked(op, took);
}

/// A store of sessions failed.
pub(crate) fn store_failed(op: &'static str, error: &StoreError) {
    let cause = std::error::Error::source(error);
    tracing::debug!(target: "lagwise::session", op, cause, "{error}");
    metrics::store_failed(op);
}

/// A session was fetched from a store, or not.
pub(crate) fn session_recalled(outcome: &'static str) {
    tracing::trace!(target: "lagwise::session", outcome, "a session was asked of its store");
    metrics::session_recalled(outcome);
}

/// A session wanted to know where the primary stands.
pub(crate) fn captured(in_time: bool) {
    metrics::captured(if in_time { "captured" } else { "missed" });
}

/// The primary was asked where it stands, for so many.
pub(crate) fn capture_asked(took: Duration, askers: usize) {
    tracing::trace!(target: "lagwise::session", ?took, askers, "the primary was asked for its position");
    metrics::capture_asked(took);
}

/// A job was taken up, or put back.
pub(crate) fn job_resumed(consistency: Consistency, outcome: &'static str) {
    let consistency = consistency.as_str();
    tracing::debug!(target: "lagwise::session", consistency, outcome, "a job was taken up");
    metrics::job_resumed(consistency, outcome);
}

/// A read did not wait because too many do.
pub(crate) fn crowded() {
    metrics::crowded();
}

/// A connection did not show what its node was chosen for.
pub(crate) fn doubted(node: &Arc<str>) {
    tracing::debug!(target: "lagwise::route", node = %node, "a new connection is behind its node");
    metrics::doubted(node);
}

/// A probe ended.
pub(crate) fn probed(node: &Arc<str>, took: Duration, failure: Option<ProbeFailure>) {
    metrics::probed(node, took, failure);
}

/// Something happened to the cluster.
pub(crate) fn happened(happened: &Happened) {
    let alarming = matches!(
        happened.event,
        Event::Ejected { .. } | Event::PrimaryLost { .. } | Event::Rival { .. }
    );
    if alarming {
        warn(happened);
    } else {
        inform(happened);
    }
    metrics::happened(happened);
}

fn warn(happened: &Happened) {
    tracing::warn!(target: "lagwise::cluster", %happened, "the cluster changed");
}

fn inform(happened: &Happened) {
    tracing::info!(target: "lagwise::cluster", %happened, "the cluster changed");
}

/// The router was shut down, and this had not ended in time.
pub(crate) fn shut_down(left: Shutdown) {
    tracing::info!(
        target: "lagwise::cluster",
        connections = left.connections,
        requests = left.requests,
        "the router was shut down, and so much was still under way"
    );
}

/// How many leases and connections of a node are in use.
pub(crate) fn in_use<DB: Backend>(node: &Node<DB>) {
    let idle = node.idle();
    metrics::in_use(node.name(), node.load.in_flight(), node.pool.size(), idle);
}

/// A snapshot was published.
pub(crate) fn published(snapshot: &Snapshot, now: Instant) {
    metrics::published(snapshot, now);
}
