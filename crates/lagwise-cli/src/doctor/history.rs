//! Whether what the replicas hold is what the primary wrote.
//!
//! An old primary that comes back without being rewound holds what nobody else has, and cannot stream.
//! That it has parted is proved in two ways: it has replayed beyond where the primary stood later, or its
//! sender has ended its stream with an older timeline, and it stands beyond the way on. What else keeps a
//! stream from flowing is the business of `stream`.

use super::cluster::Cluster;
use super::examine::Found;
use super::finding::{Finding, Severity};

pub(super) fn findings(cluster: &Cluster) -> Vec<Finding> {
    let mut primaries = cluster.primaries();
    // Of two, nobody knows whose history it is to be.
    let (Some((name, primary)), None) = (primaries.next(), primaries.next()) else {
        return Vec::new();
    };
    let replicas = cluster.replicas();
    let replicas = replicas.filter(|(_, f)| f.seen.state.system == primary.seen.state.system);
    replicas
        .filter_map(|(node, found)| Some(parted(name, primary, found)?.on(node)))
        .collect()
}

fn parted(name: &str, primary: &Found, replica: &Found) -> Option<Finding> {
    let (state, receiver) = (&replica.seen.state, &replica.seen.state.receiver);
    let beyond = state.replayed.zip(primary.stood);
    let older = receiver.timeline.zip(primary.seen.state.timeline);
    let has_ended = receiver.status.as_deref() == Some("waiting") && receiver.is_at_end;
    let what = match (beyond, older) {
        (Some((replayed, stood)), _) if replayed > stood => {
            format!("its history is not the primary's: it has replayed what {name} never wrote")
        }
        (_, Some((theirs, ours))) if theirs < ours && has_ended => format!(
            "its history is not the primary's: it stands beyond the end of timeline {theirs}, and \
             {name} is on timeline {ours}"
        ),
        _ => return None,
    };
    let finding = Finding::new(Severity::Problem, "history", what)
        .because("it shows rows that the primary never had, and gets none that are new");
    Some(finding.mend("stop it, then pg_rewind it to the primary, or build it anew: pg_basebackup"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::cluster::tests::well;

    #[test]
    fn a_replica_that_stands_where_the_primary_has_not_been_has_another_history() {
        let mut cluster = Cluster::of(vec![well(false), well(true)]);
        cluster.node_mut(0).stood = Some(100);
        for (replayed, count) in [(None, 0), (Some(100), 0), (Some(101), 1)] {
            cluster.node_mut(1).seen.state.replayed = replayed;
            assert_eq!(findings(&cluster).len(), count, "{replayed:?}");
        }
        cluster.node_mut(0).seen.state.system = 2;
        assert_eq!(findings(&cluster), [], "it is of another cluster");
    }

    #[test]
    fn a_replica_whose_timeline_has_ended_and_that_has_no_way_on_has_another_history() {
        let mut cluster = Cluster::of(vec![well(false), well(true)]);
        cluster.node_mut(0).seen.state.timeline = Some(2);
        for (status, is_at_end, count) in [
            ("streaming", true, 0),
            ("waiting", false, 0),
            ("waiting", true, 1),
        ] {
            let receiver = &mut cluster.node_mut(1).seen.state.receiver;
            receiver.status = Some(status.to_owned());
            receiver.is_at_end = is_at_end;
            assert_eq!(findings(&cluster).len(), count, "{status} {is_at_end}");
        }
        cluster.node_mut(0).seen.state.timeline = Some(1);
        assert_eq!(findings(&cluster), [], "it waits for more of the same");
    }
}
