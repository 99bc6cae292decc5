//! Which of many futures within one task were woken.
//!
//! A task is woken as a whole and does not learn for whom. Each future is polled under a waker of its
//! own that notes its place, so that the others need not be looked at: there may be hundreds, of which
//! one has something to say.

use std::mem;
use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};

use crate::sync::{Mutex, MutexGuard};

/// Notes who rings, and wakes the task.
#[derive(Debug)]
pub(super) struct Bell(Mutex<Rung>);

#[derive(Debug)]
struct Rung {
    places: Vec<usize>,
    task: Waker,
}

/// Rings for one place.
struct Cord {
    bell: Arc<Bell>,
    place: usize,
}

impl Bell {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Rung {
            places: Vec::new(),
            task: Waker::noop().clone(),
        })))
    }

    /// What a future in this place is polled under.
    pub(super) fn cord(self: &Arc<Self>, place: usize) -> Waker {
        let bell = Arc::clone(self);
        Waker::from(Arc::new(Cord { bell, place }))
    }

    /// Notes a place and wakes nobody: the task will look by itself.
    pub(super) fn note(&self, place: usize) {
        self.lock().places.push(place);
    }

    /// Takes the places that have rung since the last call. Who rings later wakes the task.
    pub(super) fn take(&self, task: &Waker, places: &mut Vec<usize>) {
        places.clear();
        let mut rung = self.lock();
        mem::swap(&mut rung.places, places);
        rung.task.clone_from(task);
    }

    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Cord {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let task = {
            let mut rung = self.bell.lock();
            rung.places.push(self.place);
            // One that has rung before has woken the task, or will be looked at by itself.
            (rung.places.len() == 1).then(|| rung.task.clone())
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}
