//! What the facts amount to.
//!
//! A pure function: facts and limits to a verdict, and whether more time could change it. The rule kept
//! here is that nothing is well but by proof, and nothing is late but by proof: a replica that the
//! monitor has not proved to be near is not yet OK, and one that may have passed meanwhile is not yet
//! CRITICAL. Bytes, pauses and streams are facts of the moment.

use std::cmp::max;
use std::time::Duration;

use lagwise::Role;
use serde::Serialize;

use super::facts::{Facts, Scene};
use super::limits::Limits;
use super::stream::Stream;
use crate::format::{short, short_most, size};
use crate::trouble::Trouble;

/// In order of weight: what is unknown may be critical, what is a warning is known not to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    Warning,
    Unknown,
    Critical,
}

impl Verdict {
    /// As the plugin convention has it.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Unknown => "UNKNOWN",
            Self::Critical => "CRITICAL",
        }
    }
}

/// A verdict, its reason, and whether waiting could change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
    pub(crate) settled: bool,
}

fn settled(verdict: Verdict, reason: impl Into<String>) -> Judgement {
    Judgement {
        verdict,
        reason: reason.into(),
        settled: true,
    }
}

impl Judgement {
    fn settled_if(mut self, settled: bool) -> Self {
        self.settled = settled;
        self
    }

    fn pending(self) -> Self {
        self.settled_if(false)
    }
}

/// What a node's facts amount to.
pub(crate) fn node(node: &Facts, scene: &Scene, limits: &Limits) -> Judgement {
    if let Some(twin) = &node.twin {
        let reason = format!("is the same server as {twin}: name each once");
        return settled(Verdict::Unknown, reason);
    }
    match node.role {
        None => silent(node),
        Some(_) if node.is_unreachable() => silent(node),
        Some(Role::Primary) if node.is_primary => {
            settled(Verdict::Ok, format!("accepts writes{}", surprise(node)))
        }
        Some(Role::Primary) => stranger(node, scene),
        Some(_) => replica(node, scene, limits),
    }
}

/// A node that does not answer the monitor.
fn silent(node: &Facts) -> Judgement {
    let judgement = match &node.trouble {
        Some(Trouble::Down(words)) => settled(Verdict::Critical, words.as_str()),
        Some(Trouble::Refused(words)) => settled(Verdict::Unknown, words.as_str()),
        None => settled(Verdict::Critical, "does not answer").pending(),
    };
    let settled = judgement.settled && node.is_unreachable();
    judgement.settled_if(settled)
}

/// A node that is no standby, and not the primary either.
fn stranger(node: &Facts, scene: &Scene) -> Judgement {
    match &scene.primary {
        _ if node.cause == Some("foreign") => foreign(),
        _ if node.read_only => settled(
            Verdict::Critical,
            "is no standby and accepts no writes: default_transaction_read_only is on",
        ),
        Some(primary) => settled(
            Verdict::Critical,
            format!("accepts writes, and so does {primary}: two primaries"),
        )
        .settled_if(node.all_identified),
        None => settled(Verdict::Critical, "is no standby, and no primary yet").pending(),
    }
}

fn foreign() -> Judgement {
    settled(Verdict::Critical, "holds the data of another cluster")
}

/// Roles are found by asking; whoever named them otherwise may want to know.
fn surprise(node: &Facts) -> &'static str {
    match (node.given_as, node.is_primary) {
        (Some(Role::Replica), true) => ", though it was given as a replica",
        (Some(Role::Primary), false) => ", though it was given as the primary",
        _ => "",
    }
}

fn replica(node: &Facts, scene: &Scene, limits: &Limits) -> Judgement {
    match node.cause {
        Some("foreign") => return foreign(),
        Some("diverged") => {
            let reason = "has replayed what the primary never wrote: it must be rewound or rebuilt";
            return settled(Verdict::Critical, reason);
        }
        _ if node.balanced => {
            let reason = "is an address of several servers, of which none can be judged";
            return settled(Verdict::Unknown, reason);
        }
        _ => {}
    }
    if let (Stream::Parted(timeline), true) = (&node.stream, node.stream_for >= CONFIRMED) {
        let reason = format!(
            "has diverged: its stream is cut (the receiver is waiting) at the end of timeline \
             {timeline}, which the primary has left: it must be rewound or rebuilt"
        );
        return settled(Verdict::Critical, reason);
    }
    let lag = lag(node, scene, limits);
    let lag = Judgement {
        reason: format!("{}{}", lag.reason, surprise(node)),
        ..lag
    };
    let parts = [lag, bytes(node, limits), stream(node), pause(node)];
    let verdict = parts
        .iter()
        .fold(Verdict::Ok, |worst, part| max(worst, part.verdict));
    let mut settled = parts.iter().all(|part| part.settled);
    if verdict == Verdict::Ok {
        settled &= node.has_place() || scene.has_lasted();
    }
    // What is well is left out where something is not, but for the lag, which everybody wants.
    let told = |(place, part): &(usize, &Judgement)| *place == 0 || part.verdict != Verdict::Ok;
    let reasons: Vec<&str> = parts
        .iter()
        .enumerate()
        .filter(told)
        .map(|(_, part)| part.reason.as_str())
        .collect();
    Judgement {
        verdict,
        reason: reasons.join(", "),
        settled,
    }
}

