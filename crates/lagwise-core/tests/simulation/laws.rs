//! What must hold, checked against the truth.

use std::time::Duration;

use lagwise_core::{Cause, Event, Instant, NodeId, Standing, SystemId};

use crate::cluster::OURS;
use crate::world::{Known, World};

impl World {
    /// A node that is proved to show every commit acknowledged before an instant shows them all.
    pub(crate) fn check_snapshot(&mut self) {
        let snapshot = std::sync::Arc::clone(&self.snapshot);
        let many = snapshot.in_rotation();
        let timeline = snapshot.timeline.map_or(0, |timeline| timeline.as_u32());
        for (index, view) in snapshot.nodes.iter().enumerate() {
            let in_rotation = Self::is_in(view.membership);
            self.check(
                !(in_rotation && self.drained[index]),
                "a drained node takes no reads",
            );
            self.check(
                !(in_rotation && snapshot.primary == Some(view.id)),
                "the primary is no replica",
            );
            if self.cluster.is_diverged(index) {
                self.tally.diverged += u64::from(!in_rotation);
            }
            let (Some(as_of), Known::Seen(answer)) = (view.as_of, self.known[index]) else {
                self.check(view.as_of.is_none(), "nothing is proved of what is unseen");
                continue;
            };
            self.check_shown(index, answer.epoch, timeline, as_of);
        }
        self.check(
            many < snapshot.nodes.len(),
            "one node at least is no replica",
        );
    }

    /// A run that has ended unnoticed shows what it likes: no connection of before reaches it.
    fn check_shown(&self, index: usize, epoch: u64, timeline: u32, as_of: Instant) {
        let node = &self.cluster.nodes[index];
        if epoch != node.epoch || !node.up {
            return;
        }
        let shows = self.cluster.shows(index, timeline);
        let owed = self.cluster.owed(timeline, as_of.as_nanos(), shows);
        if shows < owed {
            self.broken(&format!(
                "node {index} shows {shows} of timeline {timeline}, and all up to {owed} was \
                 acknowledged before {as_of:?}"
            ));
        }
    }

    /// What the monitor was told of a node that was selected.
    pub(crate) fn check_candidate(&self, index: usize) {
        let view = &self.snapshot.nodes[index];
        self.check(
            Self::is_in(view.membership),
            "only a node in rotation is selected",
        );
        self.check_proved(index);
    }

    /// Nothing is known of a node that serves that would forbid it.
    pub(crate) fn check_proved(&self, index: usize) {
        let Known::Seen(answer) = self.published[index] else {
            self.broken("a node that does not answer is selected");
        };
        let observed = answer.observed;
        self.check(
            matches!(observed.standing, Standing::Replica { paused: false, .. }),
            "only a replica that replays is selected",
        );
        self.check(
            observed.system == SystemId::new(OURS),
            "only a node of ours is selected",
        );
        self.check(
            self.snapshot.primary != Some(self.snapshot.nodes[index].id),
            "the primary is not selected as a replica",
        );
        let age = self.instant().since(observed.received_at);
        self.check(
            age <= self.policy.unseen_for + Duration::from_millis(10),
            "a node unseen for long is not selected",
        );
        let timeline = self.snapshot.timeline.map(|timeline| timeline.as_u32());
        let same_run = answer.epoch == self.cluster.nodes[index].epoch;
        if same_run && timeline == Some(self.cluster.current_timeline()) {
            self.check(
                !self.cluster.is_diverged(index),
                "a node with another history is not selected",
            );
        }
    }

    /// A replica answers a read of a session.
    pub(crate) fn check_read(&mut self, client: usize, index: usize, bound: Option<Duration>) {
        let current = self.cluster.current_timeline();
        let client = &mut self.clients[client];
        let before = client.wrote.len();
        let cluster = &self.cluster;
        client
            .wrote
            .retain(|place| place.lsn <= cluster.common(place.timeline, current));
        self.tally.lost_writes += (before - client.wrote.len()) as u64;
        for place in &client.wrote {
            if place.lsn > cluster.shows(index, place.timeline) {
                let place = *place;
                self.broken(&format!("a session reads its own write {place:?}"));
            }
        }
        if let Some(seen) = client.seen {
            let kept = seen.lsn.min(cluster.common(seen.timeline, current));
            if kept > cluster.shows(index, seen.timeline) {
                self.broken(&format!("a session does not go back behind {seen:?}"));
            }
        }
        if let Some(bound) = bound {
            let timeline = self
                .snapshot
                .timeline
                .map_or(0, |timeline| timeline.as_u32());
            let before = self.instant().before(bound).as_nanos();
            let shows = self.cluster.shows(index, timeline);
            let owed = self.cluster.owed(timeline, before, shows);
            self.check(
                shows >= owed,
                "a read is not staler than the bound it stated",
            );
        }
    }

    pub(crate) fn check_write(&self, index: usize) {
        if let Known::Seen(answer) = self.published[index] {
            self.check(
                answer.observed.system == SystemId::new(OURS),
                "no write goes to another cluster",
            );
            self.check(
                matches!(answer.observed.standing, Standing::Primary { .. }),
                "no write goes to a replica",
            );
        }
    }

    pub(crate) fn check_event(&mut self, event: Event) {
        if self.calm {
            self.check(
                matches!(event, Event::Rival { .. } | Event::ProbeFailed { .. }),
                "in calm nothing happens",
            );
        }
        match event {
            Event::Ejected { node, .. } => {
                self.tally.ejections += 1;
                // The observation that ended a run counts as the first of the next one.
                let told_now = matches!(self.known[node.index()], Known::Seen(answer)
                    if answer.observed.received_at == self.instant());
                self.good[node.index()] = u32::from(told_now);
            }
            Event::HistoryBegun { .. } => {
                self.tally.histories += 1;
                self.good.fill(0);
            }
            Event::PrimaryFound { node, timeline } => self.check_elected(node, timeline.as_u32()),
            Event::Readmitted { node, after } => {
                let floored = self.policy.min_in_rotation > 0 && after == Cause::Lagging;
                self.check(
                    floored || self.good[node.index()] >= self.policy.return_after,
                    "a node is seen well often enough before it returns",
                );
                let seen = matches!(self.known[node.index()], Known::Seen(_));
                self.check(seen, "a node that does not answer does not return");
            }
            _ => {}
        }
    }

    /// The node that gets the writes is ours, accepts them, and nobody was promoted after it.
    fn check_elected(&self, node: NodeId, timeline: u32) {
        let claim = |known: &Known| match known {
            Known::Seen(answer) if answer.observed.system == SystemId::new(OURS) => {
                match answer.observed.standing {
                    Standing::Primary {
                        timeline,
                        writable: true,
                        ..
                    } => Some(timeline.as_u32()),
                    Standing::Primary { .. } | Standing::Replica { .. } => None,
                }
            }
            Known::Seen(_) | Known::Failed | Known::Nothing => None,
        };
        self.check(
            claim(&self.known[node.index()]) == Some(timeline),
            "only a node of ours that accepts writes becomes the primary",
        );
        let reign = self
            .snapshot
            .timeline
            .map_or(0, |timeline| timeline.as_u32());
        self.check(
            timeline >= reign,
            "an older timeline does not succeed a newer one",
        );
        let highest = self.known.iter().filter_map(claim).max();
        self.check(
            highest.is_none_or(|highest| timeline >= highest),
            "the highest timeline wins",
        );
    }
}
