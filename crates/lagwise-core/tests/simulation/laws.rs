//! What must hold, checked against the truth.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{
    Cause, Event, Fallback, Instant, Membership, NodeId, Place, Reason, Rejection, Rejections,
    Request, Snapshot, Standing, SystemId, Ticket, Timeline,
};

use crate::clients::Written;
use crate::cluster::{MS, OURS};
use crate::process::{Known, Process, Proved};
use crate::world::World;

/// In calm, what was written or seen so long ago is on every replica, and proved to be.
const CAUGHT_UP: Duration = Duration::from_millis(900);

impl World {
    /// A node that is proved to show every commit acknowledged before an instant shows them all.
    pub(crate) fn check_snapshot(&mut self, process: usize) {
        let snapshot = Arc::clone(&self.processes[process].snapshot);
        let timeline = snapshot.timeline.map_or(0, Timeline::as_u32);
        for (index, view) in snapshot.nodes.iter().enumerate() {
            let in_rotation = Self::is_in(view.membership);
            self.check(
                !(in_rotation && self.processes[process].drained[index]),
                "a drained node takes no reads",
            );
            self.check(
                !(in_rotation && snapshot.primary == Some(view.id)),
                "the primary is no replica",
            );
            if self.cluster.is_diverged(index) {
                self.tally.diverged += u64::from(!in_rotation);
            }
            let known = self.processes[process].known[index];
            let (Some(as_of), Known::Seen(answer)) = (view.as_of, known) else {
                self.check(view.as_of.is_none(), "nothing is proved of what is unseen");
                continue;
            };
            self.check_shown((process, index), answer.epoch, timeline, as_of);
        }
        self.check(
            snapshot.in_rotation() < snapshot.nodes.len(),
            "one node at least is no replica",
        );
        self.check_switch(process, &snapshot);
        self.note_proved(process, &snapshot);
    }

    /// A run that has ended unnoticed shows what it likes: no connection of before reaches it.
    fn check_shown(&self, of: (usize, usize), epoch: u64, timeline: u32, as_of: Instant) {
        let (process, index) = of;
        let node = &self.cluster.nodes[index];
        if epoch != node.epoch || !node.up {
            return;
        }
        let before = self.before(process, as_of);
        let shows = self.cluster.shows(index, timeline);
        let owed = self.cluster.owed(timeline, before, shows);
        if shows < owed {
            self.broken(
                "a replica shows what it is proved to show",
                format!(
                    "node {index} shows {shows} of timeline {timeline}, and all up to {owed} was \
                     acknowledged before {as_of:?} by process {process}"
                ),
            );
        }
    }

    /// A process's instant, on the clock of the truth.
    fn before(&self, process: usize, instant: Instant) -> u64 {
        let nanos = instant.as_nanos();
        nanos.saturating_sub(self.processes[process].origin)
    }

    /// What a promotion is said to have kept was kept, and no less of it is said than was proved.
    fn check_switch(&mut self, process: usize, snapshot: &Snapshot) {
        let seen = snapshot.switches.len();
        if std::mem::replace(&mut self.processes[process].switches, seen) >= seen {
            return;
        }
        let Some(switch) = snapshot.switches.last() else {
            return;
        };
        let (ended, began) = (switch.ended.as_u32(), switch.began.as_u32());
        let fork = self.cluster.common(ended, began);
        self.check(
            switch.kept.is_none_or(|kept| kept.as_u64() <= fork),
            "a position that is called kept was kept",
        );
        if let Some(as_of) = switch.kept_as_of {
            let before = self.before(process, as_of);
            let owed = self.cluster.acknowledged_before(ended, before);
            self.check(
                owed <= fork,
                "a write that was acknowledged before what is called kept was kept",
            );
        }
        let proved = snapshot
            .primary
            .and_then(|primary| self.processes[process].proved[primary.index()])
            .filter(|proved| proved.timeline == switch.ended && began == ended + 1)
            .filter(|proved| self.runs(snapshot.primary, proved.epoch));
        if let Some(proved) = proved {
            self.check(
                switch.kept_as_of >= Some(proved.as_of),
                "what the promoted node was proved to have is not called lost",
            );
        }
    }

