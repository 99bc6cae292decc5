//! What a session says of itself when it leaves the process.
//!
//! A floor is made of instants, which mean nothing elsewhere. A claim says the same in terms that any
//! process with the same nodes can use, without trusting anybody's clock: a position, where one was
//! captured; otherwise *everything up to now*, which whoever takes the claim up reads as everything
//! up to the moment at which it arrived. That is more than was meant, never less. The one use of wall
//! time is to be careful for longer: a claim grows old, and a write whose end is unknown is waited
//! out.
//!
//! How a claim is signed, and what carries it, is not this module's business.

use alloc::vec::Vec;
use core::time::Duration;

use crate::floor::Floor;
use crate::lsn::Lsn;
use crate::node::{SystemId, Timeline};
use crate::observation::ServerStart;
use crate::position::{Position, later};
use crate::snapshot::{NodeView, Snapshot};
use crate::time::{Instant, WallTime};

/// What a token says of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// The cluster that the session reads and writes.
    pub system: SystemId,
    /// The timeline that its primary wrote.
    pub timeline: Timeline,
    /// All that was written or seen lies up to here, but for what the other fields say.
    pub lsn: Option<Lsn>,
    /// When it was made.
    pub issued: WallTime,
    /// The session wrote, or saw on the primary, what `lsn` does not cover.
    pub beyond: bool,
    /// It wrote what `lsn` does not cover: should the timeline end, that may be lost.
    pub uncaptured: bool,
    /// What it wrote may have been lost in a promotion since.
    pub lost: bool,
    /// A write may still take effect until then.
    pub unsettled_until: Option<WallTime>,
    /// What the session read on replicas that `lsn` does not cover.
    pub read: Option<ReadFrom>,
}

/// Who has what a session read on replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "one replica has all of it, or none is known to"
)]
pub enum ReadFrom {
    /// The server that was started then has all of it, as long as it has run on since the first of
    /// these reads.
    Server(ServerStart, WallTime),
    /// No single server is known to have all of it.
    Several,
}

impl ReadFrom {
    /// Who has what either of two names.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Server(one, since), Self::Server(other, also_since)) if one == other => {
                Self::Server(one, since.min(also_since))
            }
            _ => Self::Several,
        }
    }

    /// The node that is that server, if it has run without a break since.
    ///
    /// A server that crashes and recovers under the same postmaster goes back and keeps its start
    /// time, but everybody's connections break. So it counts only where this monitor's has held
    /// since before the read, by more than clocks differ.
    fn server(self, snapshot: &Snapshot, (now, wall): (Instant, WallTime)) -> Option<&NodeView> {
        let Self::Server(started, read_at) = self else {
            return None;
        };
        let is_it = |node: &&NodeView| !node.spec.balanced && node.started == Some(started);
        let mut servers = snapshot.nodes.iter().filter(is_it);
        // Two that were started in the same microsecond cannot be told apart.
        let server = servers.next().filter(|_| servers.next().is_none())?;
        let least = wall.since(read_at) + CLOCKS_DIFFER;
        (now.since(server.runs_since?) >= least).then_some(server)
    }
}

impl Claim {
    /// A claim of a session that has neither written nor read.
    #[must_use]
    pub const fn new(system: SystemId, timeline: Timeline, issued: WallTime) -> Self {
        Self {
            system,
            timeline,
            lsn: None,
            issued,
            beyond: false,
            uncaptured: false,
            lost: false,
            unsettled_until: None,
            read: None,
        }
    }

