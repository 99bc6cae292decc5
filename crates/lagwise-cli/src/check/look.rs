//! Watches the nodes until nothing more is to be learned, or the time is over.
//!
//! The monitor proves lag; beside it every server is asked what only it can say, on a connection of its
//! own: its stream, and, of one that the monitor cannot reach, why. A check ends as soon as every
//! verdict is settled. What the verdicts are, `judge` says.

use std::sync::Arc;
use std::time::Duration;

use lagwise::status::{self, Cluster};
use lagwise::{Instant, PgRouter, Role};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::facts::{Facts, Scene};
use super::judge::{self, Judgement, Verdict};
use super::limits::Limits;
use super::stream::Stream;
use crate::failure::Failure;
use crate::nodes::Nodes;
use crate::signal::Interrupt;
use crate::trouble::Trouble;
use crate::vitals::{Vitals, VitalsProbe};

/// All that was found.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) cluster: Cluster,
    pub(crate) nodes: Vec<(Facts, Judgement)>,
    /// Of the cluster as a whole.
    pub(crate) whole: Option<Judgement>,
    /// Enough replicas take reads for what is wrong with others to be a warning.
    pub(crate) has_enough: bool,
    pub(crate) took: Duration,
}

impl Findings {
    fn are_settled(&self) -> bool {
        let whole = self.whole.as_ref().is_none_or(|whole| whole.settled);
        whole && self.nodes.iter().all(|(_, judgement)| judgement.settled)
    }
}

/// What one server said last on its own connection, or why it did not.
type Answer = (usize, Result<Vitals, Trouble>);

/// One node's own words, and since when its stream is what it is.
#[derive(Clone, Debug)]
struct Heard {
    vitals: Option<Vitals>,
    trouble: Option<Trouble>,
    at: Instant,
    stream: Stream,
    stream_since: Instant,
    /// Since when it has shown another kind of stream than the one that is taken for true.
    doubted_since: Option<Instant>,
}

impl Heard {
    /// Takes note of what the stream looks like. A receiver that gets nothing is started again and again,
    /// and looks well for a moment each time: so one that was cut flows once it has done so for a while.
    fn note(&mut self, stream: Stream, now: Instant) {
        let same = std::mem::discriminant(&self.stream) == std::mem::discriminant(&stream);
        let doubted = match self.stream {
            Stream::Parted(_) => true,
            _ => self.stream.is_cut() && !stream.is_cut(),
        };
        if !same && doubted {
            let since = *self.doubted_since.get_or_insert(now);
            if now.since(since) < STEADY {
                return;
            }
        }
        if !same {
            self.stream_since = now;
        }
        self.doubted_since = None;
        self.stream = stream;
    }

    /// For how long the stream has been what it is; not at all while it looks like another.
    fn stream_for(&self, now: Instant) -> Duration {
        match self.doubted_since {
            Some(_) => Duration::ZERO,
            None => now.since(self.stream_since),
        }
    }
}

/// A look at the nodes while it lasts.
#[derive(Debug)]
pub(crate) struct Look<'a> {
    limits: &'a Limits,
    /// The node that alone is judged.
    only: Option<&'a str>,
    roles: Vec<Option<Role>>,
    began: Instant,
    heard: Vec<Heard>,
    /// The primary, and since when it is that.
    primary: (Option<Arc<str>>, Instant),
    /// Where it stood when it was first asked.
    stood: Option<String>,
    /// The timeline that it writes.
    timeline: Option<u32>,
}

impl<'a> Look<'a> {
    pub(crate) fn new(nodes: &Nodes, limits: &'a Limits, only: Option<&'a str>) -> Self {
        let began = lagwise::now();
        let nodes = nodes.config().nodes();
        let unheard = Heard {
            vitals: None,
            trouble: None,
            at: began,
            stream: Stream::Unknown,
            stream_since: began,
            doubted_since: None,
        };
        Self {
            limits,
            only,
            roles: nodes.iter().map(lagwise::config::Node::role).collect(),
            began,
            heard: vec![unheard; nodes.len()],
            primary: (None, began),
            stood: None,
            timeline: None,
        }
    }

