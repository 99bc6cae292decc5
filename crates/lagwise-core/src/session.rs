//! One user's thread of reads and writes, and how each of them raises its floor.
//!
//! A write raises it to the instant at which it returned, a read to the instant at which it ended.
//! What is still under way counts as not yet reached by anybody. How a session leaves the process and
//! comes into another is in [`leaving`].
//!
//! A session here is a value without a lock. Who shares it is not this module's business.

mod leaving;

use core::time::Duration;

use self::leaving::Trail;
pub use self::leaving::Voided;
use crate::floor::{Floor, Reached, Sight};
use crate::node::Timeline;
use crate::position::Written;
use crate::time::Instant;

/// What a session has written and seen.
///
/// ```
/// use lagwise_core::{Instant, Session};
///
/// let mut session = Session::default();
/// let returned = Instant::from_nanos(5_000);
/// session.open_write(None);
/// assert_eq!(session.floor().needed(), Some(Instant::NEVER), "while it runs, only the primary");
/// session.close_write(returned);
/// assert_eq!(session.floor().needed(), Some(returned));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Session {
    floor: Floor,
    open_writes: u32,
    /// The earliest timeline that an open write was routed to.
    writes_on: Option<Timeline>,
    settling: u32,
    open_reads: u32,
    open_primary_reads: u32,
    bound: bool,
    trail: Trail,
}

impl Session {
    /// A session that goes on from a floor.
    #[must_use]
    pub fn resume(floor: Floor) -> Self {
        let mut session = Self::default();
        session.merge(floor);
        session
    }

    /// What the session's next read must be able to see.
    #[must_use]
    #[inline]
    pub fn floor(&self) -> Floor {
        let mut floor = self.floor;
        if self.open_writes > 0 || self.open_primary_reads > 0 || self.bound {
            floor.written = Some(Instant::NEVER);
        }
        if self.open_reads > 0 {
            floor.read = Some(Instant::NEVER);
        }
        let settling = self.open_writes > 0 && self.open_writes == self.settling;
        floor.settling = settling && self.open_primary_reads == 0 && !self.bound;
        floor
    }

