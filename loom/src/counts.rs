//! Laws of the counts: what is taken is given back, and no limit is exceeded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32 as Tally, Ordering::SeqCst};
use std::time::Duration;

use lagwise_core::Instant;
use loom::thread;

use crate::load::Load;
use crate::sync::{AtomicU32, Ordering};
use crate::waiting::Waiting;
use crate::{clock, end_of, in_every_order};

/// The leases of a node that are counted are never fewer than none nor more than there are, and in the
/// end there are none.
pub fn every_lease_that_is_counted_returns() {
    in_every_order(|| {
        let load = Arc::new(Load::new(clock::now()));
        let idle = load.cost(clock::now());
        let leases = [(); 2].map(|()| {
            let load = Arc::clone(&load);
            thread::spawn(move || {
                load.enter();
                let counted = load.in_flight();
                assert!((1..=2).contains(&counted), "{counted} with this one");
                load.leave();
            })
        });
        let counted = load.in_flight();
        assert!(counted <= 2, "{counted} of two");
        leases.into_iter().for_each(end_of);
        assert_eq!(load.in_flight(), 0);
        assert_eq!(load.cost(clock::now()), idle);
    });
}

/// A slow round trip is remembered, whatever else is measured meanwhile.
pub fn no_peak_is_lost_to_another_measurement() {
    in_every_order(|| {
        let now = clock::now();
        let load = Arc::new(Load::new(now));
        let measured = [10, 90].map(|millis| {
            let load = Arc::clone(&load);
            thread::spawn(move || load.observe(now, Duration::from_millis(millis)))
        });
        measured.into_iter().for_each(end_of);
        assert_eq!(load.cost(now), cost_of(now, 90));
    });
}

fn cost_of(now: Instant, millis: u64) -> u64 {
    let load = Load::new(now);
    load.observe(now, Duration::from_millis(millis));
    load.cost(now)
}

/// At no instant do more reads hold a place than may; of those that come at once as many get one as
/// there are; and in the end all places are free.
pub fn as_many_wait_as_may_and_all_places_return() {
    in_every_order(|| {
        let room = Arc::new(Room {
            taken: AtomicU32::new(0),
            held: Tally::new(0),
            ever: Tally::new(0),
        });
        let reads = [(); 3].map(|()| {
            let room = Arc::clone(&room);
            thread::spawn(move || room.visit())
        });
        reads.into_iter().for_each(end_of);
        let taken = &room.taken;
        assert!(room.ever.load(SeqCst) >= MOST, "a free place was refused");
        assert_eq!(taken.load(Ordering::Relaxed), 0, "a place was kept");
        let places = [(); MOST as usize].map(|()| Waiting::enter(taken, MOST));
        assert!(places.iter().all(Option::is_some), "all are free again");
        assert!(Waiting::enter(taken, MOST).is_none(), "and no more");
    });
}

struct Room {
    taken: AtomicU32,
    /// What is true at an instant, beside what a thread can know of it.
    held: Tally,
    ever: Tally,
}

impl Room {
    fn visit(&self) {
        let Some(place) = Waiting::enter(&self.taken, MOST) else {
            return;
        };
        let holding = self.held.fetch_add(1, SeqCst) + 1;
        assert!(holding <= MOST, "{holding} hold {MOST} places");
        self.ever.fetch_add(1, SeqCst);
        // Others may run while it is held.
        self.taken.load(Ordering::Relaxed);
        self.held.fetch_sub(1, SeqCst);
        drop(place);
    }
}

const MOST: u32 = 2;
