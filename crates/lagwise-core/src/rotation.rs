//! Takes a replica out of rotation, and lets it back in.
//!
//! A replica that is late, unseen or something else than a replica must get no reads; one that
//! hovers at the limit must not flap. So leaving and returning have limits of their own, each takes
//! several observations in a row, and a returned replica ramps up. The rule kept here: `Unproved` is
//! where every node begins and where each doubt leads, and only proved progress leads out of it.
//!
//! What an observation proves is the monitor's business, and so is the floor of replicas kept in
//! service, for it takes more than one node to judge.

use core::time::Duration;

use crate::membership::{Cause, Membership};
use crate::policy::Policy;
use crate::time::Instant;

/// One replica's way through the rotation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation {
    membership: Membership,
    /// What it last left the rotation for.
    left: Cause,
    /// The newest as-of instant that counted. A frozen node has none that is newer.
    proved: Option<Instant>,
    /// When an observation last counted: a burst of probes is one observation.
    counted: Option<Instant>,
}

/// What an observation proved of a replica.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof {
    /// It has passed where the primary stood at this instant.
    pub(crate) as_of: Instant,
    /// What it shows is at most this old.
    pub(crate) staleness: Duration,
    /// It has passed a position that the primary had after this run of the node began. A node that
    /// stands where another history left it never does.
    pub(crate) follows: bool,
}

/// What became of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The membership is what it was, but for its counters.
    None,
    /// The replica may serve reads again; this is what it had left for.
    Readmitted(Cause),
    /// The replica was taken out for this cause.
    Ejected(Cause),
}

impl Rotation {
    /// A node of which nothing is known is out.
    #[must_use]
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            membership: Membership::unproved(now),
            left: Cause::Unproved,
            proved: None,
            counted: None,
        }
    }

    /// Where the node stands.
    #[must_use]
    pub(crate) const fn membership(&self) -> Membership {
        self.membership
    }

    /// Takes the node out, whatever it was, or corrects the cause for which it is out.
    pub(crate) fn eject(&mut self, now: Instant, cause: Cause) -> Change {
        self.proved = None;
        match self.membership {
            // ## InRotation => Ejected
            Membership::InRotation { .. } => {
                self.membership = Membership::Ejected { cause, since: now };
                self.left = cause;
                Change::Ejected(cause)
            }
            // ## (Probation | Ejected) => Ejected. It did not serve, so nobody needs to be told.
            Membership::Probation { since, .. } | Membership::Ejected { since, .. } => {
                self.membership = Membership::Ejected { cause, since };
                Change::None
            }
        }
    }

    /// Accounts for an observation of a replica that follows the primary. In rotation it leaves
    /// beyond `leave_lag`.
    pub(crate) fn observe(
        &mut self,
        now: Instant,
        proof: Proof,
        leave_lag: Duration,
        policy: &Policy,
    ) -> Change {
        let Proof {
            as_of, staleness, ..
        } = proof;
        let progressed = self.proved.is_none_or(|proved| as_of > proved);
        let due = self
            .counted
            .is_none_or(|counted| now.since(counted) >= policy.poll_interval / 2);
        if !due {
            return Change::None;
        }
        self.counted = Some(now);
        self.proved = self.proved.max(Some(as_of));
        match self.membership {
            Membership::InRotation { since, late } => {
                if staleness <= leave_lag {
                    // ## InRotation => InRotation
                    self.membership = Membership::InRotation { since, late: 0 };
                    return Change::None;
                }
                let late = late.saturating_add(1);
                if late >= policy.leave_after {
                    // ## InRotation => Ejected
                    return self.eject(now, Cause::Lagging);
                }
                self.membership = Membership::InRotation { since, late };
                Change::None
            }
            Membership::Ejected { cause, since } | Membership::Probation { cause, since, .. } => {
                if staleness > policy.return_lag {
                    // ## (Ejected | Probation) => Ejected
                    self.membership = Membership::Ejected {
                        cause: late_cause(cause, proof),
                        since,
                    };
                    return Change::None;
                }
                // Nothing new was proved, which counts neither way: a primary that answers more
                // slowly than its replica must not keep the replica out.
                if !progressed {
                    return Change::None;
                }
                let good = match self.membership {
                    Membership::Probation { good, .. } => good.saturating_add(1),
                    Membership::Ejected { .. } | Membership::InRotation { .. } => 1,
                };
                if good < policy.return_after || !proof.follows {
                    // ## (Ejected | Probation) => Probation
                    self.membership = Membership::Probation { good, cause, since };
                    return Change::None;
                }
                // ## (Ejected | Probation) => InRotation
                self.admit(now);
                Change::Readmitted(self.left)
            }
        }
    }

    /// Puts the node into rotation because the floor of replicas in service needs it.
    pub(crate) fn admit(&mut self, now: Instant) {
        self.membership = Membership::InRotation {
            since: now,
            late: 0,
        };
    }
}

