//! Laws of a session's state: who waits for the end of a write or a read always sees it.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Floor, Instant};
use loom::future::block_on;
use loom::thread;

use crate::state::SessionState;
use crate::{end_of, in_every_order};

/// Who waits for a write to be settled ends when it was closed, also when several end at once.
pub fn no_end_of_a_write_is_slept_through() {
    in_every_order(|| {
        let session = Arc::new(SessionState::default());
        let writes = [(); 2].map(|()| session.open_write(None, WINDOW));
        let [closed, lost] = writes;
        let closed = thread::spawn(move || {
            closed.settle();
            closed.close();
        });
        let lost = thread::spawn(move || drop(lost));
        let floor = settled(&session);
        assert_ne!(floor.needed(), Some(Instant::NEVER));
        end_of(closed);
        end_of(lost);
    });
}

/// The same for reads on the primary.
pub fn no_end_of_a_read_is_slept_through() {
    in_every_order(|| {
        let session = Arc::new(SessionState::default());
        let read = session.open_primary_read(true, None);
        let read = thread::spawn(move || drop(read));
        assert_ne!(settled(&session).needed(), Some(Instant::NEVER));
        end_of(read);
    });
}

/// Who waits for its session is told when it is bound to the primary, which no end will follow.
pub fn being_bound_to_the_primary_is_not_slept_through() {
    in_every_order(|| {
        let session = Arc::new(SessionState::default());
        let before = session.floor();
        let binding = Arc::clone(&session);
        let binding = thread::spawn(move || binding.bind_to_primary());
        block_on(session.changed_from(before));
        assert_ne!(session.floor(), before);
        end_of(binding);
    });
}

/// Waits as a read does, until nothing that is under way holds it up.
fn settled(session: &SessionState) -> Floor {
    loop {
        let floor = session.floor();
        if floor.needed() != Some(Instant::NEVER) {
            return floor;
        }
        block_on(session.changed_from(floor));
    }
}

const WINDOW: Duration = Duration::from_secs(1);
