//! Whether a connection shows what its node was chosen for.
//!
//! Replay only advances while a server runs on. A connection that is older than an observation of
//! its node has lived through it, so what was observed still holds on it. A younger one may lead to
//! a server that has crashed since and replays again from further back, or to another server at the
//! same address. It is asked itself, and trusted for what it says. A connection to a balanced node is
//! not asked: it would speak for one of its servers, and nothing else that is known of the node is of
//! that one.

use lagwise_core::{
    Candidate, Instant, Lsn, Reached, Requirement, Sight, Standing, recheck, recheck_assumed,
    recheck_fresh,
};

use super::run::fallen_silent;
use crate::backend::Backend;
use crate::clock;
use crate::lease::Leased;
use crate::shared::Shared;

/// A connection that may serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmed {
    pub(crate) sight: Sight,
    pub(crate) shows: Shows,
}

/// What a confirmed connection shows, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shows {
    /// What was observed of its node: it is older than that.
    Observed(Reached),
    /// What it said itself: it is younger than what is known of its node, so what the session has
    /// read there before excuses nothing.
    Fresh(Reached),
    /// It is assumed to show everything before this instant, and nothing is proved.
    Assumed(Instant),
}

impl Shows {
    /// It is proved to show every commit acknowledged before this.
    pub(crate) const fn as_of(self) -> Option<Instant> {
        match self {
            Self::Observed(reached) | Self::Fresh(reached) => Some(reached.as_of),
            Self::Assumed(_) => None,
        }
    }
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
    // Another node may have been given its id since it was chosen.
    if !snapshot.roster.holds(&leased.node) {
        return Err(Doubt::Behind);
    }
    let view = snapshot.node(candidate.node).ok_or(Doubt::Changed)?;
    if view.spec.balanced {
        leased.lease.vouch();
        return recheck_assumed(&snapshot, candidate.node, &requirement, clock::now())
            .map(|assumed| Confirmed {
                sight: view.sight(),
                shows: Shows::Assumed(assumed),
            })
            .map_err(|_| Doubt::Behind);
    }
    let observed_at = view.observed_at.filter(|_| view.as_of.is_some());
    if leased.lease.connected_by() > observed_at.ok_or(Doubt::Changed)? {
        return confirm_fresh(shared, leased, candidate, requirement).await;
    }
    let sight = view.sight();
    recheck(&snapshot, candidate.node, &requirement, clock::now())
        .map(|reached| Confirmed {
            sight,
            shows: Shows::Observed(reached),
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
    let asked = DB::ask_once(&mut leased.lease);
    let reading = tokio::time::timeout(shared.policy().probe_timeout, asked)
        .await
        .unwrap_or_else(|_| Err(fallen_silent()))
        .map_err(Doubt::Failed)?;
    // Taken after the question was answered, so that its samples reach past the answer.
    let snapshot = shared.published.load();
    if !snapshot.roster.holds(&leased.node) {
        return Err(Doubt::Behind);
    }
    let view = snapshot.node(candidate.node).ok_or(Doubt::Changed)?;
    let same_server =
        snapshot.system == Some(reading.system) && view.started == Some(reading.started);
    let replay: Lsn = match reading.standing {
        Standing::Replica {
            replay: Some(replay),
            paused: false,
            follows,
        } if same_server && follows.is_none_or(|on| snapshot.timeline == Some(on)) => replay,
        Standing::Replica { .. } | Standing::Primary { .. } => {
            leased.node.tenure.doubt();
            return Err(Doubt::Changed);
        }
    };
    leased.lease.vouch();
    let now = clock::now();
    // The rotation's word does not count for a fresh connection, so its limit is checked here. What
    // the node was chosen for, as old as that has become, is enough.
    let chosen_for = candidate.as_of.ok_or(Doubt::Changed)?;
    let limit = shared.policy().max_lag.max(now.since(chosen_for));
    let requirement = requirement.and(Requirement::within(limit));
    let sight = view.sight();
    recheck_fresh(&snapshot, candidate.node, &requirement, replay, now)
        .map(|reached| Confirmed {
            sight,
            shows: Shows::Fresh(reached),
        })
        .map_err(|_| Doubt::Behind)
}
