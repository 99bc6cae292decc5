//! Whether the servers' clocks agree.
//!
//! Nothing that is proved depends on a clock of theirs. People do who compare timestamps, and so does
//! every tool that subtracts `pg_last_xact_replay_timestamp()` from the time.

use std::time::Duration;

use super::cluster::Cluster;
use super::examine::Clock;
use super::finding::{Finding, Severity};
use crate::format::short;

pub(super) fn findings(cluster: &Cluster) -> Vec<Finding> {
    let Some((reference, ours)) = cluster
        .primary()
        .and_then(|(name, found)| Some((name, found.clock?)))
    else {
        return Vec::new();
    };
    let others = cluster.replicas();
    others
        .filter_map(|(name, found)| Some(apart(reference, ours, found.clock?)?.on(name)))
        .collect()
}

fn apart(reference: &str, ours: Clock, theirs: Clock) -> Option<Finding> {
    let (ahead, error) = offset(ours, theirs);
    let beyond = ahead.abs() - error;
    (beyond > MUCH).then(|| {
        let span = Duration::try_from_secs_f64(ahead.abs()).unwrap_or(Duration::MAX);
        let direction = if ahead > 0.0 { "ahead of" } else { "behind" };
        let what = format!(
            "its clock is {} {direction} that of {reference}",
            short(span)
        );
        Finding::new(Severity::Note, "clock", what)
            .because(
                "lagwise proves lag without it; people and tools that compare timestamps are wrong \
                 by as much",
            )
            .mend("run chrony or systemd-timesyncd there: timedatectl set-ntp true")
    })
}

/// By how much one clock is ahead of another, and the error of that, in seconds.
pub(super) fn offset(ours: Clock, theirs: Clock) -> (f64, f64) {
    (theirs.ahead - ours.ahead, theirs.error + ours.error)
}

/// Half of the lag that is allowed by default.
const MUCH: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_counts_by_what_is_certain_of_it() {
        let clock = |ahead, error| Clock { ahead, error };
        let with = |ahead, error| apart("db-1", clock(1e9, 0.001), clock(1e9 + ahead, error));
        assert_eq!(with(0.1, 0.001), None);
        assert_eq!(with(0.7, 0.3), None, "the question took long");
        let ahead = with(3.0, 0.001).expect("it is off");
        assert!(ahead.what.contains("s ahead of that of db-1"), "{ahead:?}");
        let behind = with(-3.0, 0.001).expect("it is off");
        assert!(behind.what.contains("s behind that of db-1"), "{behind:?}");
    }
}
