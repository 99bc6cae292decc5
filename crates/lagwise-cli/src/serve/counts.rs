//! How often each thing has happened to the cluster.
//!
//! The names are the same as those of a service's own counters: `lagwise_events_total`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lagwise::{Event, Events, Happened};

/// Counts by what happened, to whom and why; empty where there is no whom or why.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<Key, u64>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) node: Option<Arc<str>>,
    pub(super) event: &'static str,
    pub(super) cause: &'static str,
}

impl Counts {
    pub(super) fn all(&self) -> Vec<(Key, u64)> {
        let counts = self.lock();
        counts
            .iter()
            .map(|(key, count)| (key.clone(), *count))
            .collect()
    }

    fn count(&self, happened: &Happened) {
        let cause = match happened.event {
            Event::Ejected { cause, .. } | Event::Readmitted { after: cause, .. } => cause.as_str(),
            _ => "",
        };
        let key = Key {
            node: happened.node.clone(),
            event: happened.event.as_str(),
            cause,
        };
        *self.lock().entry(key).or_insert(0) += 1;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts until the router is closed.
pub(super) async fn run(counts: Arc<Counts>, mut events: Events) {
    while let Some(happened) = events.next().await {
        counts.count(&happened);
    }
}
