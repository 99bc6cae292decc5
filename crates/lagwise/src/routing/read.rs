//! The way to a node for a read.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Fallback, Floor, Instant, NodeId, Reason, Rejections, Role, Snapshot};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::Caller;
use super::at_once::Asked;
use super::deadline::{is_timed_out, passed, time_out, timed_out};
use super::decide::{Decision, decide};
use super::dry::Foreseen;
use super::reach::{Fell, Tried};
use super::run::{Failed, end_of, fallen_silent};
use super::waiting::Waiting;
use super::write::account;
use crate::backend::{Backend, Fault};
use crate::budget::Permit;
use crate::clock;
use crate::connection::ReadConnection;
use crate::error::Error;
use crate::hedge::{Hedged, Hedges};
use crate::lease::Leased;
use crate::monitor::Command;
use crate::node::Node;
use crate::observe;
use crate::options::ReadOptions;
use crate::publish::Watcher;
use crate::requests::Begun;
use crate::route::Route;
use crate::session::SessionState;
use crate::shared::Shared;
use crate::transaction::{Ending, Transaction};
use crate::turn::Turn;

/// A connection for a read.
pub(crate) async fn read<DB: Backend>(
    caller: Caller<'_, DB>,
    options: ReadOptions,
) -> Result<ReadConnection<DB>, Error> {
    let began = clock::now();
    let found = match caller.read_at_once(&options, began) {
        Ok(connection) => return Ok(connection),
        // Boxed: most reads do not wait, and all would carry a place for it.
        Err(not_now) => Box::pin(caller.read_in_turn(&options, not_now, began)).await,
    };
    let turn = match found {
        Ok(connection) => return Ok(connection),
        Err(turn) => turn,
    };
    let read = Search::begun(caller, options, began).in_turn(turn);
    Box::pin(search(read)).await
}

#[tracing::instrument(
    name = "lagwise.read",
    target = "lagwise::route",
    level = "debug",
    skip_all,
    fields(lagwise.node, lagwise.reason, lagwise.dry)
)]
async fn search<DB: Backend>(mut read: Search<'_, DB>) -> Result<ReadConnection<DB>, Error> {
    read.run().await
}

/// A transaction that only reads, begun anew elsewhere if the first node fails at it.
#[tracing::instrument(
    name = "lagwise.begin_read_only",
    target = "lagwise::route",
    level = "debug",
    skip_all,
    fields(lagwise.node, lagwise.reason, lagwise.dry)
)]
pub(crate) async fn begin_read_only<DB: Backend>(
    caller: Caller<'_, DB>,
    options: ReadOptions,
) -> Result<Transaction<DB>, Error> {
    let mut search = Search::new(caller, options);
    loop {
        let connection = search.run().await?;
        let (run, on_replica) = (connection.run(), connection.sight().is_some());
        let (lease, route, guards) = connection.into_parts();
        let statement = AssertSqlSafe(DB::BEGIN_READ_ONLY).into_sql_str();
        let ending = Ending::Read { _guards: guards };
        let node = Arc::clone(&route.node);
        let outcome = tokio::select! {
            biased;
            begun = Transaction::begin(lease, Some(statement), route, ending) => begun,
            () = end_of(search.shared, run) => Err(fallen_silent()),
            () = passed(search.deadline) => Err(timed_out()),
        };
        match outcome {
            Ok(transaction) => return Ok(transaction),
            Err(error) => search.forgive(Failed {
                node,
                on_replica,
                error,
            })?,
        }
    }
}

/// One read's way through the nodes.
pub(crate) struct Search<'a, DB: Backend> {
    shared: &'a Arc<Shared<DB>>,
    pub(super) session: Option<Arc<SessionState>>,
    begun: Begun<'a>,
    pub(super) options: ReadOptions,
    pub(super) fallback: Fallback,
    wait_until: Instant,
    /// When the read fails for having taken too long.
    deadline: Instant,
    /// Until when a primary is waited for, from when one is needed.
    pub(super) primary_until: Option<Instant>,
    /// For the primary, from when it was found out that the read can go there.
    pub(super) permit: Option<Permit>,
    /// The primary was tried, and not for its budget in vain.
    pub(super) primary_failed: bool,
    /// What has failed so far failed before the read was sent: that costs it no retry.
    pub(super) unsent: bool,
    /// What is left of the turn that it waited for before.
    turn: Option<Turn<DB>>,
    /// Held from the first wait on.
    place: Option<Waiting<'a>>,
    waited: Duration,
    pub(super) failed: Vec<NodeId>,
    pub(super) last_error: Option<Error>,
    /// In dry mode, what would have been decided.
    pub(super) foreseen: Option<Foreseen>,
    /// Whether the router runs the statement itself.
    is_statement: bool,
}

impl<'a, DB: Backend> Search<'a, DB> {
    pub(crate) fn new(caller: Caller<'a, DB>, options: ReadOptions) -> Self {
        Self::begun(caller, options, clock::now())
    }

