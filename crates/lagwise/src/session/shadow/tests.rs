//! A shadow next to a session that does in fact what the shadow does in thought.

use std::time::Duration;

use lagwise_core::{Incarnation, Instant, NodeId, Sight};

use super::*;
use crate::routing::Shows;

const WINDOW: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
enum Act {
    /// A read that goes to that replica, or would.
    Read(u16),
    ReadPrimary,
    Write,
    LoseWrite,
    /// A replica catches up with the primary.
    Replay(u16),
}

/// A session that reads on replicas, and one in dry mode that does the same.
struct Twins {
    live: Arc<SessionState>,
    dry: Arc<SessionState>,
    /// What each replica has reached.
    reached: [Instant; 2],
}

impl Twins {
    fn new() -> Self {
        Self {
            live: Arc::default(),
            dry: Arc::new(SessionState::with_shadow()),
            reached: [clock::now(); 2],
        }
    }

    fn do_both(&mut self, act: Act) {
        let before = clock::now();
        match act {
            Act::Read(node) => self.read(self.confirmed(node)),
            Act::ReadPrimary => {
                drop(self.live.open_primary_read(true, None));
                let shadow = self.dry.open_shadow_primary_read();
                drop(self.dry.open_primary_read(true, Some(shadow)));
            }
            Act::Write => {
                self.live.open_write(None, WINDOW).close();
                self.dry.open_write(None, WINDOW).close();
            }
            Act::LoseWrite => {
                drop(self.live.open_write(None, WINDOW));
                drop(self.dry.open_write(None, WINDOW));
            }
            Act::Replay(node) => self.reached[usize::from(node - 1)] = before,
        }
        // Two acts have never happened at the same instant.
        while clock::now() == before {}
    }

    fn read(&self, confirmed: Confirmed) {
        let read = self.live.open_read(confirmed);
        assert!(read.is_some(), "the table lets no read begin that may not");
        drop(read);
        let shadow = self.dry.open_shadow_read(confirmed);
        assert!(shadow.is_some(), "the shadow admits what the session would");
        drop(self.dry.open_primary_read(true, shadow));
    }

    fn confirmed(&self, node: u16) -> Confirmed {
        Confirmed {
            sight: sight(node),
            shows: Shows::Observed(self.reached[usize::from(node - 1)].into()),
        }
    }

    /// The replicas that a floor admits.
    fn admitted_by(&self, floor: Floor) -> Vec<u16> {
        let admitted = |node: &u16| {
            let reached = self.reached[usize::from(*node - 1)].into();
            floor.lacking(sight(*node), reached).is_none()
        };
        [1, 2].into_iter().filter(admitted).collect()
    }
}

fn sight(node: u16) -> Sight {
    Sight {
        node: NodeId::new(node),
        incarnation: Incarnation::default(),
    }
}

fn shadow_floor(state: &SessionState) -> Floor {
    state.shadow().map(|shadow| shadow.core().floor()).unwrap()
}

#[test]
fn a_shadow_admits_the_replicas_that_the_session_would_have_admitted() {
    use Act::{LoseWrite, Read, ReadPrimary, Replay, Write};
    // What happens, the replicas that may serve the next read then, and those that may serve it by
    // what was read in fact.
    type Row<'a> = (&'a [Act], &'a [u16], &'a [u16]);
    let table: &[Row<'_>] = &[
        (&[], &[1, 2], &[1, 2]),
        (&[Write], &[], &[]),
        (&[LoseWrite], &[], &[]),
        (&[Write, Replay(1)], &[1], &[1]),
        (&[Write, Replay(1), Replay(2)], &[1, 2], &[1, 2]),
        (&[ReadPrimary], &[], &[]),
        (&[ReadPrimary, Replay(2)], &[2], &[2]),
        (&[Read(1)], &[1], &[]),
        (&[Read(1), Read(1), Read(1)], &[1], &[]),
        (&[Read(1), Replay(2)], &[1, 2], &[2]),
        (&[Read(1), Replay(2), Read(2)], &[2], &[]),
        (&[Read(1), Write], &[], &[]),
        (&[Write, Replay(1), Read(1)], &[1], &[]),
        (&[Write, Replay(1), Read(1), Write], &[], &[]),
        (&[Read(2), ReadPrimary, Replay(1)], &[1], &[1]),
    ];
    for (acts, would, may) in table {
        let mut twins = Twins::new();
        acts.iter().for_each(|act| twins.do_both(*act));
        let live = twins.admitted_by(twins.live.floor());
        assert_eq!(live, *would, "of a live session after {acts:?}");
        let shadow = twins.admitted_by(shadow_floor(&twins.dry));
        assert_eq!(shadow, *would, "of the shadow after {acts:?}");
        let real = twins.admitted_by(twins.dry.floor());
        assert_eq!(real, *may, "in fact after {acts:?}");
    }
}

#[test]
fn what_is_open_in_a_shadow_is_seen_by_nobody_and_ends_with_the_read() {
    let twins = Twins::new();
    let shadow = twins.dry.open_shadow_read(twins.confirmed(1));
    let read = twins.dry.open_primary_read(true, shadow);
    assert_eq!(twins.admitted_by(shadow_floor(&twins.dry)), [1]);
    let elsewhere = twins.dry.open_shadow_read(twins.confirmed(2));
    assert!(elsewhere.is_none(), "one replica at a time");
    drop(read);
    let ended = shadow_floor(&twins.dry).needed();
    assert!(
        ended.is_some_and(|ended| ended < Instant::NEVER),
        "{ended:?}"
    );
}

#[test]
fn a_session_that_is_kept_on_the_primary_keeps_its_shadow_there() {
    let twins = Twins::new();
    twins.dry.bind_to_primary();
    assert_eq!(
        shadow_floor(&twins.dry).needed(),
        Some(Instant::NEVER),
        "its pool was used"
    );
}

#[test]
fn a_live_session_has_no_shadow() {
    assert!(SessionState::default().shadow().is_none());
}
