//! What a router says of its nodes, and waits for it to say something.
//!
//! Every wait is for a condition and has a deadline; when that passes, the error says what was waited
//! for and what the router said last.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lagwise::{Cause, Event, Happened, NodeView, PgRouter, Snapshot};
use tokio::task::JoinSet;

use crate::cluster::PATIENCE;
use crate::{Outcome, fail};

/// Waits until a condition holds; an error of the condition counts as "not yet".
pub async fn until(
    what: &str,
    patience: Duration,
    mut condition: impl AsyncFnMut() -> Outcome<bool>,
) -> Outcome {
    let deadline = lagwise::now().after(patience);
    loop {
        let left = deadline.since(lagwise::now());
        let last = match tokio::time::timeout(left, condition()).await {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => String::new(),
            Ok(Err(error)) => format!(", last of all {error}"),
            Err(_) => ", and the condition itself did not return".to_owned(),
        };
        if lagwise::now() >= deadline {
            return fail(format!("waited {patience:?} in vain: {what}{last}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until the router's snapshot fulfills a condition, and returns it.
pub async fn snapshot_where(
    router: &PgRouter,
    what: &str,
    condition: impl Fn(&Snapshot) -> bool,
) -> Outcome<Arc<Snapshot>> {
    let waited = until(what, PATIENCE, async || Ok(condition(&router.snapshot()))).await;
    match waited {
        Ok(()) => Ok(router.snapshot()),
        Err(error) => fail(format!("{error}\n{}", describe(&router.snapshot()))),
    }
}

/// Waits until a node is out of rotation for that cause.
pub async fn ejected(router: &PgRouter, node: &str, cause: Cause) -> Outcome {
    let what = format!("{node} is ejected as {cause}");
    snapshot_where(router, &what, |snapshot| {
        view(snapshot, node).membership.cause() == Some(cause)
    })
    .await?;
    Ok(())
}

/// Waits until a node takes reads.
pub async fn readmitted(router: &PgRouter, node: &str) -> Outcome {
    let what = format!("{node} is in rotation");
    snapshot_where(router, &what, |snapshot| {
        view(snapshot, node).membership.is_in_rotation()
    })
    .await?;
    Ok(())
}

/// Waits until writes go to that node.
pub async fn primary_is(router: &PgRouter, node: &str) -> Outcome {
    let what = format!("{node} is the primary");
    snapshot_where(router, &what, |snapshot| {
        let primary = snapshot.primary.and_then(|id| snapshot.node(id));
        primary.is_some_and(|primary| &*primary.spec.name == node)
            && snapshot.primary_lost.is_none()
    })
    .await?;
    Ok(())
}

/// The node of that name.
///
/// # Panics
/// If there is none: the test is wrong.
#[must_use]
pub fn view<'a>(snapshot: &'a Snapshot, node: &str) -> &'a NodeView {
    let named = snapshot.present().find(|view| &*view.spec.name == node);
    named.expect("the router has a node of every name that a test asks for")
}

/// Looks at the router once for each answer of a node, as often as `answers` says.
pub async fn each_poll(
    router: &PgRouter,
    node: &str,
    answers: usize,
    mut look: impl FnMut(&Snapshot),
) -> Outcome {
    let mut seen = view(&router.snapshot(), node).observed_at;
    for _ in 0..answers {
        let before = seen;
        let next = snapshot_where(router, &format!("{node} answers again"), |snapshot| {
            view(snapshot, node).observed_at > before
        })
        .await?;
        seen = view(&next, node).observed_at;
        look(&next);
    }
    Ok(())
}

/// The nodes in one line each, for messages.
#[must_use]
pub fn describe(snapshot: &Snapshot) -> String {
    let now = lagwise::now();
    snapshot.present().fold(String::new(), |mut text, node| {
        let staleness = node.staleness(now);
        let (name, role, place) = (&node.spec.name, node.role, node.membership);
        writeln!(
            text,
            "  {name}: {role:?}, {place:?}, staleness {staleness:?}"
        )
        .ok();
        text
    })
}

/// Everything that happens to a cluster from the moment this is made.
#[derive(Debug)]
pub struct Diary {
    entries: Arc<Mutex<Vec<Happened>>>,
    _reading: JoinSet<()>,
}

impl Diary {
    /// Begins to write down the events of a router.
    #[must_use]
    pub fn begin(router: &PgRouter) -> Self {
        let entries = Arc::new(Mutex::new(Vec::new()));
        let mut events = router.events();
        let mut reading = JoinSet::new();
        let pages = Arc::clone(&entries);
        reading.spawn(async move {
            while let Some(happened) = events.next().await {
                let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
                pages.push(happened);
            }
        });
        Self {
            entries,
            _reading: reading,
        }
    }

    /// All events so far.
    #[must_use]
    pub fn entries(&self) -> Vec<Happened> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clone()
    }

    /// How often a node was ejected, and how often it was readmitted.
    #[must_use]
    pub fn moves_of(&self, node: &str) -> (usize, usize) {
        let entries = self.entries();
        let of_node = || {
            let named = |happened: &&Happened| happened.node.as_deref() == Some(node);
            entries.iter().filter(named)
        };
        let ejected = of_node().filter(|happened| matches!(happened.event, Event::Ejected { .. }));
        let back = of_node().filter(|happened| matches!(happened.event, Event::Readmitted { .. }));
        (ejected.count(), back.count())
    }

    /// Waits until an event of a node is there.
    pub async fn wait_for(&self, node: &str, wanted: impl Fn(&Event) -> bool) -> Outcome {
        let found = async || {
            Ok(self
                .entries()
                .iter()
                .any(|happened| happened.node.as_deref() == Some(node) && wanted(&happened.event)))
        };
        let waited = until("an event happens", PATIENCE, found).await;
        waited.or_else(|error| fail(format!("{error}\n{self}")))
    }
}

impl std::fmt::Display for Diary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for happened in self.entries() {
            writeln!(f, "  {happened}")?;
        }
        Ok(())
    }
}

/// Short enough not to be felt, long enough not to load the machine with questions.
const PAUSE: Duration = Duration::from_millis(3);
