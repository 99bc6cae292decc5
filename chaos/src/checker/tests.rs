//! Hand-made histories: each breach, and beside it the innocent one that looks like it.
//!
//! One key, unless said otherwise; an operation takes five milliseconds. The trail holds every answered
//! write but those a test takes out.

use std::time::Duration;

use super::{Floor, Guarantee, Terms, Verdict, judge};
use crate::history::{Ending, Entry, Excuse, Failover, Op, Outcome};

const MS: Duration = Duration::from_millis(1);

fn write(session: usize, version: u64, began: u32) -> Entry {
    Entry {
        session,
        order: began as usize,
        op: Op::Write,
        key: 1,
        version,
        nonce: format!("v{version}"),
        began: MS * began,
        ended: MS * (began + 5),
        outcome: Outcome::Ok,
        node: String::new(),
        instance: 0,
        staleness: None,
        lost: false,
    }
}

fn read(session: usize, version: u64, began: u32, node: &str) -> Entry {
    Entry {
        op: Op::Read,
        node: node.to_owned(),
        nonce: if version == 0 {
            String::new()
        } else {
            format!("v{version}")
        },
        ..write(session, version, began)
    }
}

/// Writes by a session that is in no other way there, so that reads have something to show.
fn written(versions: u64) -> Vec<Entry> {
    (1..=versions).map(|version| write(9, version, 0)).collect()
}

/// All writes are in the trail, and the primary stayed.
fn ending(entries: &[Entry]) -> Ending {
    let writes = entries.iter().filter(|entry| entry.op == Op::Write);
    let answered = writes.filter(|entry| entry.answered());
    Ending {
        trail: answered.map(Entry::mark).collect(),
        failovers: Vec::new(),
    }
}

/// The same, but `replica-1` became the primary between 100 and 200 ms, and these bodies were lost.
fn after_failover(entries: &[Entry], lost: &[&str]) -> Ending {
    let mut ending = ending(entries);
    ending
        .trail
        .retain(|(_, _, nonce)| !lost.contains(&nonce.as_str()));
    ending.failovers.push(Failover {
        killed: MS * 100,
        promoted: MS * 200,
        primary: "replica-1".to_owned(),
        ..Failover::default()
    });
    ending
}

fn kinds(verdict: &Verdict) -> Vec<Guarantee> {
    verdict
        .breaches
        .iter()
        .map(|breach| breach.guarantee)
        .collect()
}

/// Asserts what is found in a history, beside a few writes of someone else.
#[track_caller]
fn check(entries: Vec<Entry>, expected: &[Guarantee], law: &str) {
    let entries = [written(3), entries].concat();
    // Whoever writes a version that exists is judged for that elsewhere.
    let mut ending = ending(&entries);
    ending.trail.extend(entries.iter().map(Entry::mark));
    let verdict = judge(&entries, &ending, &Terms::default());
    assert_eq!(kinds(&verdict), expected, "{law}");
}

#[track_caller]
fn check_failover(entries: &[Entry], lost: &[&str], terms: &Terms) -> Verdict {
    judge(entries, &after_failover(entries, lost), terms)
}

#[test]
fn a_session_reads_what_it_wrote() {
    let broken = &[Guarantee::ReadYourWrites];
    let then = |version, at, node| vec![write(1, 2, 10), read(1, version, at, node)];
    check(then(1, 20, "replica-1"), broken, "on a replica");
    check(then(1, 20, "primary"), broken, "on the primary");
    check(then(0, 20, "primary"), broken, "no note is version 0");
    check(then(2, 20, "replica-1"), &[], "its own");
    check(then(3, 20, "replica-1"), &[], "a newer one");
    check(then(1, 12, "replica-1"), &[], "while the write ran");
    let other = vec![write(1, 2, 10), read(2, 1, 20, "replica-1")];
    check(other, &[], "another session");
    let elsewhere = Entry {
        key: 2,
        ..read(1, 1, 20, "replica-1")
    };
    check(vec![write(1, 2, 10), elsewhere], &[], "another key");
    let unknown = Entry {
        outcome: Outcome::Unknown,
        ..write(1, 2, 10)
    };
    check(
        vec![unknown, read(1, 1, 20, "replica-1")],
        &[],
        "a write nobody acknowledged",
    );
}

