//! Every state that a node can be in, and what is made of it.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn limits() -> Limits {
    Limits {
        warn: Duration::from_secs(1),
        crit: Duration::from_secs(5),
        warn_bytes: None,
        crit_bytes: None,
        min_replicas: None,
    }
}

fn scene() -> Scene {
    Scene {
        primary: Some("db-1".into()),
        primary_for: Duration::from_millis(300),
        writes: true,
        all_heard: true,
    }
}

/// A replica that is as it should be.
fn well() -> Facts {
    Facts {
        name: "db-2".into(),
        given_as: Some(Role::Replica),
        role: Some(Role::Replica),
        is_primary: false,
        membership: "in_rotation",
        cause: None,
        most: Some(Duration::from_millis(12)),
        least: None,
        estimate: None,
        by_commits: None,
        bytes: Some(0),
        lsn: None,
        balanced: false,
        stream: Stream::Flows,
        stream_for: Duration::from_secs(1),
        paused: false,
        read_only: false,
        twin: None,
        all_identified: true,
        trouble: None,
    }
}

fn out(cause: &'static str) -> Facts {
    Facts {
        membership: "ejected",
        cause: Some(cause),
        ..well()
    }
}

fn secs(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn is(facts: &Facts, verdict: Verdict, settled: bool, reason: &str) {
    let expected = Judgement {
        verdict,
        reason: reason.to_owned(),
        settled,
    };
    assert_eq!(node(facts, &scene(), &limits()), expected, "{facts:?}");
}

#[test]
fn a_node_that_does_not_answer_is_down_unless_it_is_known_not_to_be() {
    let gone = |trouble| Facts {
        trouble,
        ..out("unreachable")
    };
    let down = Some(Trouble::Down("cannot be reached: why".into()));
    is(
        &gone(down.clone()),
        Verdict::Critical,
        true,
        "cannot be reached: why",
    );
    let refused = Some(Trouble::Refused("refused the login: why".into()));
    is(
        &gone(refused),
        Verdict::Unknown,
        true,
        "refused the login: why",
    );
    is(&gone(None), Verdict::Critical, false, "does not answer");
    let early = |trouble| Facts {
        role: None,
        trouble,
        ..out("unproved")
    };
    is(&early(None), Verdict::Critical, false, "does not answer");
    is(
        &early(down),
        Verdict::Critical,
        false,
        "cannot be reached: why",
    );
}

#[test]
fn a_node_that_is_no_standby_is_the_primary_or_one_too_many() {
    let standing = |cause| Facts {
        role: Some(Role::Primary),
        ..out(cause)
    };
    let primary = Facts {
        is_primary: true,
        ..standing("promoted")
    };
    let reason = "accepts writes, though it was given as a replica";
    is(&primary, Verdict::Ok, true, reason);
    let reason = "accepts writes, and so does db-1: two primaries";
    is(&standing("promoted"), Verdict::Critical, true, reason);
    let early = Facts {
        all_identified: false,
        ..standing("promoted")
    };
    is(&early, Verdict::Critical, false, reason);
    let twin = Facts {
        twin: Some("db-1".into()),
        ..standing("promoted")
    };
    let reason = "is the same server as db-1: name each once";
    is(&twin, Verdict::Unknown, true, reason);
    let read_only = Facts {
        read_only: true,
        ..standing("promoted")
    };
    let reason = "is no standby and accepts no writes: default_transaction_read_only is on";
    is(&read_only, Verdict::Critical, true, reason);
    let reason = "holds the data of another cluster";
    is(&standing("foreign"), Verdict::Critical, true, reason);
}

#[test]
fn a_replica_of_another_history_is_critical_however_near_it_looks() {
    let reason = "holds the data of another cluster";
    is(&out("foreign"), Verdict::Critical, true, reason);
    let reason = "has replayed what the primary never wrote: it must be rewound or rebuilt";
    is(&out("diverged"), Verdict::Critical, true, reason);
    let balanced = Facts {
        balanced: true,
        ..well()
    };
    let reason = "is an address of several servers, of which none can be judged";
    is(&balanced, Verdict::Unknown, true, reason);
}

#[test]
fn a_replica_that_has_everything_is_well_if_it_goes_on_to() {
    is(&well(), Verdict::Ok, true, "at most 12ms behind");
    let paused = Facts {
        paused: true,
        ..out("paused")
    };
    let reason = "at most 12ms behind, replay is paused";
    is(&paused, Verdict::Warning, true, reason);
    let returning = Facts {
        membership: "probation",
        cause: Some("unproved"),
        ..well()
    };
    is(&returning, Verdict::Ok, false, "at most 12ms behind");
    let demoted = Facts {
        given_as: Some(Role::Primary),
        ..well()
    };
    let reason = "at most 12ms behind, though it was given as the primary";
    is(&demoted, Verdict::Ok, true, reason);
}

#[test]
fn a_cut_stream_is_a_warning_once_it_is_sure() {
    let with = |stream, millis| Facts {
        stream,
        stream_for: Duration::from_millis(millis),
        ..well()
    };
    let waiting = || Stream::Cut(Some("waiting".into()));
    let silent = || Stream::Silent(Duration::from_secs(33));
    for (stream, millis, settled, reason) in [
        (Stream::Cut(None), 900, true, "is cut: no receiver runs"),
        (Stream::Cut(None), 0, false, "is cut: no receiver runs"),
        (waiting(), 900, true, "is cut: the receiver is waiting"),
        (silent(), 0, true, "is cut: silent for 33.0s"),
    ] {
        let reason = format!("at most 12ms behind, its stream {reason}");
        is(&with(stream, millis), Verdict::Warning, settled, &reason);
    }
    is(
        &with(Stream::Archive, 0),
        Verdict::Ok,
        true,
        "at most 12ms behind",
    );
    let reason = "at most 12ms behind, its stream was not looked at";
    is(&with(Stream::Unknown, 900), Verdict::Unknown, false, reason);
}

#[test]
fn a_replica_that_cannot_follow_has_diverged_once_it_is_sure() {
    let with = |millis| Facts {
        stream: Stream::Parted(1),
        stream_for: Duration::from_millis(millis),
        ..well()
    };
    let reason = "at most 12ms behind, its stream is cut: the receiver is waiting";
    is(&with(0), Verdict::Warning, false, reason);
    let reason = "has diverged: its stream is cut (the receiver is waiting) at the end of timeline 1, \
                  which the primary has left: it must be rewound or rebuilt";
    is(&with(900), Verdict::Critical, true, reason);
}

#[test]
fn a_lag_is_what_both_of_its_bounds_say() {
    let with = |least, most| Facts {
        least,
        most,
        ..well()
    };
    for (least, most, verdict, settled) in [
        (None, secs(1), Verdict::Ok, true),
        (secs(2), secs(3), Verdict::Warning, true),
        (None, secs(3), Verdict::Warning, false),
        (secs(6), secs(7), Verdict::Critical, true),
        (secs(4), secs(7), Verdict::Critical, false),
        (secs(1), None, Verdict::Unknown, false),
        (secs(2), None, Verdict::Warning, false),
        (secs(6), None, Verdict::Critical, true),
        (None, None, Verdict::Unknown, false),
    ] {
        let judged = node(&with(least, most), &scene(), &limits());
        let found = (judged.verdict, judged.settled);
        assert_eq!(
            found,
            (verdict, settled),
            "{least:?} to {most:?}: {judged:?}"
        );
    }
}

#[test]
fn commit_timestamps_decide_only_what_is_late_and_not_yet_proved() {
    let with = |least, most| Facts {
        least,
        most,
        by_commits: secs(3600),
        ..well()
    };
    for (least, most, verdict) in [
        (None, secs(1), Verdict::Ok),
        (secs(1), None, Verdict::Unknown),
        (secs(2), None, Verdict::Critical),
    ] {
        let judged = node(&with(least, most), &scene(), &limits());
        assert_eq!(judged.verdict, verdict, "{judged:?}");
    }
    let idle = Scene {
        writes: false,
        ..scene()
    };
    let judged = node(&with(secs(2), None), &idle, &limits());
    assert_eq!(
        judged.verdict,
        Verdict::Warning,
        "it may have been idle for an hour"
    );
    let judged = node(&with(secs(2), None), &scene(), &limits());
    let expected = "at least 2.00s behind, at most 1h 0m by commit timestamps";
    assert_eq!(judged.reason, expected);
}

#[test]
fn bytes_are_judged_only_by_limits_for_them() {
    let limits = Limits {
        warn_bytes: Some(10),
        crit_bytes: Some(20),
        ..limits()
    };
    for (bytes, verdict) in [
        (Some(10), Verdict::Ok),
        (Some(11), Verdict::Warning),
        (Some(21), Verdict::Critical),
        (None, Verdict::Unknown),
    ] {
        let judged = node(&Facts { bytes, ..well() }, &scene(), &limits);
        assert_eq!(judged.verdict, verdict, "{judged:?}");
    }
}

#[test]
fn without_a_primary_no_lag_is_known_and_the_cluster_is_critical() {
    let headless = |primary_for| Scene {
        primary: None,
        primary_for,
        writes: false,
        all_heard: true,
    };
    for (span, settled) in [(Duration::ZERO, false), (Duration::from_secs(1), true)] {
        let scene = headless(span);
        let judged = node(&well(), &scene, &limits());
        assert_eq!(
            (judged.verdict, judged.settled),
            (Verdict::Unknown, settled)
        );
        let whole = cluster(&[well()], &scene, &limits()).expect("something is wrong");
        assert_eq!((whole.verdict, whole.settled), (Verdict::Critical, settled));
    }
    let hidden = Facts {
        trouble: Some(Trouble::Refused("why".into())),
        ..out("unreachable")
    };
    let whole = cluster(&[hidden], &headless(Duration::from_secs(1)), &limits());
    assert_eq!(whole.map(|whole| whole.verdict), Some(Verdict::Unknown));
}

#[test]
fn too_few_replicas_in_rotation_are_critical() {
    let limits = |min_replicas| Limits {
        min_replicas: Some(min_replicas),
        ..limits()
    };
    let nodes = [
        well(),
        out("lagging"),
        Facts {
            is_primary: true,
            ..well()
        },
    ];
    assert_eq!(
        cluster(&nodes, &scene(), &limits(1)),
        None,
        "the primary does not count"
    );
    let twin = Facts {
        twin: Some("db-2".into()),
        ..well()
    };
    let twice = cluster(&[well(), twin], &scene(), &limits(2));
    assert_eq!(twice, cluster(&nodes, &scene(), &limits(2)));
    let few = cluster(&nodes, &scene(), &limits(2)).expect("something is wrong");
    assert_eq!(few.verdict, Verdict::Critical);
    assert_eq!(few.reason, "1 of at least 2 replicas in rotation");
}

#[test]
fn with_enough_replicas_in_rotation_another_that_is_bad_is_a_warning() {
    let limits = |min_replicas| Limits {
        min_replicas,
        ..limits()
    };
    let nodes = [well(), out("lagging")];
    let bad = [Verdict::Unknown, Verdict::Critical];
    for (least, softened) in [
        (None, false),
        (Some(0), false),
        (Some(1), true),
        (Some(2), false),
    ] {
        let enough = has_enough(&nodes, &limits(least));
        for verdict in bad {
            let expected = if softened { Verdict::Warning } else { verdict };
            assert_eq!(weight(&nodes[1], verdict, enough), expected, "{least:?}");
        }
        assert_eq!(weight(&nodes[0], Verdict::Ok, enough), Verdict::Ok);
    }
    let rival = Facts {
        role: Some(Role::Primary),
        ..well()
    };
    let primary = Facts {
        is_primary: true,
        ..rival.clone()
    };
    for node in [rival, primary] {
        assert_eq!(weight(&node, Verdict::Critical, true), Verdict::Critical);
    }
}

fn spans() -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of((0_u64..10_000).prop_map(Duration::from_millis))
}

