//! Whether a replica has what a session needs, before anything is read.
//!
//! A job decides by it whether to run at all. It takes no connection: what is borrowed here would be
//! given back unused, and count as a read of the session.

use lagwise_core::Rejections;

use super::Caller;
use super::decide::{Decision, decide};
use super::read::Search;
use crate::backend::Backend;
use crate::error::Error;
use crate::options::ReadOptions;

/// What a read would find.
#[derive(Debug)]
pub(crate) enum Outlook {
    /// A replica that has it.
    Replica,
    /// There are none, or none is read from, so that all is read from the primary.
    NoReplica,
    /// None has it, and why each has not.
    Nobody(Rejections),
}

/// Waits, as a read with these options does, for a replica that meets them. They are to refuse the
/// primary.
pub(crate) async fn look_out<DB: Backend>(
    caller: Caller<'_, DB>,
    options: ReadOptions,
) -> Result<Outlook, Error> {
    let mut search = Search::new(caller, options);
    search.admit()?;
    if search.shared().dry {
        return Ok(Outlook::NoReplica);
    }
    let mut watcher = None;
    loop {
        if search.shared().tasks.is_closed() {
            return Err(Error::closed());
        }
        let snapshot = search.shared().published.load();
        let (floor, now) = (search.floor(&snapshot), crate::clock::now());
        match decide(&snapshot, search.request(floor), now) {
            Decision::Try(..) => return Ok(Outlook::Replica),
            Decision::Primary(_) => return Ok(Outlook::NoReplica),
            Decision::Refuse(rejections) => return Ok(Outlook::Nobody(rejections)),
            Decision::Wait => search.wait(&mut watcher, floor, now).await,
        }
    }
}
