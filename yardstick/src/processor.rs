//! Has everybody run on one processor for a while.
//!
//! A single caller, and whoever stands between it and the server, take turns. Whether the kernel wakes
//! the next one beside the one before, or on a processor that sleeps and has to be woken as well, takes
//! several times as long as what is to be measured, and changes from slice to slice. On one processor it
//! has no choice: what is left is what all of them do, one after the other.

use std::fs;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::stage::Stage;
use crate::{Result, clock};

/// While it lives, this process and the others run on one processor.
pub(crate) struct OneProcessor {
    /// The first process of each of the others.
    others: Vec<u32>,
    usual: CpuSet,
}

impl OneProcessor {
    /// Takes this process, and others with their present and future children, to the last processor that
    /// they may use: the first one often serves devices.
    pub(crate) fn hold(others: impl IntoIterator<Item = u32>) -> Result<Self> {
        let held = Self {
            others: others.into_iter().collect(),
            usual: sched_getaffinity(None)?,
        };
        let last = (0..CpuSet::MAX_CPU)
            .rev()
            .find(|number| held.usual.is_set(*number));
        let mut one = CpuSet::new();
        one.set(last.unwrap_or(0));
        held.bind(&one)?;
        Ok(held)
    }

    /// The same for a lone caller and a stage's servers; several callers use all processors.
    pub(crate) fn for_one(callers: usize, stage: &Stage) -> Result<Option<Self>> {
        if callers > 1 {
            return Ok(None);
        }
        Self::hold(stage.first_processes()?).map(Some)
    }

    fn bind(&self, processors: &CpuSet) -> Result<()> {
        let mut bound = threads()?;
        for first in &self.others {
            bound.extend(clock::family(*first)?);
        }
        for one in bound {
            let one = Pid::from_raw(i32::try_from(one)?);
            match sched_setaffinity(one, processors) {
                // It has ended meanwhile.
                Err(Errno::SRCH) => {}
                bound => bound?,
            }
        }
        Ok(())
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        // Whoever stays behind is only slower.
        drop(self.bind(&self.usual));
    }
}

/// The numbers of this process's threads.
fn threads() -> Result<Vec<u32>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let name = entry?.file_name();
        threads.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(threads)
}
