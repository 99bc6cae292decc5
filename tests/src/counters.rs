//! Counts what is reported through the `metrics` facade, for a test to look at.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// The counters of this process.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Counters {
    /// Counts from now on. There is one recorder in a process, so tests tell their counters apart by
    /// the names of their nodes.
    #[must_use]
    pub fn install() -> Self {
        static INSTALLED: OnceLock<Counters> = OnceLock::new();
        let counters = INSTALLED.get_or_init(|| {
            let counters = Self::default();
            if metrics::set_global_recorder(counters.clone()).is_err() {
                tracing::error!("somebody else counts already");
            }
            counters
        });
        counters.clone()
    }

    /// The sum of a counter over all its labels of which one of the given has each value.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = labels.iter().map(|(key, value)| format!(" {key}={value}"));
        let labels: Vec<String> = labels.collect();
        let meant = |key: &&String| {
            key.split(' ').next() == Some(name)
                && labels.iter().all(|label| key.contains(label.as_str()))
        };
        let found = counters.keys().filter(meant);
        found
            .filter_map(|key| counters.get(key))
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Counter::from_arc(Arc::clone(counters.entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
