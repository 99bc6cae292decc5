//! The same as JSON, for whoever compares runs: every time that was taken, and every breach.

use std::time::Duration;

use serde_json::{Value, json};

use super::Counts;
use crate::checker::{Breach, Guarantee};
use crate::run::{Phase, Record};
use crate::times::Times;

/// A record, for programs.
#[must_use]
pub fn json(record: &Record) -> Value {
    let verdict = &record.verdict;
    let phases = record.phases.iter().map(|phase| of_phase(record, phase));
    json!({
        "seed": record.plan.seed,
        "instances": record.plan.instances,
        "sessions": record.plan.sessions,
        "max_lag_ms": millis(record.plan.max_lag),
        "operations": verdict.operations,
        "writes": verdict.writes,
        "reads": verdict.reads,
        "reads_off_primary": verdict.off_primary,
        "refused": verdict.failed,
        "unknown": verdict.unknown,
        "lost_by_failovers": verdict.lost_by_cluster,
        "reads_that_missed_those": verdict.missed_lost,
        "back_to_primary": verdict.back_to_primary,
        "longest_ms": millis(verdict.longest),
        "phases": phases.collect::<Vec<_>>(),
        "breaches": verdict.breaches.iter().map(of_breach).collect::<Vec<_>>(),
    })
}

fn of_phase(record: &Record, phase: &Phase) -> Value {
    let counts = Counts::of(record, phase);
    let named = Guarantee::ALL.iter().zip(counts.breaches);
    let named = named.map(|(guarantee, count)| (guarantee.short().to_owned(), json!(count)));
    let [noticed, well] = record.times(phase);
    json!({
        "fault": phase.name,
        "from_ms": millis(phase.from),
        "until_ms": millis(phase.until),
        "operations": counts.operations,
        "errors": counts.errors,
        "breaches": Value::Object(named.collect()),
        "off_primary_percent": record.share(phase),
        "noticed": of_times(&noticed),
        "well_again": of_times(&well),
    })
}

fn of_times(times: &Times) -> Value {
    let taken: Vec<Value> = times.taken.iter().map(|time| millis(*time)).collect();
    json!({ "ms": taken, "missing": times.missing })
}

fn of_breach(breach: &Breach) -> Value {
    json!({
        "guarantee": breach.guarantee.short(),
        "what": breach.what,
        "session": breach.entry.session,
        "entry": breach.entry.to_string(),
    })
}

fn millis(time: Duration) -> Value {
    json!(time.as_secs_f64() * 1e3)
}
