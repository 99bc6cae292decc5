//! Whether a replica is on the primary's branch of history, while another node writes one of its own.
//!
//! After a promotion positions on both branches are numbers of the same kind: one that follows the old
//! primary may well stand where the new one has passed. Where a replica can tell which timeline it
//! receives, that settles it (`received_tli` of PostgreSQL's `pg_stat_wal_receiver`, for roles that may
//! read it). Otherwise the rule is: while a rival is in reach, a replica is on our branch only once it was
//! seen to have replayed what the rival had not written yet when it was asked after that. A rival that
//! nobody reaches cannot be told from none.

use super::Monitor;
use super::track::Track;
use crate::lsn::Lsn;
use crate::observation::Standing;
use crate::time::Instant;

impl Monitor {
    /// Whether nothing speaks for another branch.
    pub(super) fn is_on_our_branch(&self, track: &Track) -> bool {
        let ours = self.history.as_ref().map(crate::history::History::timeline);
        match track.last().map(|observed| observed.standing) {
            Some(Standing::Replica {
                follows: Some(timeline),
                ..
            }) => ours.is_none_or(|ours| ours == timeline),
            _ => track.apart || self.rivals(track).next().is_none(),
        }
    }

    /// Notes which replicas are proved to be on no rival's branch, after any observation.
    pub(super) fn note_branches(&mut self) {
        for index in 0..self.tracks.len() {
            if self.is_apart(&self.tracks[index]) {
                self.tracks[index].apart = true;
            }
        }
    }

    /// Whether a replica has replayed what no rival had written yet when it was asked after that.
    fn is_apart(&self, track: &Track) -> bool {
        let Some((replay, received)) = track.position() else {
            return false;
        };
        let mut rivals = self.rivals(track).peekable();
        rivals.peek().is_some() && rivals.all(|(insert, sent)| insert < replay && received <= sent)
    }

    /// Another rival has come: what was proved of the others says nothing of this one.
    pub(super) fn doubt_branches(&mut self) {
        for track in &mut self.tracks {
            track.apart = false;
        }
    }

    /// Where every other node stands that writes a history of its own, and when it was asked.
    fn rivals(&self, but: &Track) -> impl Iterator<Item = (Lsn, Instant)> {
        let but = but.id;
        let others = move |track: &&Track| track.id != but && Some(track.id) != self.primary;
        self.tracks.iter().filter(others).filter_map(|track| {
            // One that is suspected is not known to be out of reach.
            let observed = track.last().filter(|_| track.failure().is_none())?;
            let is_ours = Some(observed.system) == self.system;
            match observed.standing {
                Standing::Primary { insert, .. } if is_ours => Some((insert, observed.sent_at)),
                Standing::Primary { .. } | Standing::Replica { .. } => None,
            }
        })
    }
}

#[cfg(test)]
mod tests;