    fn note_proved(&mut self, process: usize, snapshot: &Snapshot) {
        let Some(timeline) = snapshot.timeline else {
            return;
        };
        let Process { proved, known, .. } = &mut self.processes[process];
        for (index, view) in snapshot.nodes.iter().enumerate() {
            let (Some(as_of), Known::Seen(answer)) = (view.as_of, known[index]) else {
                continue;
            };
            proved[index] = Some(Proved {
                timeline,
                as_of,
                epoch: answer.epoch,
            });
        }
    }

    fn runs(&self, node: Option<NodeId>, epoch: u64) -> bool {
        node.is_some_and(|node| self.cluster.nodes[node.index()].epoch == epoch)
    }

    /// What the monitor was told of a node that was selected.
    pub(crate) fn check_candidate(&self, process: usize, node: NodeId, failed: &[NodeId]) {
        let view = &self.processes[process].snapshot.nodes[node.index()];
        self.check(
            Self::is_in(view.membership),
            "only a node in rotation is selected",
        );
        self.check(
            !failed.contains(&node),
            "a node that failed a read does not get it again",
        );
        self.check_proved(process, node.index());
    }

    /// Nothing is known of a node that serves that would forbid it.
    pub(crate) fn check_proved(&self, process: usize, index: usize) {
        let this = &self.processes[process];
        let Known::Seen(answer) = this.published[index] else {
            self.broken("a node that does not answer is not selected", String::new());
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
            this.snapshot.primary != Some(this.snapshot.nodes[index].id),
            "the primary is not selected as a replica",
        );
        let age = self.instant(process).since(observed.received_at);
        self.check(
            age <= this.policy.unseen_for + Duration::from_millis(10),
            "a node unseen for long is not selected",
        );
        let timeline = this.snapshot.timeline.map(Timeline::as_u32);
        let same_run = answer.epoch == self.cluster.nodes[index].epoch;
        if same_run && timeline == Some(self.cluster.current_timeline()) {
            self.check(
                !self.cluster.is_diverged(index),
                "a node with another history is not selected",
            );
        }
    }

    /// Every replica is rejected for a reason, and the reason holds.
    pub(crate) fn check_rejections(
        &self,
        client: usize,
        snapshot: &Snapshot,
        request: &Request<'_>,
        rejections: &Rejections,
    ) {
        self.check(
            rejections.iter().count() == snapshot.replicas().count(),
            "every replica that is not chosen is rejected for a reason",
        );
        let process = self.clients[client].process;
        let now = self.instant(process);
        let floor = request.requirement.floor();
        let aged = floor.asks_for().is_none_or(|needed| {
            let instant = Instant::from_nanos(needed.as_nanos());
            instant <= now.before(CAUGHT_UP)
        });
        let calm = |since: u64| since + 1000 * MS < self.now;
        let calm = self.calm_since.is_some_and(calm);
        let settled = calm && aged && self.clients[client].rests();
        for (node, rejection) in rejections.iter() {
            let Some(view) = snapshot.node(node) else {
                self.broken("a node that is rejected exists", String::new());
            };
            let holds = match rejection {
                Rejection::BehindFloor { .. } => {
                    let reached = view
                        .reached()
                        .map(|reached| reached.as_of.min(reached.passed));
                    reached < floor.needed()
                }
                Rejection::BehindPosition => floor.needed_position().is_none_or(|position| {
                    let since = floor.since().unwrap_or(Instant::NEVER);
                    let here = snapshot.place(position, since) == Place::Here;
                    !here || view.lsn.is_none_or(|lsn| lsn < position.lsn)
                }),
                Rejection::BeyondBound { bound, .. } => {
                    view.staleness(now).is_none_or(|stale| stale > bound)
                }
                _ => true,
            };
            self.check(
                holds,
                "a replica that has what a read needs is not rejected",
            );
            let behind = matches!(
                rejection,
                Rejection::BehindFloor { .. } | Rejection::BehindPosition
            );
            self.check(
                !(settled && behind),
                "in calm, the reads of a session leave the primary",
            );
        }
    }