/// The lag lies between the least and the most that is known; it is settled once both say the same.
fn lag(node: &Facts, scene: &Scene, limits: &Limits) -> Judgement {
    let Some(primary) = &scene.primary else {
        return settled(Verdict::Unknown, "has an unknown lag without a primary")
            .settled_if(scene.is_without_primary());
    };
    let least = node.least.unwrap_or_default();
    match node.most {
        Some(most) => {
            let verdict = band(most, limits);
            let certain = verdict == band(least.min(most), limits);
            settled(verdict, format!("at most {} behind", short_most(most)))
                .settled_if(certain || scene.has_lasted())
        }
        None if least > limits.crit => settled(Verdict::Critical, at_least(node, least)),
        None if least > limits.warn => {
            // Time may run out before `--crit` has passed; then the clocks have the word, but only
            // of a primary that writes: of one that was idle they tell for how long it was.
            let late = scene.writes && node.by_commits.is_some_and(|age| age > limits.crit);
            let verdict = if late {
                Verdict::Critical
            } else {
                Verdict::Warning
            };
            settled(verdict, at_least(node, least)).pending()
        }
        None if !least.is_zero() => settled(Verdict::Unknown, at_least(node, least)).pending(),
        None => settled(
            Verdict::Unknown,
            format!("is not proved to follow {primary}"),
        )
        .settled_if(scene.has_lasted()),
    }
}

fn at_least(node: &Facts, least: Duration) -> String {
    let clocks = match node.by_commits {
        // What it lacks was committed after that.
        Some(age) if age > least => format!(", at most {} by commit timestamps", short_most(age)),
        _ => String::new(),
    };
    format!("at least {} behind{clocks}", short(least))
}

fn band(lag: Duration, limits: &Limits) -> Verdict {
    match lag {
        lag if lag > limits.crit => Verdict::Critical,
        lag if lag > limits.warn => Verdict::Warning,
        _ => Verdict::Ok,
    }
}

fn bytes(node: &Facts, limits: &Limits) -> Judgement {
    let over = |limit: Option<u64>| limit.is_some_and(|limit| node.bytes > Some(limit));
    let judged = limits.warn_bytes.is_some() || limits.crit_bytes.is_some();
    let (verdict, bytes) = match node.bytes {
        Some(bytes) if over(limits.crit_bytes) => (Verdict::Critical, bytes),
        Some(bytes) if over(limits.warn_bytes) => (Verdict::Warning, bytes),
        None if judged => return settled(Verdict::Unknown, "its position is unknown"),
        bytes => (Verdict::Ok, bytes.unwrap_or_default()),
    };
    settled(verdict, format!("lacks {} of the log", size(bytes)))
}

/// A cut stream is no lag yet, and will be one with the next write.
fn stream(node: &Facts) -> Judgement {
    let confirmed = node.stream_for >= CONFIRMED;
    match (&node.stream, &node.trouble) {
        (Stream::Unknown, Some(trouble)) => settled(
            Verdict::Unknown,
            format!("its stream could not be looked at: {}", trouble.words()),
        )
        .settled_if(confirmed),
        (Stream::Unknown, None) => {
            settled(Verdict::Unknown, "its stream was not looked at").pending()
        }
        (Stream::Flows, _) => settled(Verdict::Ok, "streaming"),
        (Stream::Archive, _) => settled(Verdict::Ok, "fed from an archive"),
        (Stream::Cut(None), _) => {
            settled(Verdict::Warning, "its stream is cut: no receiver runs").settled_if(confirmed)
        }
        (Stream::Cut(Some(status)), _) => {
            let reason = format!("its stream is cut: the receiver is {status}");
            settled(Verdict::Warning, reason).settled_if(confirmed)
        }
        (Stream::Parted(_), _) => settled(
            Verdict::Warning,
            "its stream is cut: the receiver is waiting",
        )
        .pending(),
        (Stream::Silent(span), _) => {
            let reason = format!("its stream is cut: silent for {}", short(*span));
            settled(Verdict::Warning, reason)
        }
    }
}

fn pause(node: &Facts) -> Judgement {
    match node.paused {
        true => settled(Verdict::Warning, "replay is paused"),
        false => settled(Verdict::Ok, "replay runs"),
    }
}

/// What is said of the cluster as a whole, where something is to be said.
pub(crate) fn cluster(nodes: &[Facts], scene: &Scene, limits: &Limits) -> Option<Judgement> {
    if scene.primary.is_none() {
        // The primary may be one that does not let us in.
        let hidden = |node: &Facts| matches!(node.trouble, Some(Trouble::Refused(_)));
        let judgement = match nodes.iter().any(hidden) {
            true => settled(Verdict::Unknown, "no primary was found"),
            false => settled(Verdict::Critical, "no node accepts writes"),
        };
        return Some(judgement.settled_if(scene.is_without_primary()));
    }
    let serving = serving(nodes);
    let least = limits.min_replicas.filter(|least| serving < *least)?;
    Some(settled(
        Verdict::Critical,
        format!("{serving} of at least {least} replicas in rotation"),
    ))
}

fn serving(nodes: &[Facts]) -> usize {
    nodes
        .iter()
        .filter(|node| node.takes_reads() && !node.is_primary && node.twin.is_none())
        .count()
}

/// Whether as many replicas take reads as somebody has said to be enough.
pub(crate) fn has_enough(nodes: &[Facts], limits: &Limits) -> bool {
    let least = limits.min_replicas.filter(|least| *least > 0);
    least.is_some_and(|least| serving(nodes) >= least)
}

/// What a node's verdict counts for in that of the cluster.
pub(crate) fn weight(node: &Facts, verdict: Verdict, has_enough: bool) -> Verdict {
    let is_replica = !node.is_primary && node.role != Some(Role::Primary);
    if is_replica && has_enough {
        verdict.min(Verdict::Warning)
    } else {
        verdict
    }
}

/// A receiver that was just lost may be on its way back.
const CONFIRMED: Duration = Duration::from_millis(600);

#[cfg(test)]
mod tests;
