//! The way to a node for a read.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{
    Candidate, Fallback, Floor, Instant, NodeId, Reason, Rejections, Request, Requirement, Role,
    Selection, Snapshot, Step, next_step, select,
};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::Caller;
use super::confirm::{Confirmed, Doubt, confirm};
use super::run::{Failed, end_of, fallen_silent, is_silence};
use super::waiting::Waiting;
use super::write::{account, await_primary, connect_primary};
use crate::backend::{Backend, Fault};
use crate::clock;
use crate::connection::ReadConnection;
use crate::error::Error;
use crate::lease::Leased;
use crate::monitor::Command;
use crate::node::Node;
use crate::observe;
use crate::options::ReadOptions;
use crate::publish::Watcher;
use crate::route::Route;
use crate::session::SessionState;
use crate::shared::Shared;
use crate::transaction::{Ending, Transaction};

/// A connection for a read.
#[tracing::instrument(
    name = "lagwise.read",
    target = "lagwise::route",
    level = "debug",
    skip_all,
    fields(lagwise.node, lagwise.reason)
)]
pub(crate) async fn read<DB: Backend>(
    caller: Caller<'_, DB>,
    options: ReadOptions,
) -> Result<ReadConnection<DB>, Error> {
    Search::new(caller, options).run().await
}

