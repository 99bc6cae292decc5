//! What whoever runs an instance asks of it: how it is, and what it counted.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use lagwise::PgRouter;
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

/// Puts what was measured into its buckets, lest it pile up while nobody asks.
pub(crate) fn tidy() {
    if let Some(counted) = COUNTED.get().and_then(Option::as_ref) {
        counted.run_upkeep();
    }
}

/// `GET /metrics`
pub(crate) async fn metrics() -> impl IntoResponse {
    let counted = COUNTED.get().and_then(Option::as_ref);
    let text = counted.map(PrometheusHandle::render).unwrap_or_default();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], text)
}

/// Who can say how an instance is.
#[derive(Clone)]
pub(crate) struct Health {
    db: PgRouter,
    table: Arc<AtomicBool>,
}

impl Health {
    pub(crate) fn of(db: PgRouter) -> Self {
        let table = Arc::default();
        Self { db, table }
    }

    /// Whether the table was ever there, as the primary has it.
    async fn has_table(&self) -> bool {
        if self.table.load(Ordering::Relaxed) {
            return true;
        }
        let look = sqlx::query_scalar("select to_regclass('notes') is not null");
        let seen = look.fetch_one(&self.db).await.unwrap_or(false);
        self.table.fetch_or(seen, Ordering::Relaxed);
        seen
    }
}

/// `GET /healthz`: 200, or 503 with what is missing.
pub(crate) async fn health(State(health): State<Health>) -> (StatusCode, &'static str) {
    let snapshot = health.db.snapshot();
    if snapshot.primary.is_none() || snapshot.primary_lost.is_some() {
        return (StatusCode::SERVICE_UNAVAILABLE, "no node takes writes\n");
    }
    if !health.has_table().await {
        let missing = "the table of notes is not there\n";
        return (StatusCode::SERVICE_UNAVAILABLE, missing);
    }
    (StatusCode::OK, "ok\n")
}

/// From a probe on the same machine to a wait that was in vain.
const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];
