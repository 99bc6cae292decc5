//! Dry mode: a read goes to the primary, and where it would have gone is told.
//!
//! The decision is the same as otherwise, on the same snapshot, for the session as it would be if its
//! reads had gone where they were to go: its shadow. Nothing but the primary is asked, and a read pays
//! for none of this: no wait, no permit, no connection of a replica. What a replica would have said is
//! not known and not guessed at; only of a wait it is taken that it would have ended well.

use std::sync::Arc;

use lagwise_core::{
    Candidate, Floor, Instant, NodeView, Reached, Reason, Snapshot, recheck_assumed,
};

use super::confirm::{Confirmed, Shows};
use super::deadline::time_out;
use super::decide::{Decision, decide};
use super::read::Search;
use crate::backend::Backend;
use crate::clock;
use crate::connection::ReadConnection;
use crate::error::Error;
use crate::load::Imagined;
use crate::observe;
use crate::route::DryRoute;
use crate::session::ShadowRead;

/// What would have been decided.
#[derive(Debug)]
pub(super) struct Foreseen {
    route: DryRoute,
    shadow: Option<ShadowRead>,
    load: Option<Imagined>,
}

/// What becomes of the read in the session's shadow.
enum Fate {
    Replica(Confirmed),
    Primary,
    /// It is not known to have been read anywhere.
    Unread,
}

impl Foreseen {
    pub(super) fn route(&self) -> DryRoute {
        self.route.clone()
    }

    /// The read in the session's shadow, to end when the real one does.
    pub(super) const fn shadow(&mut self) -> Option<ShadowRead> {
        self.shadow.take()
    }

    /// The read on the replica that it does not run on, to end when the real one does.
    pub(super) const fn load(&mut self) -> Option<Imagined> {
        self.load.take()
    }

    /// Why the read goes to the primary in fact.
    const fn reason(&self) -> Reason {
        match self.route {
            DryRoute::Primary {
                reason: reason @ (Reason::Asked | Reason::NoReplica),
                ..
            } => reason,
            _ => Reason::DryRun,
        }
    }
}

impl<DB: Backend> Search<'_, DB> {
    /// A connection of the primary, found as if there were no replica.
    pub(super) async fn run_dry(&mut self) -> Result<ReadConnection<DB>, Error> {
        self.admit()?;
        if clock::now() >= self.deadline() {
            return Err(time_out());
        }
        let foreseen = self.foresee();
        observe::foreseen(&foreseen.route);
        let reason = foreseen.reason();
        self.foreseen = Some(foreseen);
        self.await_primary().await;
        self.on_primary(Floor::default(), reason, None).await
    }

    fn foresee(&self) -> Foreseen {
        loop {
            if let Some(foreseen) = self.foresee_now() {
                return foreseen;
            }
        }
    }

    /// None if the session has moved on since its floor was looked at.
    fn foresee_now(&self) -> Option<Foreseen> {
        let (view, now) = (self.shared().published.load(), clock::now());
        let session = self.session();
        let floor = session.map(|session| session.shadow_floor(&view));
        let floor = floor.unwrap_or_default();
        let decision = decide(&view, self.request(floor), now);
        let (route, fate) = self.told(&view, floor, now, &decision);
        let load = match fate {
            Fate::Replica(Confirmed { sight, .. }) => view.roster.get(sight.node),
            Fate::Primary | Fate::Unread => None,
        };
        let load = load.map(|node| Imagined::enter(&node.load));
        let shadow = match (session, fate) {
            (None, _) | (_, Fate::Unread) => None,
            (Some(session), Fate::Primary) => Some(session.open_shadow_primary_read()),
            (Some(session), Fate::Replica(confirmed)) => Some(session.open_shadow_read(confirmed)?),
        };
        Some(Foreseen {
            route,
            shadow,
            load,
        })
    }

    fn told(
        &self,
        snapshot: &Snapshot,
        floor: Floor,
        now: Instant,
        decision: &Decision,
    ) -> (DryRoute, Fate) {
        match *decision {
            Decision::Refuse(_) => (DryRoute::Refused, Fate::Unread),
            Decision::Primary(reason) => {
                let node = snapshot.primary.and_then(|id| snapshot.node(id)).map(name);
                (DryRoute::Primary { node, reason }, Fate::Primary)
            }
            Decision::Wait => {
                let nearest = nearest(snapshot);
                let fate = nearest.map(|node| Fate::Replica(in_the_end(node)));
                let node = nearest.map(name);
                (DryRoute::Wait { node }, fate.unwrap_or(Fate::Unread))
            }
            Decision::Try(candidate, reason) => {
                let Some(node) = snapshot.node(candidate.node) else {
                    return (DryRoute::Refused, Fate::Unread);
                };
                let shows = self.shows(snapshot, node, floor, now);
                let sight = node.sight();
                let fate = shows.map(|shows| Fate::Replica(Confirmed { sight, shows }));
                (to(node, candidate, reason), fate.unwrap_or(Fate::Unread))
            }
        }
    }

    /// What a replica shows by what is known of it.
    fn shows(
        &self,
        snapshot: &Snapshot,
        node: &NodeView,
        floor: Floor,
        now: Instant,
    ) -> Option<Shows> {
        if node.spec.balanced {
            let requirement = self.request(floor).requirement;
            let assumed = recheck_assumed(snapshot, node.id, &requirement, now);
            return assumed.ok().map(Shows::Assumed);
        }
        node.reached().map(Shows::Observed)
    }
}

fn to(node: &NodeView, candidate: Candidate, reason: Reason) -> DryRoute {
    DryRoute::Replica {
        node: name(node),
        reason,
        staleness: candidate.staleness,
    }
}

fn name(node: &NodeView) -> Arc<str> {
    Arc::clone(&node.spec.name)
}

/// The replica in rotation that would have what is waited for first.
fn nearest(snapshot: &Snapshot) -> Option<&NodeView> {
    let replicas = snapshot.replicas();
    replicas
        .filter(|node| node.membership.is_in_rotation())
        .max_by_key(|node| node.as_of)
}

/// A replica once it has what is waited for.
fn in_the_end(node: &NodeView) -> Confirmed {
    let shows = if node.spec.balanced {
        Shows::Assumed(Instant::NEVER)
    } else {
        Shows::Observed(Reached::from(Instant::NEVER))
    };
    Confirmed {
        sight: node.sight(),
        shows,
    }
}
