//! The same calls as `metrics`, for builds without that feature.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Instant, ProbeFailure, Reason, Snapshot};

use crate::events::Happened;
use crate::route::{DryRoute, Route};

pub(super) fn routed(_: &Route) {}

pub(super) fn tallied(_: &Arc<str>, _: Reason, _: u64) {}

pub(super) fn foreseen(_: &DryRoute) {}

pub(super) fn refused(_: &'static str) {}

pub(super) fn budget(_: u32, _: usize) {}

pub(super) fn retried(_: &Arc<str>) {}

pub(super) fn hedged(_: &Arc<str>) {}
pub(super) fn hedge_won(_: &Arc<str>) {}
pub(super) fn conflicted(_: &Arc<str>) {}

pub(super) fn node_failed(_: &Arc<str>) {}

pub(super) fn statement_refused(_: &Arc<str>) {}

pub(super) fn session_bound() {}

pub(super) fn catalog_read(_: &'static str) {}

pub(super) fn token_received(_: &'static str) {}
pub(super) fn token_voided(_: &'static str) {}
pub(super) fn token_issued(_: &'static str) {}
pub(super) fn store_asked(_: &'static str, _: Duration) {}
pub(super) fn store_failed(_: &'static str) {}
pub(super) fn session_recalled(_: &'static str) {}
pub(super) fn captured(_: &'static str) {}
pub(super) fn capture_asked(_: Duration) {}
pub(super) fn job_resumed(_: &'static str, _: &'static str) {}
pub(super) fn crowded() {}
pub(super) fn doubted(_: &Arc<str>) {}

pub(super) fn probed(_: &Arc<str>, _: Duration, _: Option<ProbeFailure>) {}

pub(super) fn in_use(_: &Arc<str>, _: u32, _: u32, _: u32) {}

pub(super) fn happened(_: &Happened) {}

pub(super) fn published(_: &Snapshot, _: Instant) {}