    /// A read that leaves the replicas says why.
    pub(crate) fn check_reason(&self, snapshot: &Snapshot, fallback: Fallback, reason: Reason) {
        let alone = snapshot.replicas().next().is_none();
        self.check(
            (reason == Reason::NoReplica) == alone,
            "a read that leaves the replicas says why",
        );
        self.check(
            alone || fallback == Fallback::Primary,
            "a read goes to the primary only where it says so",
        );
        let known = matches!(
            reason,
            Reason::NoReplica
                | Reason::BehindFloor
                | Reason::BeyondBound
                | Reason::NoneInRotation
                | Reason::Failed
        );
        self.check(known, "a read that leaves the replicas says why");
    }

    /// A replica answers a read of a session.
    pub(crate) fn check_read(&self, client: usize, index: usize, bound: Option<Duration>) {
        let current = self.cluster.current_timeline();
        let client = &self.clients[client];
        let cluster = &self.cluster;
        for place in client.wrote.iter().map(|write| &write.place) {
            if place.lsn > cluster.shows(index, place.timeline) && !cluster.is_lost(*place) {
                self.broken("a session reads its own writes", format!("not {place:?}"));
            }
        }
        if let Some(seen) = client.seen {
            let kept = seen.lsn.min(cluster.common(seen.timeline, current));
            if kept > cluster.shows(index, seen.timeline) {
                self.broken(
                    "a session's reads do not go back",
                    format!("behind {seen:?}"),
                );
            }
        }
        if let Some(bound) = bound {
            let process = client.process;
            let timeline = self.processes[process].snapshot.timeline;
            let timeline = timeline.map_or(0, Timeline::as_u32);
            let before = Instant::from_nanos(self.now).before(bound).as_nanos();
            let shows = cluster.shows(index, timeline);
            let owed = cluster.owed(timeline, before, shows);
            self.check(
                shows >= owed,
                "a read is not staler than the bound it stated",
            );
        }
    }

    pub(crate) fn check_write(&self, process: usize, index: usize) {
        let this = &self.processes[process];
        let Known::Seen(answer) = this.published[index] else {
            return;
        };
        self.check(
            answer.observed.system == SystemId::new(OURS),
            "no write goes to another cluster",
        );
        let Standing::Primary { timeline, .. } = answer.observed.standing else {
            self.broken("no write goes to a replica", String::new());
        };
        self.check(
            timeline.as_u32() >= this.published_newest,
            "no write goes to an older timeline than one that was seen",
        );
    }

    /// A write that the cluster lost is reported once its process knows of the promotion.
    pub(crate) fn check_reported(&mut self, client: usize, snapshot: &Snapshot) {
        let known = snapshot.timeline.map(Timeline::as_u32);
        if known != Some(self.cluster.current_timeline()) {
            return;
        }
        let Self {
            clients, cluster, ..
        } = self;
        let wrote = &mut clients[client].wrote;
        let is_lost = |write: &&Written| cluster.is_lost(write.place);
        let lost = wrote.iter().filter(is_lost).find(|write| write.followed);
        let lost = lost.copied();
        wrote.retain(|write| !is_lost(&write));
        let Some(lost) = lost else {
            return;
        };
        self.tally.lost_writes += 1;
        if !self.clients[client].session.may_have_lost_writes(snapshot) {
            self.broken("a lost write is reported", format!("not {:?}", lost.place));
        }
        self.tally.reported += 1;
    }

