//! Time that passes, and time that processors spend: of this process, and of a server's or a
//! proxy's.
//!
//! Processor time is what a statement costs whoever pays for the machine. Of the others it is read
//! where Linux keeps it to the nanosecond, for each of its processes; what those used that have
//! ended meanwhile is not in it, so connections are opened before a measurement begins.

use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use lagwise_testkit::Node;
use rustix::time::{ClockId, clock_gettime};

use crate::Result;

static ORIGIN: LazyLock<Instant> = LazyLock::new(read);

/// The time since the process first asked.
pub(crate) fn now() -> Duration {
    // The origin is read first, so that the difference is never negative.
    let origin = *ORIGIN;
    read().saturating_duration_since(origin)
}

#[expect(clippy::disallowed_methods, reason = "the only reading of a clock")]
fn read() -> Instant {
    Instant::now()
}

/// The processor time that this process has used, all of its threads together.
pub(crate) fn of_this_process() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(used).unwrap_or_default()
}

/// The processor time that a node's present processes have used together.
pub(crate) fn of_server(node: &Node) -> Result<Duration> {
    of_family(first_process(node)?)
}

/// The processor time that a process and its present children have used together.
pub(crate) fn of_family(first: u32) -> Result<Duration> {
    Ok(family(first)?.into_iter().map(of_process).sum())
}

/// A process and its present children.
pub(crate) fn family(first: u32) -> Result<Vec<u32>> {
    let mut family = vec![first];
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if parent(process) == Some(first) {
            family.push(process);
        }
    }
    Ok(family)
}

/// A node's first process; the server writes its number here (PostgreSQL manual, "Creating a Database
/// Cluster").
pub(crate) fn first_process(node: &Node) -> Result<u32> {
    let text = fs::read_to_string(node.data_dir().join("postmaster.pid"))?;
    let line = text.lines().next().unwrap_or_default();
    Ok(line.trim().parse()?)
}

/// The fourth field of `stat`; the second is a name in brackets that may hold anything.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// Of one that has ended meanwhile, nothing.
fn of_process(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap_or_default();
    let nanos = stat.split_whitespace().next().map(str::parse);
    Duration::from_nanos(nanos.and_then(std::result::Result::ok).unwrap_or(0))
}