    /// The search of a read that began before.
    pub(super) fn begun(caller: Caller<'a, DB>, options: ReadOptions, began: Instant) -> Self {
        let shared = caller.shared;
        let rules = caller.rules;
        let options = options.over(&rules.reads);
        let deadline = caller.deadline(&options, began);
        // Whoever has little time leaves half of it for where the read falls back to.
        let wait = options
            .wait_under(&shared.policy())
            .min(deadline.since(began) / 2);
        shared.orders.note_read(began);
        Self {
            shared,
            session: caller.session.cloned(),
            begun: caller.begun,
            options,
            fallback: options.fallback.unwrap_or(shared.fallback),
            wait_until: began.after(wait),
            deadline,
            primary_until: None,
            permit: None,
            primary_failed: false,
            unsent: false,
            turn: None,
            place: None,
            waited: Duration::ZERO,
            failed: Vec::new(),
            last_error: None,
            foreseen: None,
            is_statement: false,
        }
    }

    /// The read is one statement, which sets nothing on its connection.
    pub(crate) const fn for_statement(mut self) -> Self {
        self.is_statement = true;
        self
    }

    /// The read has waited for its turn at a replica, and keeps it.
    pub(super) fn in_turn(mut self, turn: Option<Turn<DB>>) -> Self {
        self.turn = turn;
        self
    }

    /// The turn that it has at a node, if it has one there. It has no other from here on.
    pub(super) fn turn_at(&mut self, node: &Arc<Node<DB>>) -> Option<Turn<DB>> {
        self.turn
            .take()
            .filter(|turn| Arc::ptr_eq(turn.node(), node))
    }

    /// Finds a connection.
    pub(crate) async fn run(&mut self) -> Result<ReadConnection<DB>, Error> {
        if self.shared.dry {
            return self.run_dry().await;
        }
        if let Some(connection) = self.at_once() {
            return Ok(connection);
        }
        Box::pin(self.search()).await
    }

    /// A connection that takes no search, if nothing has failed yet.
    fn at_once(&self) -> Option<ReadConnection<DB>> {
        let now = clock::now();
        let is_first = self.failed.is_empty() && self.last_error.is_none();
        if !is_first || now >= self.deadline || !self.may_begin() {
            return None;
        }
        let asked = Asked {
            shared: self.shared,
            session: self.session.as_ref(),
            options: &self.options,
        };
        let mut connection = asked.read(now).ok()?;
        if self.is_statement {
            connection.for_statement();
        }
        Some(connection)
    }

    fn may_begin(&self) -> bool {
        self.begun.admit().is_ok() && !self.shared.tasks.is_closed()
    }

    async fn search(&mut self) -> Result<ReadConnection<DB>, Error> {
        let mut watcher: Option<Watcher> = None;
        loop {
            self.admit()?;
            if self.shared.tasks.is_closed() {
                return Err(Error::closed());
            }
            let snapshot = self.shared.published.load();
            let now = clock::now();
            if now >= self.deadline {
                return Err(self.too_late());
            }
            let floor = self.floor(&snapshot);
            let (candidate, reason) = match decide(&snapshot, self.request(floor), now) {
                Decision::Try(candidate, reason) => (candidate, reason),
                Decision::Primary(reason) => match self.primary(floor, reason).await? {
                    Fell::Opened(connection) => return Ok(*connection),
                    Fell::Instead(candidate, reason) => (candidate, reason),
                },
                Decision::Refuse(rejections) => return Err(self.refuse(&snapshot, &rejections)),
                Decision::Wait => {
                    self.wait(&mut watcher, floor, now).await;
                    continue;
                }
            };
            match self.try_replica(candidate, floor, reason).await? {
                Tried::Opened(connection) => return Ok(*connection),
                Tried::NotYet => self.wait(&mut watcher, floor, now).await,
                Tried::Failed => {}
            }
        }
    }

    /// Accounts for a failure on a node that was found: tries elsewhere, if that can help. That is one
    /// other replica, and where that has gone as well, no replica at all.
    pub(crate) fn forgive(&mut self, failed: Failed) -> Result<(), Error> {
        let fault = DB::fault(&failed.error);
        let may_go_on = failed.on_replica && !is_timed_out(&failed.error);
        let name = Arc::clone(&failed.node);
        // One that was removed meanwhile is not found again.
        let tried = self.shared.named(&name).map(|node| node.id);
        let error = self.give_up(failed);
        if !may_go_on {
            return Err(error);
        }
        match (fault, &self.last_error) {
            // No replica will do: the rest of the search ends at the primary.
            (Fault::Busy, Some(_)) if self.unsent => self.exclude_everybody(),
            // So it does where replay cancels it twice: who replays the same log cancels the same reads.
            (Fault::ReplicaRefuses, None) | (Fault::Node | Fault::Conflict, Some(_)) => {
                self.exclude_everybody();
            }
            (Fault::Node | Fault::Busy | Fault::Conflict, None) => self.failed.extend(tried),
            (Fault::Statement, None)
            | (Fault::ReplicaRefuses | Fault::Busy | Fault::Statement, Some(_)) => {
                return Err(error);
            }
        }
        self.last_error = Some(error);
        self.unsent = false;
        observe::retried(&name);
        Ok(())
    }