#[test]
fn reads_do_not_go_back_but_from_a_replica_to_the_primary() {
    let broken = &[Guarantee::MonotonicReads];
    let hop = |from, to| vec![read(1, 2, 10, from), read(1, 1, 20, to)];
    check(hop("replica-1", "replica-2"), broken, "between replicas");
    check(hop("replica-1", "replica-1"), broken, "on one replica");
    check(
        hop("primary", "replica-1"),
        broken,
        "from the primary to a replica",
    );
    check(hop("primary", "primary"), broken, "on the primary");
    check(
        hop("replica-1", "primary"),
        &[],
        "from a replica to the primary",
    );
    check(hop("replica-1", ""), &[], "to a node that nobody names");
    let forward = vec![read(1, 1, 10, "replica-1"), read(1, 2, 20, "replica-2")];
    check(forward, &[], "forward");
    let beside = vec![read(1, 2, 10, "replica-1"), read(1, 1, 12, "replica-2")];
    check(beside, &[], "at the same time");
    let entries = [written(3), hop("replica-1", "primary")].concat();
    let verdict = judge(&entries, &ending(&entries), &Terms::default());
    assert_eq!(verdict.back_to_primary, 1, "it is counted all the same");
}

#[test]
fn a_write_comes_after_what_its_session_knows() {
    let broken = &[Guarantee::WritesFollowReads];
    let then = |version| vec![read(1, 2, 10, "primary"), write(1, version, 20)];
    check(then(2), broken, "the version it has read");
    check(then(3), &[], "a newer one");
    check(
        vec![write(1, 3, 10), write(1, 2, 20)],
        broken,
        "after a write",
    );
    check(
        vec![read(1, 2, 10, "primary"), write(1, 2, 12)],
        &[],
        "at the same time",
    );
}

#[test]
fn a_version_has_one_body() {
    let other = Entry {
        nonce: "other".to_owned(),
        ..write(1, 2, 20)
    };
    let entries = [written(3), vec![other]].concat();
    let mut ending = ending(&entries);
    ending.trail.retain(|(_, _, nonce)| nonce != "other");
    let verdict = judge(&entries, &ending, &Terms::default());
    assert_eq!(kinds(&verdict), [Guarantee::Fork], "two writers");
    let unwritten = vec![read(1, 9, 20, "replica-1")];
    let entries = [written(3), unwritten].concat();
    let verdict = judge(&entries, &super::tests::ending(&entries), &Terms::default());
    assert_eq!(
        kinds(&verdict),
        [Guarantee::Fork],
        "a read of what nobody wrote"
    );
    check(
        vec![read(1, 2, 20, "replica-1")],
        &[],
        "a read of what somebody wrote",
    );
}

#[test]
fn what_is_acknowledged_is_there_in_the_end() {
    let entries = written(3);
    let mut gone = ending(&entries);
    gone.trail.retain(|(_, version, _)| *version != 3);
    let verdict = judge(&entries, &gone, &Terms::default());
    assert_eq!(kinds(&verdict), [Guarantee::Lost], "an acknowledged write");
    let unknown: Vec<Entry> = entries
        .into_iter()
        .map(|entry| Entry {
            outcome: Outcome::Unknown,
            ..entry
        })
        .collect();
    let verdict = judge(&unknown, &Ending::default(), &Terms::default());
    assert_eq!(kinds(&verdict), [], "writes that nobody acknowledged");
    assert_eq!(verdict.unknown, 3, "they are counted");
}

#[test]
fn a_failover_excuses_what_it_lost_and_nothing_else() {
    let terms = Terms::default();
    let missed = [
        write(1, 1, 10),
        write(1, 2, 20),
        read(1, 1, 210, "replica-1"),
    ];
    let verdict = check_failover(&missed, &["v2"], &terms);
    assert_eq!(kinds(&verdict), [], "the cluster lost it");
    let counted = (verdict.lost_by_cluster, verdict.missed_lost);
    assert_eq!(counted, (1, 1), "both are counted");

    let verdict = check_failover(&missed, &[], &terms);
    assert_eq!(
        kinds(&verdict),
        [Guarantee::ReadYourWrites],
        "it is there, and was not read"
    );

    let before = [
        write(1, 1, 10),
        write(1, 2, 20),
        read(1, 1, 60, "replica-1"),
    ];
    let verdict = check_failover(&before, &["v2"], &terms);
    assert_eq!(
        kinds(&verdict),
        [Guarantee::ReadYourWrites],
        "missed before it was lost"
    );

    let late = [
        write(1, 1, 10),
        write(1, 2, 210),
        read(1, 1, 260, "replica-2"),
    ];
    let verdict = check_failover(&late, &["v2"], &terms);
    let expected = [Guarantee::Lost, Guarantee::ReadYourWrites];
    assert_eq!(
        kinds(&verdict),
        expected,
        "written after the promotion, and lost"
    );

    let again = Entry {
        nonce: "again".to_owned(),
        ..write(2, 2, 210)
    };
    let rewritten = [write(1, 1, 10), write(1, 2, 20), again];
    let verdict = check_failover(&rewritten, &["v2"], &terms);
    assert_eq!(
        kinds(&verdict),
        [],
        "a version may be written again once it was lost"
    );
}

