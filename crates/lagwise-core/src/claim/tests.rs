//! What a claim says survives the way and every merge.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn read_on((started, at): (i64, u64)) -> Option<ReadFrom> {
    Some(ReadFrom::Server(
        ServerStart::new(started),
        WallTime::from_millis(at),
    ))
}

fn claims() -> impl Strategy<Value = Claim> {
    let read = prop_oneof![
        Just(None),
        Just(Some(ReadFrom::Several)),
        (any::<i64>(), 0_u64..1 << 48).prop_map(read_on),
        (0_i64..2, 0_u64..3).prop_map(read_on),
    ];
    let place = (
        1_u64..3,
        1_u32..4,
        prop::option::of(prop_oneof![0_u64..9, any::<u64>()]),
    );
    let times = (0_u64..1 << 48, prop::option::of(0_u64..1 << 56));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (place, times, flags, read).prop_map(
        |((system, timeline, lsn), (issued, until), (beyond, uncaptured, lost), read)| Claim {
            system: SystemId::new(system),
            timeline: Timeline::new(timeline),
            lsn: lsn.map(Lsn::new),
            issued: WallTime::from_millis(issued),
            beyond,
            uncaptured,
            lost,
            unsettled_until: until.map(WallTime::from_millis),
            read,
        },
    )
}

/// Whether whoever takes up `more` looks at least as far as whoever takes up `less`.
fn looks_as_far(more: &Claim, less: &Claim) -> bool {
    let position = match (more.lsn, less.lsn) {
        (_, None) => true,
        (Some(more_lsn), Some(lsn)) if more.timeline == less.timeline => more_lsn >= lsn,
        // What is kept of an earlier timeline lies below everything on the next.
        (Some(_), Some(_)) => more.timeline > less.timeline,
        (None, Some(_)) => more.beyond,
    };
    let read = match (more.read, less.read) {
        (_, None) | (Some(ReadFrom::Several), _) => true,
        (Some(ReadFrom::Server(one, at)), Some(ReadFrom::Server(other, first))) => {
            one == other && at <= first
        }
        _ => false,
    };
    position
        && read
        && more.timeline >= less.timeline
        && more.issued >= less.issued
        && (more.beyond || !less.beyond)
        && (more.uncaptured || !less.uncaptured)
        && more.unsettled_until >= less.unsettled_until
}

proptest! {
    #[test]
    fn a_claim_is_read_as_it_was_written(claim in claims()) {
        let bytes = claim.encode();
        prop_assert!((19..=48).contains(&bytes.len()), "{} bytes", bytes.len());
        prop_assert_eq!(Claim::decode(&bytes), Some(claim));
    }

    #[test]
    fn a_claim_cut_off_anywhere_or_with_a_byte_too_many_is_none(claim in claims(), byte: u8) {
        let mut bytes = claim.encode();
        for length in 0..bytes.len() {
            prop_assert_eq!(Claim::decode(&bytes[..length]), None, "{} bytes", length);
        }
        bytes.push(byte);
        prop_assert_eq!(Claim::decode(&bytes), None);
    }

    #[test]
    fn bytes_that_are_a_claim_are_the_only_ones_for_it(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        if let Some(claim) = Claim::decode(&bytes) {
            prop_assert_eq!(claim.encode(), bytes);
        }
    }

    #[test]
    fn merged_claims_say_what_each_of_them_says(one in claims(), other in claims()) {
        prop_assert_eq!(one.merge(one), one, "once more changes nothing");
        prop_assume!(one.system == other.system);
        let both = one.merge(other);
        prop_assert_eq!(both, other.merge(one));
        prop_assert!(looks_as_far(&both, &one), "{:?} says less than {:?}", both, one);
        prop_assert!(looks_as_far(&both, &other), "{:?} says less than {:?}", both, other);
        prop_assert_eq!(both.merge(one), both, "what was merged is in it");
    }

    /// A store merges in whichever order its requests come.
    #[test]
    fn on_one_timeline_the_order_of_merging_makes_no_difference(
        (mut a, mut b, mut c) in (claims(), claims(), claims())
    ) {
        for claim in [&mut a, &mut b, &mut c] {
            claim.system = SystemId::new(1);
            claim.timeline = Timeline::new(1);
        }
        prop_assert_eq!(a.merge(b).merge(c), a.merge(b.merge(c)));
    }

    #[test]
    fn in_every_order_everything_is_said((a, mut b, mut c) in (claims(), claims(), claims())) {
        (b.system, c.system) = (a.system, a.system);
        for merged in [a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)] {
            for one in [a, b, c] {
                prop_assert!(looks_as_far(&merged, &one), "{:?} says less than {:?}", merged, one);
            }
        }
    }

    #[test]
    fn of_two_clusters_the_claim_made_later_counts(one in claims(), other in claims()) {
        prop_assume!(one.system != other.system && one.issued != other.issued);
        let later = if one.issued > other.issued { one } else { other };
        prop_assert_eq!(one.merge(other), later);
        prop_assert_eq!(other.merge(one), later);
    }
}

