//! Whether an instance can do its work, for a balancer that asks often.
//!
//! The primary is what the router's monitor knows of anyway; the table is looked for until it was seen
//! once. So it costs next to nothing, and waits for no node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lagwise::PgRouter;
use serde::Serialize;
use tokio::time::timeout;

use crate::notes;

/// How long looking for the table may take.
const LOOK: Duration = Duration::from_millis(500);

/// Who can say how it is.
#[derive(Clone)]
pub(crate) struct Health {
    db: PgRouter,
    table: Arc<AtomicBool>,
}

/// How it is.
#[derive(Serialize)]
pub(crate) struct Report {
    status: &'static str,
    missing: Vec<&'static str>,
    replicas_in_rotation: usize,
}

impl Health {
    pub(crate) fn of(db: PgRouter) -> Self {
        let table = Arc::default();
        Self { db, table }
    }

    /// Whether the table was ever there.
    async fn has_table(&self) -> bool {
        if self.table.load(Ordering::Relaxed) {
            return true;
        }
        let seen = timeout(LOOK, notes::has_table(&self.db)).await;
        let seen = matches!(seen, Ok(Ok(true)));
        self.table.fetch_or(seen, Ordering::Relaxed);
        seen
    }
}

/// `GET /healthz`
pub(crate) async fn report(State(health): State<Health>) -> (StatusCode, Json<Report>) {
    let snapshot = health.db.snapshot();
    let has_primary = snapshot.primary.is_some() && snapshot.primary_lost.is_none();
    let mut missing = Vec::new();
    if !has_primary {
        missing.push("no node takes writes");
    } else if !health.has_table().await {
        missing.push("the table of notes is not there");
    }
    let (code, status) = match missing.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let report = Report {
        status,
        missing,
        replicas_in_rotation: snapshot.in_rotation(),
    };
    (code, Json(report))
}