#[test]
fn a_failover_excuses_one_lost_branch() {
    let other = Entry {
        nonce: "other".to_owned(),
        ..write(2, 2, 40)
    };
    let twice = [write(9, 1, 1), write(1, 2, 20), other];
    let verdict = check_failover(&twice, &["v2", "other"], &Terms::default());
    assert_eq!(kinds(&verdict).len(), 1, "two bodies before it");
    let verdict = check_failover(&twice[..2], &["v2"], &Terms::default());
    assert_eq!(kinds(&verdict), [], "one");
}

#[test]
fn reads_may_go_back_over_a_failover_only_by_what_it_lost() {
    let back = |version| {
        vec![
            write(9, 1, 1),
            write(9, 2, 10),
            read(1, 2, 20, "primary"),
            read(1, version, 210, "replica-2"),
        ]
    };
    let verdict = check_failover(&back(1), &["v2"], &Terms::default());
    assert_eq!(kinds(&verdict), [], "it was lost");
    let verdict = check_failover(&back(1), &[], &Terms::default());
    assert_eq!(kinds(&verdict), [Guarantee::MonotonicReads], "it was not");
}

#[test]
fn the_primary_is_who_was_it_at_the_time() {
    let entries = [
        write(9, 1, 1),
        write(9, 2, 2),
        read(1, 2, 210, "replica-2"),
        read(1, 1, 220, "replica-1"),
        read(2, 2, 20, "replica-2"),
        read(2, 1, 30, "replica-1"),
    ];
    let verdict = check_failover(&entries, &[], &Terms::default());
    assert_eq!(
        kinds(&verdict),
        [Guarantee::MonotonicReads],
        "before the promotion"
    );
    assert_eq!(verdict.back_to_primary, 1, "after it");
    let entries = [
        write(9, 1, 1),
        write(9, 2, 2),
        read(1, 2, 80, "replica-2"),
        read(1, 1, 98, "primary"),
        read(2, 2, 90, "replica-2"),
        read(2, 1, 150, "replica-1"),
    ];
    let verdict = check_failover(&entries, &[], &Terms::default());
    assert_eq!(kinds(&verdict), [], "either, while they change");
    assert_eq!(verdict.back_to_primary, 2, "both are counted");
}

#[test]
fn whoever_lost_something_is_told() {
    let terms = Terms {
        reports_loss: true,
        ..Terms::default()
    };
    let missed = [
        write(1, 1, 10),
        write(1, 2, 20),
        read(1, 1, 210, "replica-1"),
    ];
    let verdict = check_failover(&missed, &["v2"], &terms);
    assert_eq!(kinds(&verdict), [Guarantee::Unreported], "nobody said so");
    let mut told = missed.clone();
    told[2].lost = true;
    assert_eq!(
        kinds(&check_failover(&told, &["v2"], &terms)),
        [],
        "with the read"
    );
    let word = Entry {
        key: 2,
        lost: true,
        ..read(1, 0, 205, "replica-1")
    };
    let told = [&missed[..], &[word]].concat();
    assert_eq!(
        kinds(&check_failover(&told, &["v2"], &terms)),
        [],
        "before the read"
    );
    let late = Entry {
        lost: true,
        ..read(1, 1, 220, "replica-1")
    };
    let other = Entry {
        session: 2,
        lost: true,
        ..read(1, 1, 205, "replica-1")
    };
    for (word, law) in [(late, "after the read"), (other, "to someone else")] {
        let told = [&missed[..], &[word]].concat();
        let verdict = check_failover(&told, &["v2"], &terms);
        assert_eq!(kinds(&verdict), [Guarantee::Unreported], "{law}");
    }
    let verdict = check_failover(&missed, &["v2"], &Terms::default());
    assert_eq!(kinds(&verdict), [], "by a service that does not promise it");
}

#[test]
fn a_switchover_excuses_nothing() {
    let entries = [
        write(1, 1, 10),
        write(1, 2, 20),
        read(1, 1, 210, "replica-2"),
    ];
    let mut ending = after_failover(&entries, &["v2"]);
    ending.failovers[0].excuse = Excuse::None;
    // A later change is no excuse for what an earlier one lost.
    ending.failovers.push(Failover {
        killed: MS * 300,
        promoted: MS * 400,
        primary: "replica-2".to_owned(),
        ..Failover::default()
    });
    let verdict = judge(&entries, &ending, &Terms::default());
    let broken = [Guarantee::Lost, Guarantee::ReadYourWrites];
    assert_eq!(kinds(&verdict), broken, "it is lost, and missed");
}

/// `replica-1` takes writes from 200 ms on, and the instances need not know before 300 and 250 ms.
fn split(entries: &[Entry], strays: &[&str]) -> Ending {
    let mut ending = after_failover(entries, strays);
    let failover = &mut ending.failovers[0];
    failover.excuse = Excuse::Unaware(vec![MS * 300, MS * 250]);
    failover.strays = (1..9)
        .map(|version| (1, version, format!("v{version}")))
        .filter(|(_, _, nonce)| strays.contains(&nonce.as_str()))
        .collect();
    ending
}

