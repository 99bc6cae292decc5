//! Counters, gauges and histograms, in base units.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Event, Instant, ProbeFailure, Reason, Role, Snapshot};
use metrics::{SharedString, counter, gauge, histogram};

use crate::events::Happened;
use crate::route::{DryRoute, Route};

pub(super) fn routed(route: &Route) {
    let reason = route.reason.as_str();
    if !route.waited.is_zero() {
        histogram!("lagwise_route_wait_seconds", "reason" => reason)
            .record(route.waited.as_secs_f64());
    }
    if matches!(route.reason, Reason::Freshest | Reason::Panic) && route.is_proved() {
        histogram!("lagwise_route_staleness_seconds", "reason" => reason)
            .record(route.staleness.as_secs_f64());
    }
}

pub(super) fn tallied(node: &Arc<str>, reason: Reason, count: u64) {
    let role = match reason {
        Reason::Eligible | Reason::Freshest | Reason::Panic => Role::Replica,
        _ => Role::Primary,
    };
    counter!("lagwise_routes_total", "node" => label(node), "role" => role.as_str(), "reason" => reason.as_str())
        .increment(count);
}

pub(super) fn foreseen(dry: &DryRoute) {
    let node = dry.node().map_or(SharedString::const_str(""), label);
    let (role, reason) = (dry.role().map_or("", Role::as_str), dry.reason());
    counter!("lagwise_dry_routes_total", "node" => node, "role" => role, "reason" => reason)
        .increment(1);
    if let (DryRoute::Replica { .. }, Some(staleness)) = (dry, dry.staleness()) {
        histogram!("lagwise_dry_staleness_seconds", "reason" => reason)
            .record(staleness.as_secs_f64());
    }
}

pub(super) fn refused(cause: &'static str) {
    counter!("lagwise_reads_refused_total", "cause" => cause).increment(1);
}

pub(super) fn budget(out: u32, waiting: usize) {
    gauge!("lagwise_fallback_reads_in_flight").set(out);
    let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
    gauge!("lagwise_fallback_reads_queued").set(waiting);
}

pub(super) fn retried(node: &Arc<str>) {
    counter!("lagwise_reads_retried_total", "node" => label(node)).increment(1);
}

pub(super) fn hedged(node: &Arc<str>) {
    counter!("lagwise_hedges_started_total", "node" => label(node)).increment(1);
}

pub(super) fn hedge_won(node: &Arc<str>) {
    counter!("lagwise_hedges_won_total", "node" => label(node)).increment(1);
}

pub(super) fn conflicted(node: &Arc<str>) {
    counter!("lagwise_conflicts_total", "node" => label(node)).increment(1);
}

pub(super) fn node_failed(node: &Arc<str>) {
    counter!("lagwise_node_errors_total", "node" => label(node)).increment(1);
}

pub(super) fn statement_refused(node: &Arc<str>) {
    counter!("lagwise_statements_refused_total", "node" => label(node)).increment(1);
}

pub(super) fn session_bound() {
    counter!("lagwise_sessions_bound_total").increment(1);
}

pub(super) fn catalog_read(outcome: &'static str) {
    counter!("lagwise_catalog_reads_total", "outcome" => outcome).increment(1);
}

pub(super) fn token_received(outcome: &'static str) {
    counter!("lagwise_tokens_received_total", "outcome" => outcome).increment(1);
}

pub(super) fn token_voided(cause: &'static str) {
    counter!("lagwise_tokens_voided_total", "cause" => cause).increment(1);
}

pub(super) fn token_issued(says: &'static str) {
    counter!("lagwise_tokens_issued_total", "says" => says).increment(1);
}

pub(super) fn store_asked(op: &'static str, took: Duration) {
    histogram!("lagwise_store_duration_seconds", "op" => op).record(took.as_secs_f64());
}

pub(super) fn store_failed(op: &'static str) {
    counter!("lagwise_store_errors_total", "op" => op).increment(1);
}

pub(super) fn session_recalled(outcome: &'static str) {
    counter!("lagwise_sessions_recalled_total", "outcome" => outcome).increment(1);
}