/// A transaction that only reads, begun anew elsewhere if the first node fails at it.
#[tracing::instrument(
    name = "lagwise.begin_read_only",
    target = "lagwise::route",
    level = "debug",
    skip_all,
    fields(lagwise.node, lagwise.reason)
)]
pub(crate) async fn begin_read_only<DB: Backend>(
    caller: Caller<'_, DB>,
    options: ReadOptions,
) -> Result<Transaction<DB>, Error> {
    let mut search = Search::new(caller, options);
    loop {
        let connection = search.run().await?;
        let sight = connection.sight();
        let (lease, route, guards) = connection.into_parts();
        let statement = AssertSqlSafe(DB::BEGIN_READ_ONLY).into_sql_str();
        let ending = Ending::Read { _guards: guards };
        let (node, on_replica) = (Arc::clone(&route.node), sight.is_some());
        let outcome = tokio::select! {
            biased;
            begun = Transaction::begin(lease, Some(statement), route, ending) => begun,
            () = end_of(search.shared, sight) => Err(fallen_silent()),
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

/// What a read does next.
#[derive(Debug)]
pub(super) enum Decision {
    Primary(Reason),
    Refuse(Rejections),
    Try(Candidate, Reason),
    Wait,
}

/// What became of an attempt at a replica.
enum Tried<DB: Backend> {
    Opened(Box<ReadConnection<DB>>),
    /// The connection falls short of what the read needs, and replay may make up for it.
    NotYet,
    /// The search goes on without the replica.
    Failed,
}

/// One read's way through the nodes.
pub(crate) struct Search<'a, DB: Backend> {
    shared: &'a Arc<Shared<DB>>,
    session: Option<Arc<SessionState>>,
    options: ReadOptions,
    fallback: Fallback,
    wait_until: Instant,
    /// When the caller gives up.
    deadline: Instant,
    /// Held from the first wait on.
    place: Option<Waiting<'a>>,
    waited: Duration,
    failed: Vec<NodeId>,
    last_error: Option<Error>,
}

impl<'a, DB: Backend> Search<'a, DB> {
    pub(crate) fn new(caller: Caller<'a, DB>, options: ReadOptions) -> Self {
        let began = clock::now();
        let shared = caller.shared;
        let rules = caller.rules;
        let options = options.over(&rules.reads);
        let deadline = rules.deadline.unwrap_or(Instant::NEVER);
        shared.orders.note_read(began);
        Self {
            shared,
            session: caller.session,
            options,
            fallback: options.fallback.unwrap_or(shared.fallback),
            wait_until: began
                .after(options.wait_under(&shared.policy()))
                .min(deadline),
            deadline,
            place: None,
            waited: Duration::ZERO,
            failed: Vec::new(),
            last_error: None,
        }
    }

    /// Finds a connection.
    pub(crate) async fn run(&mut self) -> Result<ReadConnection<DB>, Error> {
        let mut watcher: Option<Watcher> = None;
        loop {
            if self.shared.tasks.is_closed() {
                return Err(Error::closed());
            }
            let snapshot = self.shared.published.load();
            let now = clock::now();
            let floor = self.floor(&snapshot);
            let (candidate, reason) = match self.decide(&snapshot, floor, now) {
                Decision::Try(candidate, reason) => (candidate, reason),
                Decision::Primary(reason) => return self.primary(reason).await,
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

    pub(super) fn decide(&self, snapshot: &Snapshot, floor: Floor, now: Instant) -> Decision {
        let request = self.request(floor);
        match select(
            snapshot,
            request,
            now,
            &self.shared.costs(now),
            &mut fastrand_u64,
        ) {
            Selection::Replica(candidate) => Decision::Try(candidate, Reason::Eligible),
            Selection::None(rejections) => match next_step(snapshot, request, &rejections, now) {
                Step::Freshest(candidate) => Decision::Try(candidate, Reason::Freshest),
                Step::Primary(reason) => Decision::Primary(reason),
                Step::Refuse => Decision::Refuse(rejections),
                Step::Wait => Decision::Wait,
            },
        }
    }

    /// Accounts for a failure on a node that was found: tries elsewhere, once, if that can help.
    pub(crate) fn forgive(&mut self, failed: Failed) -> Result<(), Error> {
        let fault = DB::fault(&failed.error);
        let on_replica = failed.on_replica;
        let tried = self.shared.named(&failed.node);
        let error = self.give_up(failed);
        let (Some(node), None) = (tried, &self.last_error) else {
            return Err(error);
        };
        match fault {
            _ if !on_replica => return Err(error),
            Fault::Statement => return Err(error),
            // No replica will do: the rest of the search ends at the primary.
            Fault::ReplicaRefuses => self.failed.extend(
                self.shared
                    .published
                    .load()
                    .roster
                    .iter()
                    .map(|node| node.id),
            ),
            Fault::Node | Fault::Busy => self.failed.push(node.id),
        }
        self.last_error = Some(error);
        observe::retried(node.name());
        Ok(())
    }

    /// Accounts for a failure that is not tried again.
    pub(crate) fn give_up(&self, failed: Failed) -> Error {
        match self.shared.named(&failed.node) {
            Some(node) => account(self.shared, &node, failed.error),
            None => Error::from(failed.error),
        }
    }

    pub(crate) const fn shared(&self) -> &'a Arc<Shared<DB>> {
        self.shared
    }

    /// What the session needs at this moment.
    pub(super) fn floor(&self, snapshot: &Snapshot) -> Floor {
        self.session
            .as_ref()
            .map(|session| session.floor_under(snapshot))
            .unwrap_or_default()
    }

    fn request(&self, floor: Floor) -> Request<'_> {
        Request {
            requirement: self.options.requirement.and(Requirement::at_least(floor)),
            fallback: self.fallback,
            wait_until: self.wait_until,
            failed: &self.failed,
        }
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
            let bound = self
                .options
                .requirement
                .bound()
                .map(|bound| now.before(bound));
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

    /// Connects to a replica and confirms it.
    async fn try_replica(
        &mut self,
        candidate: Candidate,
        floor: Floor,
        reason: Reason,
    ) -> Result<Tried<DB>, Error> {
        let Some(node) = self.shared.node(candidate.node) else {
            return Ok(Tried::Failed);
        };
        let requirement = self.request(floor).requirement;
        let mut leased = match node.lease().await {
            Ok(lease) => Leased { node, lease },
            Err(error) => return self.failed_at(&node, error),
        };
        match confirm(self.shared, &mut leased, candidate, requirement).await {
            Ok(confirmed) => Ok(self
                .open(leased, confirmed, reason)
                .map_or(Tried::Failed, |connection| {
                    Tried::Opened(Box::new(connection))
                })),
            Err(Doubt::Failed(error)) => {
                let node = Arc::clone(&leased.node);
                if is_silence(&error) {
                    leased.lease.discard();
                }
                self.failed_at(&node, error)
            }
            Err(Doubt::Behind) if clock::now() < self.wait_until => {
                observe::doubted(leased.node.name());
                Ok(Tried::NotYet)
            }
            Err(doubt) => {
                if matches!(doubt, Doubt::Changed) {
                    self.shared.orders.give(Command::Suspect(candidate.node));
                }
                observe::doubted(leased.node.name());
                self.failed.push(candidate.node);
                Ok(Tried::Failed)
            }
        }
    }

    fn failed_at(&mut self, node: &Node<DB>, error: sqlx::Error) -> Result<Tried<DB>, Error> {
        self.forgive(Failed {
            node: Arc::clone(node.name()),
            on_replica: true,
            error,
        })?;
        Ok(Tried::Failed)
    }

    /// Opens the read in the session; none if the session has seen something newer meanwhile.
    fn open(
        &self,
        leased: Leased<DB>,
        confirmed: Confirmed,
        reason: Reason,
    ) -> Option<ReadConnection<DB>> {
        let read = match &self.session {
            Some(session) => Some(session.open_read(confirmed)?),
            None => None,
        };
        let staleness = match confirmed.shows.as_of() {
            Some(as_of) => clock::now().since(as_of),
            None => Duration::MAX,
        };
        let route = self.route(&leased, Role::Replica, reason, staleness);
        Some(ReadConnection::on_replica(
            leased.lease,
            route,
            confirmed.sight,
            read,
        ))
    }

    /// Reads from the primary: within its budget, unless the caller asked for it or there is no
    /// replica that could have served.
    async fn primary(&mut self, reason: Reason) -> Result<ReadConnection<DB>, Error> {
        let until = clock::now().after(self.shared.policy().write_wait);
        let until = until.min(self.deadline);
        // Whoever waits for a primary needs no place on it yet.
        await_primary(self.shared, until, &mut self.waited).await;
        let fallback = !matches!(reason, Reason::Asked | Reason::NoReplica);
        let permit = if !fallback {
            None
        } else {
            Some(self.shared.purse.spend(self.deadline).await.map_err(|_| {
                observe::refused("budget");
                Error::overloaded()
            })?)
        };
        // The wait is over, and its place is free for another.
        self.place = None;
        let session = self.session.as_ref();
        let leased = connect_primary(self.shared, session, until, &mut self.waited)
            .await
            .map_err(|error| self.last_error.take().unwrap_or(error))?;
        let read = self.session.as_ref();
        let read = read.map(|session| session.open_primary_read(fallback));
        let route = self.route(&leased, Role::Primary, reason, Duration::ZERO);
        Ok(ReadConnection::on_primary(
            leased.lease,
            route,
            read,
            permit,
        ))
    }

    fn route(&self, leased: &Leased<DB>, role: Role, reason: Reason, staleness: Duration) -> Route {
        let route = Route {
            node: Arc::clone(leased.node.name()),
            role,
            reason,
            staleness,
            waited: self.waited,
            retried: self.last_error.is_some(),
        };
        observe::routed(&route);
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

fn fastrand_u64() -> u64 {
    fastrand::u64(..)
}