fn streams() -> impl Strategy<Value = Stream> {
    prop_oneof![
        Just(Stream::Unknown),
        Just(Stream::Flows),
        Just(Stream::Cut(None)),
        Just(Stream::Cut(Some("waiting".into()))),
        Just(Stream::Silent(Duration::from_secs(20))),
    ]
}

proptest! {
    #[test]
    fn nothing_is_ok_but_by_proof(
        most in spans(),
        least in spans(),
        by_commits in spans(),
        stream in streams(),
        paused: bool,
        with_primary: bool,
        elapsed in 0_u64..10_000,
    ) {
        let facts = Facts { most, least, by_commits, stream: stream.clone(), paused, ..well() };
        let scene = Scene {
            primary: with_primary.then(|| "db-1".into()),
            primary_for: Duration::from_millis(elapsed),
            writes: true,
            all_heard: true,
        };
        let limits = limits();
        let judged = node(&facts, &scene, &limits);
        let near = with_primary && most.is_some_and(|most| most <= limits.warn);
        let flows = stream == Stream::Flows;
        prop_assert_eq!(judged.verdict == Verdict::Ok, near && flows && !paused);
        // A replica that has all that the primary had is critical for no lag.
        if near {
            prop_assert!(judged.verdict < Verdict::Critical);
        }
    }
}
