//! Whether a connection shows what its node was chosen for.
//!
//! Replay only advances while a server runs on. A connection that is older than an observation of
//! its node has lived through it, so what was observed still holds on it. A younger one may lead to
//! a server that has crashed since and replays again from further back, or to another server at the
//! same address. It is asked itself, and trusted for what it says.

use lagwise_core::{Candidate, Lsn, Reached, Requirement, Sight, Standing, recheck, recheck_fresh};

use super::run::fallen_silent;
use crate::backend::Backend;
use crate::clock;
use crate::lease::Leased;
use crate::shared::Shared;

/// What a confirmed connection is proved to show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmed {
    pub(crate) sight: Sight,
    pub(crate) reached: Reached,
    /// The connection is younger than what is known of its node: what the session has read there
    /// before excuses nothing.
    pub(crate) fresh: bool,
}

/// Why a connection may not serve.
#[derive(Debug)]
pub(super) enum Doubt {
    /// It shows less than the read needs; the node is well.
    Behind,
    /// The node is not what it was when it was last observed.
    Changed,
    /// The connection failed.
    Failed(sqlx::Error),
}

/// Confirms that a connection shows what `candidate` was chosen for, now that it is there: getting it
/// may have taken a while.
pub(super) async fn confirm<DB: Backend>(
    shared: &Shared<DB>,
    leased: &mut Leased<DB>,
    candidate: Candidate,
    requirement: Requirement,
) -> Result<Confirmed, Doubt> {
    let snapshot = shared.published.load();
    let view = snapshot.node(candidate.node).ok_or(Doubt::Changed)?;
    let observed_at = view.observed_at.filter(|_| view.as_of.is_some());
    if leased.lease.connected_by() > observed_at.ok_or(Doubt::Changed)? {
        return confirm_fresh(shared, leased, candidate, requirement).await;
    }
    let sight = view.sight();
    recheck(&snapshot, candidate.node, &requirement, clock::now())
        .map(|reached| Confirmed {
            sight,
            reached,
            fresh: false,
        })
        .map_err(|_| Doubt::Behind)
}

/// Confirms a connection by what it says itself.
async fn confirm_fresh<DB: Backend>(
    shared: &Shared<DB>,
    leased: &mut Leased<DB>,
    candidate: Candidate,
    requirement: Requirement,
) -> Result<Confirmed, Doubt> {
    // A server that hangs says nothing, and must not be waited for.
    let mut unknown = None;
    let asked = DB::probe(&mut leased.lease, &mut unknown);
    let reading = tokio::time::timeout(shared.policy.probe_timeout, asked)
        .await
        .unwrap_or_else(|_| Err(fallen_silent()))
        .map_err(Doubt::Failed)?;
    // Taken after the question was answered, so that its samples reach past the answer.
    let snapshot = shared.published.load();
    let view = snapshot.node(candidate.node).ok_or(Doubt::Changed)?;
    let same_server =
        snapshot.system == Some(reading.system) && view.started == Some(reading.started);
    let replay: Lsn = match reading.standing {
        Standing::Replica {
            replay: Some(replay),
            paused: false,
        } if same_server => replay,
        Standing::Replica { .. } | Standing::Primary { .. } => return Err(Doubt::Changed),
    };
    let now = clock::now();
    // The rotation's word does not count for a fresh connection, so its limit is checked here. What
    // the node was chosen for, as old as that has become, is enough.
    let limit = shared.policy.max_lag.max(now.since(candidate.as_of));
    let requirement = requirement.and(Requirement::within(limit));
    let sight = view.sight();
    recheck_fresh(&snapshot, candidate.node, &requirement, replay, now)
        .map(|reached| Confirmed {
            sight,
            reached,
            fresh: true,
        })
        .map_err(|_| Doubt::Behind)
}