    /// Looks until all is settled, or for this long.
    pub(crate) async fn run(
        &mut self,
        nodes: &Nodes,
        router: &PgRouter,
        patience: Duration,
        most: Duration,
    ) -> Result<Findings, Failure> {
        let mut interrupt = Interrupt::listen()?;
        let (answers, mut answered) = mpsc::channel(nodes.config().nodes().len().max(1));
        let mut questions = JoinSet::new();
        for (place, node) in nodes.config().nodes().iter().enumerate() {
            let probe = VitalsProbe::new(node.options(), patience);
            questions.spawn(ask(place, probe, patience, answers.clone()));
        }
        loop {
            let findings = self.find(&Cluster::of(router));
            if findings.are_settled() || findings.took >= most {
                return Ok(findings);
            }
            tokio::select! {
                () = tokio::time::sleep(GLANCE) => {}
                Some(answer) = answered.recv() => self.hear(answer),
                () = interrupt.come() => return Err(Failure::Interrupted),
            }
        }
    }

    fn hear(&mut self, (place, answer): Answer) {
        let now = lagwise::now();
        if let Some(heard) = self.heard.get_mut(place) {
            heard.at = now;
            (heard.vitals, heard.trouble) = match answer {
                Ok(vitals) => (Some(vitals), None),
                Err(trouble) => (None, Some(trouble)),
            };
        }
        let streams: Vec<Stream> = (0..self.heard.len())
            .map(|place| self.stream(place))
            .collect();
        for (heard, stream) in self.heard.iter_mut().zip(streams) {
            heard.note(stream, now);
        }
    }

    /// What a replica and whoever sends to it say of its stream.
    fn stream(&self, place: usize) -> Stream {
        let Some((heard, vitals)) = self.heard.get(place).and_then(|heard| {
            let vitals = heard.vitals.as_ref().filter(|vitals| vitals.in_recovery)?;
            Some((heard, vitals))
        }) else {
            return Stream::Unknown;
        };
        self.heard
            .iter()
            .filter(|other| other.vitals.is_some())
            .fold(Stream::of(vitals, self.timeline), |stream, sender| {
                let senders = sender
                    .vitals
                    .as_ref()
                    .map(Vitals::streams)
                    .unwrap_or_default();
                // The replica's clock, put back to when its sender was asked.
                let since = heard.at.since(sender.at).as_secs_f64();
                stream.heard_by(&senders, vitals, since)
            })
    }

    /// The facts of this moment, judged.
    fn find(&mut self, cluster: &Cluster) -> Findings {
        let now = lagwise::now();
        self.timeline = cluster.timeline;
        let nodes = cluster.nodes.iter().enumerate();
        let facts: Vec<Facts> = nodes
            .map(|(place, node)| Facts {
                twin: self.twin(place, cluster),
                ..self.facts(place, node, now)
            })
            .collect();
        let twins = facts.iter().filter(|facts| facts.twin.is_some());
        let counted_twice = twins.filter(|twin| twin.takes_reads() && !twin.is_primary);
        let mut cluster = cluster.clone();
        cluster.in_rotation = cluster.in_rotation.saturating_sub(counted_twice.count());
        let scene = self.scene(&cluster, &facts, now);
        let whole = match self.only {
            None => judge::cluster(&facts, &scene, self.limits),
            Some(_) => None,
        };
        let has_enough = self.only.is_none() && judge::has_enough(&facts, self.limits);
        let judged = |facts: Facts| {
            let judgement = judge::node(&facts, &scene, self.limits);
            (facts, judgement)
        };
        let wanted = |facts: &Facts| self.only.is_none_or(|only| *facts.name == *only);
        Findings {
            cluster,
            nodes: facts.into_iter().filter(wanted).map(judged).collect(),
            whole,
            has_enough,
            took: now.since(self.began),
        }
    }

    /// The node that stands for the same server: the primary, or the one that was given first.
    fn twin(&self, place: usize, cluster: &Cluster) -> Option<Arc<str>> {
        let own = cluster.nodes.get(place)?;
        let identity = |place: usize| Some(self.heard.get(place)?.vitals.as_ref()?.identity);
        let server = identity(place)?;
        let others = cluster.nodes.iter().enumerate();
        let mut twins = others.filter(|(other, node)| {
            let stands_first = node.is_primary || (*other < place && !own.is_primary);
            let is_one = !node.balanced && !own.balanced;
            *other != place && stands_first && is_one && identity(*other) == Some(server)
        });
        twins.next().map(|(_, node)| Arc::clone(&node.name))
    }

