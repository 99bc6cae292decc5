//! Whether a connection leads to the node that accepts writes.
//!
//! A server cannot become a replica without a restart, which breaks its connections: so one that is
//! older than the monitor's last word that its node is the primary still leads there. A younger one
//! may lead to a server that was demoted since, or to another one at the same address; it is asked
//! itself, and nothing is written unless it says that it is the primary of the timeline that is known.

use lagwise_core::Standing;

use super::run::fallen_silent;
use crate::backend::{Backend, Reading};
use crate::lease::Leased;
use crate::shared::Shared;

/// Why nothing may be written on a connection.
#[derive(Debug)]
pub(super) enum Denied {
    /// It does not lead to the primary that is known.
    Deposed,
    /// It failed.
    Failed(sqlx::Error),
}

/// Confirms that a connection leads to the node that accepts writes.
pub(super) async fn confirm_primary<DB: Backend>(
    shared: &Shared<DB>,
    leased: &mut Leased<DB>,
) -> Result<(), Denied> {
    if is_known(shared, leased) {
        return Ok(());
    }
    // A server that hangs says nothing, and must not be waited for.
    let asked = DB::ask_once(&mut leased.lease);
    let timeout = shared.policy().probe_timeout;
    let reading = tokio::time::timeout(timeout, asked)
        .await
        .unwrap_or_else(|_| Err(fallen_silent()))
        .map_err(Denied::Failed)?;
    if is_primary(shared, &reading) {
        leased.lease.vouch();
        Ok(())
    } else {
        leased.node.tenure.doubt();
        Err(Denied::Deposed)
    }
}

fn is_known<DB: Backend>(shared: &Shared<DB>, leased: &Leased<DB>) -> bool {
    let snapshot = shared.published.load();
    let id = leased.node.id;
    let known = snapshot.primary == Some(id) && snapshot.primary_lost.is_none();
    let observed_at = snapshot.node(id).and_then(|node| node.observed_at);
    known && observed_at.is_some_and(|at| leased.lease.connected_by() <= at)
}

/// A later timeline than any that is known waits for the monitor to know it, too.
fn is_primary<DB: Backend>(shared: &Shared<DB>, reading: &Reading) -> bool {
    let snapshot = shared.published.load();
    let Standing::Primary {
        timeline,
        writable: true,
        ..
    } = reading.standing
    else {
        return false;
    };
    snapshot.system.is_none_or(|ours| ours == reading.system)
        && snapshot.timeline.is_none_or(|known| known == timeline)
}