/// A node that follows the primary again but is late is out for its lag, whatever put it out. One
/// that is not proved to follow is not late: it may have another history.
fn late_cause(cause: Cause, proof: Proof) -> Cause {
    if proof.follows { Cause::Lagging } else { cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos((1_000_000 + millis) * 1_000_000)
    }

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn proof(now: Instant, lag: u64) -> Proof {
        Proof {
            as_of: now.before(millis(lag)),
            staleness: millis(lag),
            follows: true,
        }
    }

    /// Observes a replica every 100 ms that is `lag` behind, and says what changed and when.
    fn run(rotation: &mut Rotation, from: u64, observations: u64, lag: u64) -> [Option<u64>; 2] {
        let policy = Policy::default();
        let mut changes = [None, None];
        for step in 0..observations {
            let now = at(from + step * 100);
            match rotation.observe(now, proof(now, lag), policy.max_lag, &policy) {
                Change::Readmitted(_) => changes[0] = Some(step),
                Change::Ejected(_) => changes[1] = Some(step),
                Change::None => {}
            }
        }
        changes
    }

    #[test]
    fn a_new_node_is_out_until_three_good_observations() {
        let mut rotation = Rotation::new(at(0));
        assert_eq!(rotation.membership().cause(), Some(Cause::Unproved));
        assert_eq!(run(&mut rotation, 100, 3, 10), [Some(2), None]);
        assert!(rotation.membership().is_in_rotation());
    }

    #[test]
    fn one_late_observation_does_not_eject_and_two_do() {
        let mut rotation = Rotation::new(at(0));
        let _ = run(&mut rotation, 100, 5, 10);
        assert_eq!(run(&mut rotation, 1000, 1, 1500), [None, None]);
        assert_eq!(run(&mut rotation, 1100, 1, 10), [None, None]);
        assert_eq!(run(&mut rotation, 2000, 2, 1500), [None, Some(1)]);
        assert_eq!(rotation.membership().cause(), Some(Cause::Lagging));
    }

    #[test]
    fn a_lag_between_the_two_limits_changes_nothing_either_way() {
        let mut inside = Rotation::new(at(0));
        let _ = run(&mut inside, 100, 5, 10);
        assert_eq!(run(&mut inside, 1000, 1000, 800), [None, None]);
        assert!(inside.membership().is_in_rotation());

        let mut outside = Rotation::new(at(0));
        assert_eq!(run(&mut outside, 100, 1000, 800), [None, None]);
        assert!(!outside.membership().is_in_rotation());
    }

    #[test]
    fn a_lag_that_swings_around_one_limit_does_not_flap() {
        let mut rotation = Rotation::new(at(0));
        let policy = Policy::default();
        let mut changes = 0;
        for step in 0..10_000_u64 {
            let lag = if step % 2 == 0 { 900 } else { 1100 };
            let now = at(step * 100);
            let change = rotation.observe(now, proof(now, lag), policy.max_lag, &policy);
            changes += u32::from(change != Change::None);
        }
        assert_eq!(changes, 0);
    }

    #[test]
    fn a_burst_of_probes_counts_as_one_observation() {
        let mut rotation = Rotation::new(at(0));
        let policy = Policy::default();
        for step in 0..40 {
            let now = at(100).after(millis(step));
            assert_eq!(
                rotation.observe(now, proof(now, 0), policy.max_lag, &policy),
                Change::None
            );
        }
        assert!(
            !rotation.membership().is_in_rotation(),
            "40 ms of probes prove less than three polls"
        );
    }

    #[test]
    fn a_node_whose_position_stands_still_never_returns() {
        let mut rotation = Rotation::new(at(0));
        let policy = Policy::default();
        // It looks fresh for a moment: the primary's history has just passed its frozen position.
        for step in 1..5 {
            let now = at(step * 100);
            assert_eq!(
                rotation.observe(
                    now,
                    Proof {
                        as_of: at(50),
                        staleness: now.since(at(50)),
                        follows: true,
                    },
                    policy.max_lag,
                    &policy
                ),
                Change::None
            );
        }
        assert!(!rotation.membership().is_in_rotation());
    }

    #[test]
    fn the_floor_keeps_a_late_replica_up_to_the_ceiling() {
        let mut rotation = Rotation::new(at(0));
        let _ = run(&mut rotation, 100, 5, 10);
        let policy = Policy::default();
        for step in 0..20 {
            let now = at(1000 + step * 100);
            let change = rotation.observe(now, proof(now, 5000), policy.lag_ceiling, &policy);
            assert_eq!(change, Change::None);
        }
        assert!(rotation.membership().is_in_rotation());
        for step in 0..2 {
            let now = at(4000 + step * 100);
            let _ = rotation.observe(now, proof(now, 61_000), policy.lag_ceiling, &policy);
        }
        assert_eq!(rotation.membership().cause(), Some(Cause::Lagging));
    }
}