    fn facts(&self, place: usize, node: &status::Node, now: Instant) -> Facts {
        let mut facts = Facts::of(node, self.roles.get(place).copied().flatten());
        let Some(heard) = self.heard.get(place) else {
            return facts;
        };
        let mut all = self.heard.iter();
        facts.all_identified = all.all(|other| other.vitals.is_some() || other.trouble.is_some());
        facts.trouble.clone_from(&heard.trouble);
        facts.stream = heard.stream.clone();
        facts.stream_for = heard.stream_for(now);
        if let Some(vitals) = &heard.vitals {
            let age = vitals.last_replayed_commit_seconds_ago;
            facts.by_commits = age.and_then(|age| Duration::try_from_secs_f64(age).ok());
            facts.read_only = vitals.read_only && !vitals.in_recovery;
            let pause = vitals.replay_pause.as_deref().unwrap_or("not paused");
            facts.paused |= pause != "not paused";
        }
        facts
    }

    fn scene(&mut self, cluster: &Cluster, facts: &[Facts], now: Instant) -> Scene {
        let reached = cluster.primary_lost_seconds.is_none();
        let primary = cluster.primary.clone().filter(|_| reached);
        if self.primary.0 != primary {
            self.primary = (primary.clone(), now);
            self.stood = None;
        }
        let stands = facts.iter().find(|node| node.is_primary);
        let stands = stands.and_then(|node| node.lsn.clone());
        self.stood = self.stood.take().or_else(|| stands.clone());
        Scene {
            primary,
            primary_for: now.since(self.primary.1),
            writes: stands != self.stood,
            all_heard: facts.iter().all(Facts::is_heard),
        }
    }
}

/// Asks one server again and again, for as long as somebody listens.
async fn ask(
    place: usize,
    mut probe: VitalsProbe,
    patience: Duration,
    answers: mpsc::Sender<Answer>,
) {
    loop {
        let answer = probe.ask(patience).await;
        let answer = answer.map_err(|unwell| Trouble::of(&unwell));
        if answers.send((place, answer)).await.is_err() {
            return;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

impl Findings {
    /// The worst there is.
    pub(crate) fn verdict(&self) -> Verdict {
        let weight = |(facts, judgement): &(Facts, Judgement)| {
            judge::weight(facts, judgement.verdict, self.has_enough)
        };
        let nodes = self.nodes.iter().map(weight);
        nodes
            .chain(self.whole.iter().map(|whole| whole.verdict))
            .max()
            .unwrap_or(Verdict::Unknown)
    }
}

/// How often the monitor's word is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// How long a server has rest between two questions.
const ASK_AGAIN: Duration = Duration::from_millis(150);

/// A receiver that starts and is turned away is gone again sooner.
const STEADY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_was_cut_flows_once_it_has_for_a_while() {
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        let mut heard = Heard {
            vitals: None,
            trouble: None,
            at: at(0),
            stream: Stream::Unknown,
            stream_since: at(0),
            doubted_since: None,
        };
        heard.note(Stream::Flows, at(0));
        assert_eq!(heard.stream, Stream::Flows, "nothing speaks against it");
        let waiting = || Stream::Cut(Some("waiting".into()));
        heard.note(waiting(), at(100));
        heard.note(Stream::Flows, at(300));
        assert_eq!(
            (&heard.stream, heard.stream_for(at(900))),
            (&waiting(), Duration::ZERO)
        );
        heard.note(waiting(), at(500));
        assert_eq!(heard.stream_for(at(900)), Duration::from_millis(800));
        heard.note(Stream::Flows, at(1000));
        heard.note(Stream::Flows, at(1900));
        assert_eq!(heard.stream, waiting(), "it may be gone again");
        heard.note(Stream::Flows, at(2000));
        assert_eq!(heard.stream, Stream::Flows);
    }
}