#[test]
fn whoever_has_to_know_of_a_new_primary_writes_to_no_other() {
    let judged = |began: u32, instance: usize, outcome: Outcome| {
        let stray = Entry {
            instance,
            outcome,
            ..write(2, 2, began)
        };
        let entries = [write(1, 1, 10), stray];
        let verdict = judge(&entries, &split(&entries, &["v2"]), &Terms::default());
        kinds(&verdict)
    };
    let broken = [Guarantee::Fork];
    assert_eq!(judged(299, 0, Outcome::Ok), [], "it did not know yet");
    assert_eq!(judged(300, 0, Outcome::Ok), broken, "it knew");
    assert_eq!(judged(299, 1, Outcome::Ok), broken, "the other one knew");
    assert_eq!(judged(299, 0, Outcome::Unknown), [], "no answer, in time");
    assert_eq!(judged(300, 0, Outcome::Unknown), broken, "no answer");
}

#[test]
fn a_read_shows_an_old_primarys_rows_no_longer_than_writes_reach_it() {
    let judged = |began: u32| {
        let entries = [
            write(1, 1, 10),
            write(2, 2, 210),
            read(3, 2, began, "primary"),
        ];
        let verdict = judge(&entries, &split(&entries, &["v2"]), &Terms::default());
        kinds(&verdict)
    };
    assert_eq!(judged(299), [], "it did not know yet");
    assert_eq!(
        judged(300),
        [Guarantee::Fork],
        "nobody has that row any more"
    );
}

#[test]
fn whoever_lost_a_write_to_an_old_primary_is_told_after_it() {
    let terms = Terms {
        reports_loss: true,
        ..Terms::default()
    };
    let judged = |told: u32, shown: u64| {
        let word = Entry {
            lost: true,
            key: 2,
            ..read(1, 0, told, "replica-1")
        };
        let next = Entry {
            nonce: format!("w{shown}"),
            ..write(2, shown, 320)
        };
        let seen = Entry {
            nonce: next.nonce.clone(),
            ..read(1, shown, 400, "replica-1")
        };
        let entries = [write(1, 1, 10), word, write(1, 2, 220), next, seen];
        let verdict = judge(&entries, &split(&entries, &["v2"]), &terms);
        kinds(&verdict)
    };
    assert_eq!(judged(210, 2), [Guarantee::Unreported], "of another loss");
    assert_eq!(judged(350, 2), [], "of this one");
    let overtaken = [Guarantee::Unreported];
    assert_eq!(judged(210, 3), overtaken, "though others wrote as much");
}

#[test]
fn an_operation_ends_by_its_deadline() {
    let took = |millis: u32| Entry {
        ended: MS * (10 + millis),
        ..read(1, 1, 10, "replica-1")
    };
    check(vec![took(5_000)], &[Guarantee::Hung], "at the deadline");
    check(vec![took(4_999)], &[], "before it");
}

#[test]
fn a_read_is_no_older_than_the_bound() {
    let terms = Terms {
        bound: Some(MS * 100),
        ..Terms::default()
    };
    let judged = |read: Entry| {
        let entries = [write(9, 1, 1), write(9, 2, 10), read];
        kinds(&judge(&entries, &ending(&entries), &terms))
    };
    let broken = [Guarantee::Stale];
    assert_eq!(judged(read(1, 1, 116, "replica-1")), broken, "too old");
    assert_eq!(
        judged(read(1, 1, 115, "replica-1")),
        [],
        "just young enough"
    );
    assert_eq!(judged(read(1, 2, 120, "replica-1")), [], "the newest");
    let told = |millis: u32| Entry {
        staleness: Some(MS * millis),
        ..read(1, 2, 120, "replica-1")
    };
    assert_eq!(judged(told(101)), broken, "the service says so itself");
    assert_eq!(judged(told(100)), [], "it says that it is not");
}

#[test]
fn enough_reads_leave_a_healthy_primary() {
    let judged = |off: usize| {
        let node = |at: u32| {
            if at < u32::try_from(off).unwrap() {
                "replica-1"
            } else {
                "primary"
            }
        };
        let reads = (0..10).map(|at| read(1, 1, 10 + 10 * at, node(at)));
        let entries: Vec<Entry> = written(1).into_iter().chain(reads).collect();
        let floor = Floor {
            percent: 80,
            from: MS,
            until: MS * 1000,
        };
        let terms = Terms {
            floor: Some(floor),
            ..Terms::default()
        };
        kinds(&judge(&entries, &ending(&entries), &terms))
    };
    assert_eq!(judged(7), [Guarantee::Offload], "below the floor");
    assert_eq!(judged(8), [], "at the floor");
}
