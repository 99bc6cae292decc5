//! What `/metrics` answers: everything that was counted in this process, in the text of Prometheus.
//!
//! The `metrics` facade has one recorder in a process, so that several instances in one, as in tests,
//! are counted together.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

static COUNTED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to count. Who has installed a recorder before keeps it, and there is nothing to show here.
pub(crate) fn begin() {
    COUNTED.get_or_init(|| {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &SECONDS);
        builder.ok()?.install_recorder().ok()
    });
}

/// All of it, as of now.
pub(crate) fn text() -> String {
    let counted = COUNTED.get().and_then(Option::as_ref);
    counted.map(PrometheusHandle::render).unwrap_or_default()
}

/// Puts what was measured into its buckets, lest it pile up while nobody asks.
pub(crate) fn tidy() {
    if let Some(counted) = COUNTED.get().and_then(Option::as_ref) {
        counted.run_upkeep();
    }
}

/// From a probe on the same machine to a wait that was in vain.
const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];