    /// Whether the session has neither written nor read.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.open_writes == 0
            && self.open_reads == 0
            && self.open_primary_reads == 0
            && !self.bound
            && self.floor == Floor::default()
    }

    /// Raises the floor to what `floor` needs as well.
    pub fn merge(&mut self, floor: Floor) {
        self.floor = self.floor.merge(floor);
        self.trail.beyond |= floor.written.is_some();
        self.trail.read |= floor.read.is_some();
    }

    /// A write begins on a node of that timeline, if it is known. Until it ends nothing but the primary
    /// serves the session.
    pub fn open_write(&mut self, on: Option<Timeline>) {
        self.open_writes += 1;
        self.writes_on = self.writes_on.into_iter().chain(on).min();
    }

    /// The session writes in ways that nobody here can see the end of. From now on nothing but the
    /// primary serves it.
    pub fn bind_to_primary(&mut self) {
        self.bound = true;
        self.trail.moved = true;
    }

    /// A write's handle is gone, and its connection is being asked when the write ended.
    pub fn settle_write(&mut self) {
        self.settling = (self.settling + 1).min(self.open_writes);
    }

    /// A write had ended at `now`, whether or not it took effect.
    pub fn close_write(&mut self, now: Instant) {
        self.end_write(now, now);
    }

    fn end_write(&mut self, now: Instant, trusted_from: Instant) {
        self.floor.written = self.floor.written.max(Some(trusted_from));
        self.trail.note_write(Written {
            at: now,
            on: self.writes_on,
        });
        self.trail.uncaptured = true;
        self.trail.beyond = true;
        self.trail.moved = true;
        self.trail.wrote = true;
        self.open_writes = self.open_writes.saturating_sub(1);
        self.settling = self.settling.min(self.open_writes);
        self.writes_on = self.writes_on.filter(|_| self.open_writes > 0);
    }

    /// Nobody knows when a write ends: it may still commit. The session stays on the primary for
    /// `window`, and trusts the rule again only then.
    pub fn lose_write(&mut self, now: Instant, window: Duration) {
        self.end_write(now, now.after(window));
    }

    /// A read begins on a replica that is proved to have reached `reached`.
    ///
    /// # Errors
    /// The floor, where it no longer admits the replica: another read of the session has ended since
    /// this one was routed. Route again.
    pub fn open_read(&mut self, sight: Sight, reached: impl Into<Reached>) -> Result<(), Floor> {
        let lacking = self.floor().lacking(sight, reached.into());
        self.admit_read(sight, lacking)
    }

    /// [`Session::open_read`] for a connection that was opened after the replica was last observed:
    /// `reached` is what the connection itself shows. The replica may have gone back in between, so
    /// it is not excused by what the session has read from it.
    ///
    /// # Errors
    /// The floor, where it does not admit the replica. Route again, to another one.
    pub fn open_fresh_read(
        &mut self,
        sight: Sight,
        reached: impl Into<Reached>,
    ) -> Result<(), Floor> {
        let lacking = self.floor().lacking_unseen(reached.into());
        self.admit_read(sight, lacking)
    }

    /// A read begins on a balanced node, which is assumed to show everything before `assumed`. What it
    /// shows in fact is proved of no other connection, so it excuses nothing.
    ///
    /// # Errors
    /// The floor, where it does not admit the node. Route again, to another one.
    pub fn open_assumed_read(&mut self, assumed: Instant) -> Result<(), Floor> {
        let floor = self.floor();
        if floor.asks_for().is_some_and(|needed| needed > assumed) {
            return Err(floor);
        }
        self.floor.seen = None;
        self.open_reads += 1;
        Ok(())
    }

    fn admit_read(&mut self, sight: Sight, lacking: Option<Instant>) -> Result<(), Floor> {
        if lacking.is_some() {
            return Err(self.floor());
        }
        // Whatever was seen before, this replica has it: that was the condition.
        self.floor.seen = Some(sight);
        self.trail.beyond = false;
        self.open_reads += 1;
        Ok(())
    }

    /// What another replica must show to answer in place of the one on which a read is open: all that
    /// was needed of that one. None while anything else is under way, or the session may not leave the
    /// primary.
    #[must_use]
    pub fn rival_floor(&self) -> Option<Floor> {
        let alone = self.open_reads == 1
            && self.open_writes == 0
            && self.open_primary_reads == 0
            && !self.bound;
        // What was read from a replica excuses it, but nobody knows here which one answers.
        alone.then_some(Floor {
            seen: None,
            settling: false,
            ..self.floor
        })
    }

    /// The open read was answered by another replica than the one it was opened on, and what that one
    /// says is seen by nobody. `floor` is what [`Session::rival_floor`] was when the other one was
    /// looked for, and `reached` what it was proved to have reached before it was asked.
    ///
    /// # Errors
    /// The floor, where the session has moved on since: the answer must not be used.
    pub fn adopt_rival(
        &mut self,
        floor: Floor,
        sight: Sight,
        reached: Reached,
    ) -> Result<(), Floor> {
        let unmoved = self.rival_floor().is_some_and(|now| {
            // What has ended since, has ended after the other one had reached what it shows.
            now.position == floor.position && now.lacking_unseen(reached).is_none()
        });
        if !unmoved {
            return Err(self.floor());
        }
        self.floor.seen = Some(sight);
        Ok(())
    }

    /// A read on a replica ends: it may have seen every commit that was shipped before `now`.
    pub fn close_read(&mut self, now: Instant) {
        self.open_reads = self.open_reads.saturating_sub(1);
        self.floor.read = self.floor.read.max(Some(now));
        self.trail.read = true;
        self.trail.read_since = true;
    }

    /// A read begins on the primary.
    pub fn open_primary_read(&mut self) {
        self.open_primary_reads += 1;
    }

    /// The read on the primary is one that wanted a replica: the next one is to find one, so it is worth
    /// knowing where the primary stands.
    pub fn fall_back(&mut self) {
        self.trail.fell_back = true;
    }

    /// A read on the primary ends: it may have seen every commit that could be seen there before
    /// `now`.
    pub fn close_primary_read(&mut self, now: Instant) {
        self.open_primary_reads = self.open_primary_reads.saturating_sub(1);
        self.floor.written = self.floor.written.max(Some(now));
        self.trail.beyond = true;
        self.trail.moved = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lsn::Lsn;
    use crate::node::{Incarnation, NodeId, SystemId, Timeline};
    use crate::position::Position;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn sight(node: u16) -> Sight {
        Sight {
            node: NodeId::new(node),
            incarnation: Incarnation::default(),
        }
    }

    #[test]
    fn a_session_that_is_bound_stays_on_the_primary_for_good() {
        let mut session = Session::default();
        session.bind_to_primary();
        session.open_write(None);
        session.settle_write();
        assert!(!session.floor().is_settling(), "no wait would end");
        session.close_write(Instant::from_nanos(1));
        assert_eq!(session.floor().needed(), Some(Instant::NEVER));
        assert!(!session.is_fresh());
    }

    #[test]
    fn a_write_is_needed_from_the_instant_it_returned() {
        let mut session = Session::default();
        session.open_write(None);
        assert_eq!(session.floor().needed_from(sight(1)), Some(Instant::NEVER));
        session.close_write(at(10));
        assert_eq!(session.floor().needed_from(sight(1)), Some(at(10)));
    }

    #[test]
    fn of_two_open_writes_the_first_to_end_frees_nothing() {
        let mut session = Session::default();
        session.open_write(None);
        session.open_write(None);
        session.close_write(at(10));
        assert_eq!(session.floor().needed(), Some(Instant::NEVER));
        session.close_write(at(12));
        assert_eq!(session.floor().needed(), Some(at(12)));
    }

    #[test]
    fn a_write_of_unknown_outcome_keeps_the_session_on_the_primary_for_the_window() {
        let mut session = Session::default();
        session.open_write(None);
        session.lose_write(at(10), Duration::from_nanos(100));
        assert_eq!(
            session.floor().needed(),
            Some(at(110)),
            "no as-of instant reaches it before then"
        );
    }

    #[test]
    fn only_a_write_that_is_being_settled_is_worth_waiting_for() {
        let mut session = Session::default();
        session.open_write(None);
        assert!(!session.floor().is_settling());
        session.settle_write();
        assert!(session.floor().is_settling());
        session.open_write(None);
        assert!(
            !session.floor().is_settling(),
            "the other one may take any time"
        );
    }

    #[test]
    fn the_replica_just_read_from_is_always_fresh_enough() {
        let mut session = Session::default();
        session.open_read(sight(1), at(3)).unwrap();
        session.close_read(at(50));
        assert_eq!(session.floor().needed_from(sight(1)), None);
        assert_eq!(session.floor().needed_from(sight(2)), Some(at(50)));
        let reborn = Sight {
            incarnation: Incarnation::default().next(),
            ..sight(1)
        };
        assert_eq!(
            session.floor().needed_from(reborn),
            Some(at(50)),
            "it may have gone back"
        );
    }

    #[test]
    fn a_read_on_the_primary_leaves_no_replica_exempt() {
        let mut session = Session::default();
        session.open_read(sight(1), at(3)).unwrap();
        session.close_read(at(50));
        session.open_primary_read();
        session.close_primary_read(at(60));
        assert_eq!(session.floor().needed_from(sight(1)), Some(at(60)));
    }

    #[test]
    fn while_a_read_is_open_no_other_replica_serves() {
        let mut session = Session::default();
        session.open_read(sight(1), at(3)).unwrap();
        assert_eq!(session.floor().needed_from(sight(2)), Some(Instant::NEVER));
        assert_eq!(session.floor().needed_from(sight(1)), None);
        session.close_read(at(9));
        assert_eq!(session.floor().needed_from(sight(2)), Some(at(9)));
    }

    #[test]
    fn an_answer_of_another_replica_counts_only_while_nothing_else_goes_on() {
        let mut session = Session::resume(Floor::as_of(at(3)));
        assert_eq!(session.rival_floor(), None, "no read is open");
        session.open_read(sight(1), at(5)).unwrap();
        let floor = session.rival_floor().unwrap();
        assert_eq!(
            floor.needed_from(sight(2)),
            Some(at(3)),
            "and not the open read's"
        );
        let adopt = |session: &Session, shown: u64| {
            let mut session = session.clone();
            let adopted = session.adopt_rival(floor, sight(2), at(shown).into());
            adopted.map(|()| session)
        };
        assert!(adopt(&session, 2).is_err(), "it lacks the session's write");
        let mut adopted = adopt(&session, 4).unwrap();
        adopted.close_read(at(9));
        assert_eq!(
            adopted.floor().needed_from(sight(2)),
            Some(at(3)),
            "that one answered"
        );
        assert_eq!(adopted.floor().needed_from(sight(1)), Some(at(9)));

        let moved: [fn(&mut Session); 5] = [
            |session| session.open_read(sight(1), at(5)).unwrap(),
            |session| {
                session.open_read(sight(1), at(5)).unwrap();
                session.close_read(at(8));
            },
            |session| session.open_write(None),
            |session| session.bind_to_primary(),
            |session| session.open_primary_read(),
        ];
        for (number, moves) in moved.into_iter().enumerate() {
            let mut session = session.clone();
            moves(&mut session);
            assert!(adopt(&session, 7).is_err(), "move {number}");
        }
        let position = Position {
            system: SystemId::new(1),
            timeline: Timeline::new(1),
            lsn: Lsn::new(900),
        };
        session.merge(Floor::position(position, at(6)));
        assert!(adopt(&session, 7).is_err(), "a token came in");
    }

    #[test]
    fn a_read_that_was_routed_before_another_ended_is_routed_again() {
        let mut session = Session::default();
        // Both were routed at once, the second one got its connection first.
        session.open_read(sight(2), at(5)).unwrap();
        session.close_read(at(7));
        let refused = session.open_read(sight(1), at(5)).unwrap_err();
        assert_eq!(refused.needed_from(sight(1)), Some(at(7)));
    }

    #[test]
    fn a_fresh_connection_is_not_excused_by_what_was_read_before_it() {
        let mut session = Session::default();
        session.open_read(sight(1), at(3)).unwrap();
        session.close_read(at(50));
        assert!(
            session.open_fresh_read(sight(1), at(49)).is_err(),
            "the replica may have gone back since"
        );
        assert_eq!(session.open_fresh_read(sight(1), at(50)), Ok(()));
    }

    #[test]
    fn a_read_on_a_balanced_node_excuses_nothing_and_ends_what_excused_before() {
        let mut session = Session::default();
        session.open_read(sight(1), at(3)).unwrap();
        assert!(
            session.open_assumed_read(at(1_000)).is_err(),
            "while a read is open, no other node serves"
        );
        session.close_read(at(50));
        assert!(session.open_assumed_read(at(49)).is_err(), "too early");
        session.open_assumed_read(at(50)).unwrap();
        assert_eq!(session.floor().needed_from(sight(1)), Some(Instant::NEVER));
        session.close_read(at(90));
        assert_eq!(
            session.floor().needed_from(sight(1)),
            Some(at(90)),
            "what was seen there is nowhere else proved to be"
        );
        session.open_write(None);
        assert!(session.open_assumed_read(at(u64::MAX - 2)).is_err());
    }

    #[test]
    fn a_position_that_came_in_is_assumed_by_when_it_came() {
        let position = Position {
            system: SystemId::new(1),
            timeline: Timeline::new(1),
            lsn: Lsn::new(900),
        };
        let mut session = Session::resume(Floor::position(position, at(40)));
        assert!(session.open_assumed_read(at(39)).is_err());
        assert_eq!(session.open_assumed_read(at(40)), Ok(()));
    }

    #[test]
    fn merging_needs_what_either_needs() {
        let position = |timeline, lsn| Position {
            system: SystemId::new(1),
            timeline: Timeline::new(timeline),
            lsn: Lsn::new(lsn),
        };
        let one = Floor::position(position(1, 900), at(1)).merge(Floor::as_of(at(3)));
        let two = Floor::position(position(2, 100), at(1)).merge(Floor::as_of(at(2)));
        let both = one.merge(two);
        assert_eq!(both.needed(), Some(at(3)));
        assert_eq!(
            both.needed_position(),
            Some(position(2, 100)),
            "a later timeline is later"
        );
        assert_eq!(both, two.merge(one));
    }

    /// One step of a session's life, against a model that knows what each node shows.
    #[derive(Clone, Debug)]
    enum Act {
        Write,
        Read {
            node: u16,
        },
        Overlap {
            first: u16,
            second: u16,
        },
        Hedged {
            first: u16,
            rival: u16,
            meanwhile: Meanwhile,
        },
        Replay {
            node: u16,
            lag: u64,
        },
    }

    /// What else a session does while a read of it has two attempts.
    #[derive(Clone, Copy, Debug)]
    enum Meanwhile {
        Nothing,
        Write,
        Read { node: u16, ends: Ends },
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Ends {
        Before,
        After,
    }

    fn meanwhile() -> impl Strategy<Value = Meanwhile> {
        let ends = prop_oneof![Just(Ends::Before), Just(Ends::After)];
        prop_oneof![
            Just(Meanwhile::Nothing),
            Just(Meanwhile::Write),
            (1_u16..4, ends).prop_map(|(node, ends)| Meanwhile::Read { node, ends }),
        ]
    }

    fn acts() -> impl Strategy<Value = std::vec::Vec<Act>> {
        let act = prop_oneof![
            Just(Act::Write),
            (1_u16..4).prop_map(|node| Act::Read { node }),
            (1_u16..4, 1_u16..4).prop_map(|(first, second)| Act::Overlap { first, second }),
            (1_u16..4, 0_u64..20).prop_map(|(node, lag)| Act::Replay { node, lag }),
            (1_u16..4, 1_u16..4, meanwhile()).prop_map(|(first, rival, meanwhile)| Act::Hedged {
                first,
                rival,
                meanwhile,
            }),
        ];
        prop::collection::vec(act, 1..80)
    }

    proptest! {
        /// Whatever a session does, a node that its floor admits has replayed all that the session
        /// wrote and all that it may have seen. A node's as-of instant stands for what it shows.
        #[test]
        fn an_admitted_node_is_never_behind_what_was_written_or_seen(acts in acts()) {
            let mut session = Session::default();
            let mut now = 100_u64;
            let mut shows = [now; 4];
            let (mut wrote, mut saw) = (0, 0);
            let admitted = |session: &Session, shows: &[u64; 4], node: u16| {
                let needed = session.floor().needed_from(sight(node));
                needed.is_none_or(|needed| at(shows[usize::from(node)]) >= needed)
            };
            for act in acts {
                now += 1;
                match act {
                    Act::Write => {
                        session.open_write(None);
                        now += 1;
                        session.close_write(at(now));
                        wrote = now;
                    }
                    Act::Replay { node, lag } => {
                        let shown = &mut shows[usize::from(node)];
                        *shown = (*shown).max(now.saturating_sub(lag));
                    }
                    Act::Read { node } => {
                        if !admitted(&session, &shows, node) { continue; }
                        let shown = shows[usize::from(node)];
                        prop_assert!(shown >= wrote, "did not read its own write");
                        prop_assert!(shown >= saw, "went backwards");
                        prop_assert!(session.open_read(sight(node), at(shown)).is_ok());
                        now += 1;
                        session.close_read(at(now));
                        saw = saw.max(shown);
                    }
                    Act::Hedged { first, rival, meanwhile } => {
                        let shown = shows[usize::from(first)];
                        if session.open_read(sight(first), at(shown)).is_err() { continue; }
                        let floor = session.rival_floor().expect("only that read is open");
                        // Each attempt sees what its replica shows now.
                        let answer = shows[usize::from(rival)];
                        let (mut still_open, mut open_write) = (0, false);
                        match meanwhile {
                            Meanwhile::Nothing => {}
                            Meanwhile::Write => {
                                session.open_write(None);
                                open_write = true;
                                now += 1;
                            }
                            Meanwhile::Read { node, ends } => {
                                now += 5;
                                let shown = &mut shows[usize::from(node)];
                                *shown = (*shown).max(now);
                                if session.open_read(sight(node), at(*shown)).is_ok() {
                                    saw = saw.max(*shown);
                                    still_open = 1;
                                    now += 1;
                                }
                                if still_open == 1 && ends == Ends::Before {
                                    session.close_read(at(now));
                                    still_open = 0;
                                }
                            }
                        }
                        let reached = at(answer).into();
                        if session.adopt_rival(floor, sight(rival), reached).is_ok() {
                            prop_assert!(answer >= wrote, "did not read its own write");
                            prop_assert!(answer >= saw, "went backwards");
                            saw = saw.max(answer);
                        } else {
                            // The first one is waited for, and it saw what its replica showed.
                            saw = saw.max(shown);
                        }
                        for _ in 0..=still_open {
                            now += 1;
                            session.close_read(at(now));
                        }
                        if open_write {
                            now += 1;
                            session.close_write(at(now));
                            wrote = now;
                        }
                    }
                    Act::Overlap { first, second } => {
                        // Routed at the same time, opened one after the other.
                        let mut open = 0;
                        for node in [first, second] {
                            let shown = shows[usize::from(node)];
                            if session.open_read(sight(node), at(shown)).is_ok() {
                                prop_assert!(shown >= wrote, "did not read its own write");
                                prop_assert!(shown >= saw, "went backwards");
                                saw = saw.max(shown);
                                open += 1;
                            }
                        }
                        for _ in 0..open {
                            now += 1;
                            session.close_read(at(now));
                        }
                    }
                }
            }
        }
    }
}
