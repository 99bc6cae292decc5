//! Asks the servers, every few seconds, what the monitor does not.
//!
//! Each on a connection of its own and for itself, so that one that hangs delays nobody. What a server
//! did not say in the last round is not said of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lagwise::Instant;
use lagwise::config::Config;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::vitals::{Vitals, VitalsProbe};

/// What each server said in the last round, by the name of its node.
#[derive(Debug, Default)]
pub(super) struct Rounds(Mutex<BTreeMap<Arc<str>, Said>>);

/// What a server said, and when.
type Said = (Instant, Vitals);

impl Rounds {
    pub(super) fn of(&self, node: &str) -> Option<Vitals> {
        let (at, mut vitals) = self.lock().get(node).cloned()?;
        // Silence goes on between two rounds.
        let since = lagwise::now().since(at).as_secs_f64();
        vitals.heard_seconds_ago = vitals.heard_seconds_ago.map(|ago| ago + since);
        Some(vitals)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks until it is dropped.
pub(super) async fn run(rounds: Arc<Rounds>, config: &Config) {
    let mut nodes = JoinSet::new();
    for node in config.nodes() {
        let name: Arc<str> = node.name().into();
        let probe = VitalsProbe::new(node.options(), PATIENCE);
        nodes.spawn(ask(Arc::clone(&rounds), name, probe));
    }
    // None of them ends.
    nodes.join_all().await;
}

async fn ask(rounds: Arc<Rounds>, name: Arc<str>, mut probe: VitalsProbe) {
    loop {
        // A server that has failed says so by what the monitor knows of it.
        let said = probe.ask(PATIENCE).await.ok();
        match said {
            Some(vitals) => rounds
                .lock()
                .insert(Arc::clone(&name), (lagwise::now(), vitals)),
            None => rounds.lock().remove(&name),
        };
        sleep(INTERVAL).await;
    }
}

/// Nobody graphs connections by the second, and a scrape comes every 15.
const INTERVAL: Duration = Duration::from_secs(5);

const PATIENCE: Duration = Duration::from_secs(2);