pub(super) fn captured(outcome: &'static str) {
    counter!("lagwise_captures_total", "outcome" => outcome).increment(1);
}

pub(super) fn capture_asked(took: Duration) {
    histogram!("lagwise_capture_duration_seconds").record(took.as_secs_f64());
}

pub(super) fn job_resumed(consistency: &'static str, outcome: &'static str) {
    counter!("lagwise_jobs_total", "consistency" => consistency, "outcome" => outcome).increment(1);
}

pub(super) fn crowded() {
    counter!("lagwise_waits_skipped_total").increment(1);
}

pub(super) fn doubted(node: &Arc<str>) {
    counter!("lagwise_connections_doubted_total", "node" => label(node)).increment(1);
}

pub(super) fn probed(node: &Arc<str>, took: Duration, failure: Option<ProbeFailure>) {
    histogram!("lagwise_probe_duration_seconds", "node" => label(node)).record(took.as_secs_f64());
    if let Some(failure) = failure {
        counter!("lagwise_probe_failures_total", "node" => label(node), "failure" => failure.as_str())
            .increment(1);
    }
}

pub(super) fn in_use(node: &Arc<str>, leases: u32, connections: u32, idle: u32) {
    gauge!("lagwise_leases_in_flight", "node" => label(node)).set(leases);
    gauge!("lagwise_pool_connections", "node" => label(node)).set(connections);
    gauge!("lagwise_pool_connections_idle", "node" => label(node)).set(idle);
}

pub(super) fn happened(happened: &Happened) {
    let cause = match happened.event {
        Event::Ejected { cause, .. } | Event::Readmitted { after: cause, .. } => cause.as_str(),
        _ => "",
    };
    let node = happened
        .node
        .as_ref()
        .map_or(SharedString::const_str(""), label);
    counter!("lagwise_events_total", "node" => node, "event" => happened.event.as_str(), "cause" => cause)
        .increment(1);
    if let (Event::NodeRemoved { .. }, Some(node)) = (happened.event, &happened.node) {
        forget(node);
    }
}

/// A gauge cannot be taken back; one of a node that has gone must not go on saying that it serves.
fn forget(node: &Arc<str>) {
    for gone in ["lagwise_replica_in_rotation", "lagwise_node_is_primary"] {
        gauge!(gone, "node" => label(node)).set(0.0);
    }
    for unknown in [
        "lagwise_replica_staleness_bound_seconds",
        "lagwise_replica_lag_estimate_seconds",
        "lagwise_replica_lag_bytes",
    ] {
        gauge!(unknown, "node" => label(node)).set(f64::NAN);
    }
    in_use(node, 0, 0, 0);
}

pub(super) fn published(snapshot: &Snapshot, now: Instant) {
    for node in snapshot.present() {
        let name = label(&node.spec.name);
        let in_rotation = if node.membership.is_in_rotation() {
            1.0
        } else {
            0.0
        };
        gauge!("lagwise_replica_in_rotation", "node" => name.clone()).set(in_rotation);
        let is_primary = if snapshot.primary == Some(node.id) {
            1.0
        } else {
            0.0
        };
        gauge!("lagwise_node_is_primary", "node" => name.clone()).set(is_primary);
        // What is unknown is no number: zero would say "no lag".
        let seconds =
            |duration: Option<Duration>| duration.map_or(f64::NAN, |known| known.as_secs_f64());
        if snapshot.primary != Some(node.id) {
            gauge!("lagwise_replica_staleness_bound_seconds", "node" => name.clone())
                .set(seconds(node.staleness(now)));
            gauge!("lagwise_replica_lag_estimate_seconds", "node" => name.clone())
                .set(seconds(node.estimate));
            gauge!("lagwise_replica_lag_bytes", "node" => name)
                .set(node.bytes_behind.map_or(f64::NAN, as_float));
        }
    }
}

fn label(name: &Arc<str>) -> SharedString {
    SharedString::from_shared(Arc::clone(name))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge has 53 bits; lag below 8 PiB is exact"
)]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}