    /// Every node there is at present.
    pub(super) fn everybody(&self) -> Vec<NodeId> {
        let view = self.shared.published.load();
        view.roster.iter().map(|node| node.id).collect()
    }

    fn exclude_everybody(&mut self) {
        let everybody = self.everybody();
        self.failed.extend(everybody);
    }

    /// Accounts for a failure that is not tried again.
    pub(crate) fn give_up(&self, failed: Failed) -> Error {
        if is_timed_out(&failed.error) {
            return time_out();
        }
        let Some(node) = self.shared.named(&failed.node) else {
            return Error::from(failed.error);
        };
        if failed.on_replica && DB::fault(&failed.error) == Fault::Conflict {
            observe::conflicted(node.name());
            node.load.conflicted(clock::now());
        }
        let error = account(self.shared, &node, failed.error);
        // What runs on the primary may have written.
        if failed.on_replica {
            error
        } else {
            error.sent()
        }
    }

    /// A fallback that the primary could not take. What failed before says more.
    pub(super) fn refused_by_primary(&mut self, error: Error) -> Error {
        if error.is_overloaded() {
            observe::refused("budget");
            return error;
        }
        self.last_error.take().unwrap_or(error)
    }

    /// Goes on without a node.
    pub(super) fn exclude(&mut self, node: NodeId) {
        self.failed.push(node);
    }

    /// The end of a read whose deadline has passed before it was sent. Where it waited for a primary,
    /// that there is none says more.
    pub(super) fn too_late(&self) -> Error {
        let view = self.shared.published.load();
        let is_there = view.primary.is_some() && view.primary_lost.is_none();
        if self.primary_until.is_some() && !is_there {
            Error::no_primary()
        } else {
            time_out()
        }
    }

    /// Gives the place among those that wait to another.
    pub(super) fn leave_queue(&mut self) {
        self.place = None;
    }

    /// A connection that the read is done on.
    pub(super) fn take_up(&self, mut leased: Leased<DB>) -> Leased<DB> {
        if self.is_statement {
            leased.lease.for_read();
        }
        leased
    }

    pub(super) const fn session(&self) -> Option<&Arc<SessionState>> {
        self.session.as_ref()
    }

    /// What second attempts are decided by, where there may be one.
    pub(super) fn hedges(&self) -> Option<&'a Hedges> {
        let allowed = self.options.hedged != Some(Hedged::Never);
        self.shared.hedges.as_ref().filter(|_| allowed)
    }

    pub(super) const fn wait_until(&self) -> Instant {
        self.wait_until
    }

    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the router takes the read.
    pub(super) fn admit(&self) -> Result<(), Error> {
        self.begun.admit()
    }

    pub(super) fn add_wait(&mut self, waited: Duration) {
        self.waited += waited;
    }

    pub(crate) const fn shared(&self) -> &'a Arc<Shared<DB>> {
        self.shared
    }

    /// Waits for the next snapshot, or the end of a write, until the deadline.
    ///
    /// The first call only begins to watch, so that nothing published before is missed.
    pub(super) async fn wait(
        &mut self,
        watching: &mut Option<Watcher>,
        floor: Floor,
        now: Instant,
    ) {
        let Some(watcher) = watching else {
            *watching = Some(self.shared.published.watch());
            let most = self.shared.policy().max_waiting;
            self.place = Waiting::enter(&self.shared.waiting, most);
            if self.place.is_none() {
                observe::crowded();
                self.wait_until = now;
            }
            return;
        };
        // A floor that no instant reaches is that of a write being settled: that comes first.
        if floor.needed() != Some(Instant::NEVER) {
            let bound = self.options.bound().map(|bound| now.before(bound));
            let needed = floor.asks_for().max(bound).unwrap_or(now);
            self.shared.orders.give(Command::Demand {
                needed,
                until: self.wait_until,
            });
        }
        let session_changed = async {
            match &self.session {
                Some(session) => session.changed_from(floor).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = watcher.changed() => {}
            () = session_changed => {}
            () = self.shared.tasks.cancelled() => {}
            () = tokio::time::sleep(clock::until(self.wait_until)) => {}
        }
        self.waited += clock::now().since(now);
    }

    pub(super) fn route(
        &self,
        leased: &Leased<DB>,
        role: Role,
        reason: Reason,
        staleness: Duration,
    ) -> Route {
        let route = Route {
            node: Arc::clone(leased.node.name()),
            role,
            reason,
            staleness,
            waited: self.waited,
            retried: self.last_error.is_some(),
            dry: self.foreseen.as_ref().map(Foreseen::route),
        };
        leased.node.chosen(&route);
        route
    }

    fn refuse(&mut self, snapshot: &Snapshot, rejections: &Rejections) -> Error {
        observe::refused("unavailable");
        if let Some(error) = self.last_error.take() {
            return error;
        }
        let named = rejections
            .iter()
            .filter_map(|(id, rejection)| {
                Some((Arc::clone(&snapshot.node(id)?.spec.name), rejection))
            })
            .collect();
        Error::unavailable(named)
    }
}