    /// A read was let through to the primary: by a ticket, or at once.
    pub(crate) fn check_granted(&mut self, process: usize, ticket: Option<Ticket>) {
        let now = self.now;
        let budget = &mut self.processes[process].budget;
        budget.out += 1;
        budget.granted += 1;
        let within = budget.out <= budget.places;
        let elapsed = (now - budget.since) / MS;
        let in_pace = budget.rate.is_none_or(|rate| {
            budget.granted <= u64::from(rate) + u64::from(rate) * elapsed / 1000 + 1
        });
        let waits = |(other, until): &(Ticket, u64)| {
            ticket.is_none_or(|ticket| *other < ticket) && *until > now
        };
        let overtaken = budget.line.iter().any(waits);
        let late = budget
            .line
            .iter()
            .any(|(other, until)| Some(*other) == ticket && *until <= now);
        self.check(
            within,
            "the primary gets no more fallback reads than its budget has places",
        );
        self.check(
            in_pace,
            "the primary gets fallback reads no faster than its budget allows",
        );
        self.check(!overtaken, "no fallback read overtakes another");
        self.check(!late, "no fallback read waits beyond its time");
    }

    /// A read is left in the line although it was asked about.
    pub(crate) fn check_waits(&self, process: usize, ticket: Ticket, until: u64) {
        let budget = &self.processes[process].budget;
        self.check(until > self.now, "no fallback read waits beyond its time");
        let first = budget.gate.first() == Some(ticket);
        let room = budget.out < budget.places && budget.rate.is_none();
        self.check(
            !(first && room),
            "where a place is free, the first in the line has it",
        );
    }

    pub(crate) fn check_event(&mut self, process: usize, event: Event) {
        if self.calm_since.is_some() {
            self.check(
                matches!(event, Event::Rival { .. } | Event::ProbeFailed { .. }),
                "in calm nothing happens",
            );
        }
        let now = self.instant(process);
        let this = &mut self.processes[process];
        match event {
            Event::Ejected { node, .. } => {
                self.tally.ejections += 1;
                // The observation that ended a run counts as the first of the next one.
                let told_now = matches!(this.known[node.index()], Known::Seen(answer)
                    if answer.observed.received_at == now);
                this.good[node.index()] = u32::from(told_now);
            }
            Event::HistoryBegun { .. } => {
                self.tally.histories += 1;
                this.good.fill(0);
            }
            Event::Rival { .. } => self.tally.rivals += 1,
            Event::PrimaryFound { node, timeline } => {
                self.check_elected(process, node, timeline.as_u32());
            }
            Event::Readmitted { node, after } => {
                let floored = this.policy.min_in_rotation > 0 && after == Cause::Lagging;
                let enough = this.good[node.index()] >= this.policy.return_after;
                let seen = matches!(this.known[node.index()], Known::Seen(_));
                self.check(
                    floored || enough,
                    "a node is seen well often enough before it returns",
                );
                self.check(seen, "a node that does not answer does not return");
            }
            _ => {}
        }
    }

    /// The node that gets the writes is ours, accepts them, and nobody was promoted after it: also where
    /// whoever said so was suspected meanwhile, or has gone.
    fn check_elected(&self, process: usize, node: NodeId, timeline: u32) {
        let this = &self.processes[process];
        self.check(
            claim(&this.known[node.index()]) == Some(timeline),
            "only a node of ours that accepts writes becomes the primary",
        );
        let reign = this.snapshot.timeline.map_or(0, Timeline::as_u32);
        self.check(
            timeline >= reign,
            "an older timeline does not succeed a newer one",
        );
        self.check(timeline >= this.newest, "the highest timeline wins");
    }

    /// Whether the monitor counts a node in.
    pub(crate) fn is_in(membership: Membership) -> bool {
        membership.is_in_rotation()
    }
}

/// The timeline on which a node of ours was seen to accept writes.
pub(crate) fn claim(known: &Known) -> Option<u32> {
    let Known::Seen(answer) = known else {
        return None;
    };
    match answer.observed.standing {
        Standing::Primary {
            timeline,
            writable: true,
            ..
        } if answer.observed.system == SystemId::new(OURS) => Some(timeline.as_u32()),
        Standing::Primary { .. } | Standing::Replica { .. } => None,
    }
}
