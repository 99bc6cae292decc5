//! How long it took to notice a fault, and to get over it, by each instance.
//!
//! A replica is noticed when it is out of rotation, and is back when it is in again; a primary that
//! cannot be asked is noticed when it counts as lost, and its end when a write is acknowledged. A change
//! of roles is dated from the moment at which the new primary took writes. What an instance had to
//! notice and did not is told as such, and is nobody's median.

use std::time::Duration;

use crate::history::{Ending, Entry, Op};
use crate::nemesis::{Notice, Victim};
use crate::stage::Injury;
use crate::watch::{View, Views};

/// What was measured of one thing, over instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// What was measured, in order.
    pub taken: Vec<Duration>,
    /// How many instances ought to have had it and did not.
    pub missing: usize,
}

impl Times {
    fn add(&mut self, time: Option<Duration>) {
        match time {
            Some(time) => self.taken.push(time),
            None => self.missing += 1,
        }
        self.taken.sort_unstable();
    }

    /// The shortest, the middle and the longest.
    #[must_use]
    pub fn figures(&self) -> Option<[Duration; 3]> {
        let (first, last) = (self.taken.first()?, self.taken.last()?);
        let middle = self.taken.get(self.taken.len() / 2)?;
        Some([*first, *middle, *last])
    }
}

/// What one run knows of its times.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What instances said.
    pub views: &'a Views,
    /// What sessions did.
    pub entries: &'a [Entry],
    /// What is true in the end.
    pub ending: &'a Ending,
}

impl Evidence<'_> {
    /// How long it took to notice some faults, and to get over them, until a moment.
    #[must_use]
    pub fn of(&self, injuries: &[Injury], until: Duration) -> [Times; 2] {
        let mut times = [Times::default(), Times::default()];
        let killed: Vec<usize> = injuries
            .iter()
            .filter(|injury| injury.fault.kind.victim() == Victim::Instance)
            .map(|injury| injury.fault.whose)
            .collect();
        // Who is dead notices nothing, and who says nothing cannot be asked.
        let asked = (0..self.views.0.len())
            .filter(|instance| !killed.contains(instance) && !self.views.0[*instance].is_empty());
        for instance in asked {
            for injury in injuries {
                self.add(&mut times, injury, (instance, until));
            }
        }
        times
    }

    fn add(&self, times: &mut [Times; 2], injury: &Injury, whom: (usize, Duration)) {
        let (instance, until) = whom;
        let by = |noticed: &Duration| *noticed <= until;
        let since = |from: Duration| move |at: Duration| at.saturating_sub(from);
        let first = |is_such: &dyn Fn(&View) -> bool| {
            self.views.first(instance, injury.begun, is_such).filter(by)
        };
        match injury.fault.kind.notice() {
            Notice::Nothing => {}
            Notice::Out => {
                let out =
                    |view: &View| !injury.nodes.iter().any(|node| view.serving.contains(node));
                let noticed = first(&out);
                times[0].add(noticed.map(since(injury.begun)));
                if noticed.is_some() {
                    let back = self.back(instance, injury, until).filter(by);
                    times[1].add(back.map(since(injury.healed)));
                }
            }
            Notice::PrimaryLost => {
                let noticed = first(&|view| view.primary.is_none());
                times[0].add(noticed.map(since(injury.begun)));
                let written = self.written(instance, injury.healing).filter(by);
                times[1].add(written.map(since(injury.healed)));
            }
            Notice::NewPrimary => {
                let is_new = |view: &View| view.primary.as_ref() == injury.nodes.first();
                times[0].add(first(&is_new).map(since(injury.begun)));
                let written = self.written(instance, injury.begun).filter(by);
                times[1].add(written.map(since(injury.begun)));
            }
        }
    }

    /// When all of the nodes were in rotation again, after they had been out.
    fn back(&self, instance: usize, injury: &Injury, until: Duration) -> Option<Duration> {
        let is_back = |view: &View| injury.nodes.iter().all(|node| view.serving.contains(node));
        let out = self
            .views
            .first(instance, injury.healing, |view| !is_back(view));
        // An address that leads home again is another server once more; others come straight back.
        let from = out.filter(|out| *out <= until).unwrap_or(injury.healing);
        self.views.first(instance, from, is_back)
    }

    /// When the first write was acknowledged through an instance that is there in the end.
    fn written(&self, instance: usize, from: Duration) -> Option<Duration> {
        let ours = |entry: &&Entry| entry.instance == instance && entry.op == Op::Write;
        let holds = |entry: &&Entry| entry.answered() && self.ending.holds(entry);
        let entries = self.entries.iter().filter(ours).filter(holds);
        let ends = entries.map(|entry| entry.ended);
        ends.filter(|ended| *ended >= from).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nemesis::{Fault, Kind};

    const MS: Duration = Duration::from_millis(1);

    fn view(at: u32, serving: &[&str]) -> View {
        View {
            at: MS * at,
            primary: Some("primary".to_owned()),
            timeline: 1,
            serving: serving.iter().map(ToString::to_string).collect(),
        }
    }

    fn times(views: Vec<Vec<View>>) -> [Times; 2] {
        let injury = Injury {
            fault: Fault {
                kind: Kind::KillReplica,
                whose: 0,
            },
            nodes: vec!["replica-1".to_owned()],
            begun: MS * 100,
            healing: MS * 200,
            healed: MS * 250,
        };
        let evidence = Evidence {
            views: &Views(views),
            entries: &[],
            ending: &Ending::default(),
        };
        evidence.of(&[injury], MS * 500)
    }

    #[test]
    fn a_replica_is_noticed_when_it_is_out_and_well_when_it_is_back() {
        let both = ["replica-1", "replica-2"];
        let quick = vec![view(1, &both), view(110, &both[1..]), view(300, &both)];
        let slow = vec![view(1, &both), view(190, &both[1..]), view(499, &both)];
        let [noticed, well] = times(vec![quick, slow]);
        assert_eq!(noticed.taken, [MS * 10, MS * 90], "from its beginning");
        assert_eq!(well.taken, [MS * 50, MS * 249], "from its end");
        assert_eq!((noticed.missing, well.missing), (0, 0), "all did");
    }

    #[test]
    fn who_does_not_notice_in_time_is_missing_and_who_says_nothing_is_not_asked() {
        let both = ["replica-1", "replica-2"];
        let blind = vec![view(1, &both), view(600, &both[1..])];
        let [noticed, well] = times(vec![blind, Vec::new()]);
        assert_eq!(
            (noticed.taken.len(), noticed.missing),
            (0, 1),
            "not in time"
        );
        assert_eq!(
            (well.taken.len(), well.missing),
            (0, 0),
            "nothing to recover"
        );
        let stuck = vec![view(1, &both), view(150, &both[1..]), view(501, &both)];
        let [noticed, well] = times(vec![stuck]);
        assert_eq!(
            (noticed.taken.len(), well.missing),
            (1, 1),
            "not back in time"
        );
    }
}
