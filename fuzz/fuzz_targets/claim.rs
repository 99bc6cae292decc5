//! Looks for bytes that are misread as a claim.
//!
//! What a token carries is signed, but a store of sessions is not, and neither is a key that leaked.
//! So any bytes are read as a claim, and laws are checked that hold whatever they say: nothing
//! panics, a claim is written as it was read, and merging two of them takes nothing away.
#![no_main]

use lagwise_core::{Claim, Monitor, NodeSpec, Policy, Role, Session};
use lagwise_core::{Instant, Snapshot, WallTime};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));

fn check(bytes: &[u8]) {
    let claims: Vec<Claim> = (0..=bytes.len())
        .filter_map(|at| Some((&bytes[..at], Claim::decode(&bytes[..at])?)))
        .map(|(read, claim)| {
            assert_eq!(claim.encode(), read, "another text says the same");
            claim
        })
        .collect();
    assert!(claims.len() <= 1, "a claim is the beginning of another one");
    let Some(claim) = claims.first() else { return };
    assert_eq!(claim.merge(*claim), *claim, "a claim adds to itself");
    take_up(claim);
    // What follows it may be another one.
    let rest = &bytes[claim.encode().len()..];
    let Some(other) = Claim::decode(rest) else {
        return;
    };
    let both = claim.merge(other);
    assert_eq!(both.merge(*claim), both, "what was merged adds again");
    assert_eq!(
        Claim::decode(&both.encode()),
        Some(both),
        "a merged claim is lost"
    );
    if claim.system == other.system {
        assert_eq!(both, other.merge(*claim), "the order makes a difference");
        assert!(
            both.beyond || !claim.beyond && !other.beyond,
            "it looks less far"
        );
        assert!(
            both.uncaptured || !claim.uncaptured && !other.uncaptured,
            "it hides"
        );
    }
}

/// A session that takes a claim up, and tells it again.
fn take_up(claim: &Claim) {
    let snapshot = snapshot(claim);
    let (now, wall) = (Instant::from_nanos(1 << 50), WallTime::from_millis(1 << 40));
    let mut session = Session::default();
    session.take_up(claim, &snapshot, now, wall);
    let voided = session.settle_position(&snapshot);
    let told = session.claim(&snapshot, (now, wall), std::time::Duration::from_secs(2));
    let Some(told) = told else {
        panic!("a primary is known, and nothing is told")
    };
    assert!(
        told.uncaptured || !claim.uncaptured,
        "it hides what was not captured"
    );
    let carries =
        claim.lsn.is_none_or(|lsn| told.lsn == Some(lsn)) || told.beyond || voided.is_some();
    assert!(carries, "the position is dropped");
    assert!(
        told.read.is_some() || claim.read.is_none(),
        "what was read is dropped"
    );
}

/// A monitor that has seen the claim's cluster, on an even timeline.
fn snapshot(claim: &Claim) -> Snapshot {
    let policy = match Policy::default().validate() {
        Ok(policy) => policy,
        Err(error) => panic!("the defaults are valid: {error}"),
    };
    let nodes = [NodeSpec::new("p", Role::Primary)];
    let monitor = Monitor::new(Instant::from_nanos(0), policy, nodes);
    let mut snapshot = monitor.snapshot(Instant::from_nanos(0));
    snapshot.system = Some(claim.system);
    let even = claim.timeline.as_u32() & !1;
    snapshot.timeline = Some(lagwise_core::Timeline::new(even));
    snapshot
}