    /// What both claims say. Of two clusters the claim that was made later counts.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if self.system != other.system {
            return if other.issued > self.issued {
                other
            } else {
                self
            };
        }
        let position = later(self.position(), other.position());
        Self {
            system: self.system,
            timeline: self.timeline.max(other.timeline),
            lsn: position.map(|position| position.lsn),
            issued: self.issued.max(other.issued),
            beyond: self.beyond || other.beyond,
            uncaptured: self.uncaptured || other.uncaptured,
            lost: self.lost || other.lost,
            unsettled_until: self.unsettled_until.max(other.unsettled_until),
            read: match (self.read, other.read) {
                (Some(one), Some(other)) => Some(one.and(other)),
                (one, other) => one.or(other),
            },
        }
        .on_one_timeline(position)
    }

    /// A position on an earlier timeline than the claim's would be taken for one on this.
    fn on_one_timeline(mut self, position: Option<Position>) -> Self {
        if position.is_some_and(|position| position.timeline < self.timeline) {
            self.lsn = None;
            self.beyond = true;
            self.uncaptured = true;
        }
        self
    }

    fn position(&self) -> Option<Position> {
        self.lsn.map(|lsn| Position {
            system: self.system,
            timeline: self.timeline,
            lsn,
        })
    }

    /// How old the claim is, as far as two clocks agree.
    #[must_use]
    pub fn age(&self, wall: WallTime) -> Duration {
        wall.since(self.issued)
    }

    /// What a session that takes the claim up at `now` needs.
    #[must_use]
    pub fn floor(&self, snapshot: &Snapshot, now: Instant, wall: WallTime) -> Floor {
        let mut floor = Floor::default();
        // A position that is on every timeline still says that this timeline has begun.
        let ahead = snapshot.timeline.is_none_or(|known| known < self.timeline);
        let at = self.position().or_else(|| {
            ahead.then(|| Position {
                system: self.system,
                timeline: self.timeline,
                lsn: Lsn::default(),
            })
        });
        if let Some(position) = at {
            floor = floor.merge(Floor::position(position, now));
        }
        if self.beyond {
            floor = floor.merge(Floor::as_of(now));
        }
        if let Some(settled) = self.settled_by(now, wall) {
            floor = floor.merge(Floor::as_of(settled));
        }
        if let Some(read) = self.read {
            let server = read.server(snapshot, (now, wall));
            floor = floor.merge(Floor::read(now, server.map(NodeView::sight)));
        }
        floor
    }

    /// When a write whose end is unknown has ended, whichever clock it was told by.
    pub(crate) fn settled_by(&self, now: Instant, wall: WallTime) -> Option<Instant> {
        let until = self.unsettled_until?.after(CLOCKS_DIFFER);
        Some(now.after(until.since(wall)))
    }

    /// Whether what the session wrote may be missing from the present history, as far as the claim
    /// alone can tell: it says so, or it was never captured, and the timeline it was written on has
    /// ended.
    #[must_use]
    pub fn may_be_lost(&self, snapshot: &Snapshot) -> bool {
        let ended = snapshot.timeline.is_some_and(|now| self.timeline < now);
        let may_be = self.lost || (self.uncaptured && ended);
        may_be && snapshot.system == Some(self.system)
    }

    /// The claim in bytes, 19 to 48 of them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        bytes.push(self.flags());
        bytes.extend(self.system.as_u64().to_be_bytes());
        bytes.extend(self.timeline.as_u32().to_be_bytes());
        bytes.extend(&self.issued.as_millis().to_be_bytes()[2..]);
        if let Some(lsn) = self.lsn {
            bytes.extend(lsn.as_u64().to_be_bytes());
        }
        if let Some(until) = self.unsettled_until {
            bytes.extend(&until.as_millis().to_be_bytes()[1..]);
        }
        if let Some(ReadFrom::Server(start, read_at)) = self.read {
            bytes.extend(start.as_micros().to_be_bytes());
            bytes.extend(&read_at.as_millis().to_be_bytes()[2..]);
        }
        bytes
    }

    /// The claim that [`Claim::encode`] wrote; none if these bytes are not all of one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [flags] = take::<1>(&mut rest)?;
        if flags & !KNOWN != 0 {
            return None;
        }
        let has = |flag: u8| flags & flag != 0;
        let system = SystemId::new(u64::from_be_bytes(take(&mut rest)?));
        let timeline = Timeline::new(u32::from_be_bytes(take(&mut rest)?));
        let issued = WallTime::from_millis(number::<6>(&mut rest)?);
        let lsn = if has(LSN) {
            Some(Lsn::new(u64::from_be_bytes(take(&mut rest)?)))
        } else {
            None
        };
        let unsettled_until = if has(UNSETTLED) {
            Some(WallTime::from_millis(number::<7>(&mut rest)?))
        } else {
            None
        };
        let read = match (has(READ), has(SEVERAL)) {
            (true, false) => {
                let started = ServerStart::new(i64::from_be_bytes(take(&mut rest)?));
                let read_at = WallTime::from_millis(number::<6>(&mut rest)?);
                Some(ReadFrom::Server(started, read_at))
            }
            (false, true) => Some(ReadFrom::Several),
            (false, false) => None,
            (true, true) => return None,
        };
        rest.is_empty().then_some(Self {
            system,
            timeline,
            lsn,
            issued,
            beyond: has(BEYOND),
            uncaptured: has(UNCAPTURED),
            lost: has(LOST),
            unsettled_until,
            read,
        })
    }

    fn flags(&self) -> u8 {
        let read = match self.read {
            Some(ReadFrom::Server(..)) => READ,
            Some(ReadFrom::Several) => SEVERAL,
            None => 0,
        };
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        read | flag(self.lsn.is_some(), LSN)
            | flag(self.unsettled_until.is_some(), UNSETTLED)
            | flag(self.beyond, BEYOND)
            | flag(self.uncaptured, UNCAPTURED)
            | flag(self.lost, LOST)
    }
}

const LSN: u8 = 1;
const UNSETTLED: u8 = 2;
const READ: u8 = 4;
const SEVERAL: u8 = 8;
const BEYOND: u8 = 16;
const UNCAPTURED: u8 = 32;
const LOST: u8 = 64;
const KNOWN: u8 = 127;

/// By how much the clocks of two instances may differ before a replica that crashed and went back
/// within the same moment could be taken for one that ran on, or a write of unknown outcome for one
/// that has ended.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// A number of `N` bytes.
fn number<const N: usize>(bytes: &mut &[u8]) -> Option<u64> {
    let taken = take::<N>(bytes)?;
    Some(
        taken
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests;