#[test]
fn flags_that_nobody_knows_are_no_claim() {
    let claim = Claim::new(SystemId::new(7), Timeline::new(1), WallTime::from_millis(9));
    let bytes = claim.encode();
    let accepted: Vec<u8> = (0..=u8::MAX)
        .filter(|flags| {
            let mut bytes = bytes.clone();
            bytes[0] = *flags;
            // Enough for every field that a flag can announce.
            (0..=29).any(|more| {
                let longer = [&bytes[..], &[0; 29][..more]].concat();
                Claim::decode(&longer).is_some()
            })
        })
        .collect();
    let both_reads = |flags: &u8| flags & READ != 0 && flags & SEVERAL != 0;
    let expected: Vec<u8> = (0..=KNOWN).filter(|flags| !both_reads(flags)).collect();
    assert_eq!(accepted, expected);
}

#[test]
fn positions_are_compared_as_numbers() {
    let at = |lsn| Claim {
        lsn: Some(Lsn::new(lsn)),
        ..Claim::new(SystemId::new(1), Timeline::new(1), WallTime::from_millis(0))
    };
    // As text "0/9000000" is after "0/10000000", and "F/0" after "10/0".
    for (less, more) in [(0x900_0000, 0x1000_0000), (0xF_0000_0000, 0x10_0000_0000)] {
        assert_eq!(at(less).merge(at(more)), at(more));
        assert_eq!(at(more).merge(at(less)), at(more));
    }
}

#[test]
fn a_position_on_a_timeline_that_has_ended_is_not_told_as_one_on_the_next() {
    let on = |timeline, lsn: Option<u64>| Claim {
        lsn: lsn.map(Lsn::new),
        ..Claim::new(
            SystemId::new(1),
            Timeline::new(timeline),
            WallTime::from_millis(0),
        )
    };
    let both = on(1, Some(900)).merge(on(2, None));
    assert_eq!((both.timeline, both.lsn), (Timeline::new(2), None));
    assert!(
        both.beyond && both.uncaptured,
        "whoever takes it up looks further"
    );
    let later = on(1, Some(900)).merge(on(2, Some(100)));
    assert_eq!(later, on(2, Some(100)), "all that is kept lies below");
}

#[test]
fn a_later_claim_does_not_excuse_a_break_after_an_earlier_read() {
    let claim = |issued: u64, read: Option<ReadFrom>| {
        let mut claim = Claim::new(
            SystemId::new(1),
            Timeline::new(1),
            WallTime::from_millis(issued),
        );
        claim.read = read;
        claim
    };
    let early = claim(10, read_on((5, 10)));
    for later in [claim(90, None), claim(90, read_on((5, 90)))] {
        for merged in [early.merge(later), later.merge(early)] {
            assert_eq!(
                merged.read,
                read_on((5, 10)),
                "it has to have run since then"
            );
            assert_eq!(merged.issued, WallTime::from_millis(90));
        }
    }
}
