//! Runs a read on the connection that was found, and where the answer is late on another one as well.
//!
//! The first answer counts, and the other attempt's connection is cut. To its session the read is the
//! one that was answered: a second attempt sees all that the first one had to, and its answer is
//! dropped if the session has moved on meanwhile. That an attempt fails is decided by the first alone.

use futures_core::future::BoxFuture;
use lagwise_core::{Fallback, Floor, Reason, Request, Role, Selection, Sight, select};

use super::confirm::{Doubt, Shows, confirm};
use super::read::Search;
use super::run::{Failed, Run, end_of, until_end};
use crate::backend::Backend;
use crate::clock;
use crate::connection::ReadConnection;
use crate::hedge::Hedges;
use crate::lease::Leased;
use crate::observe;

/// Which attempt has ended.
enum Ended<T> {
    First(Result<T, sqlx::Error>),
    Second(T),
}

/// Runs `work` on a connection until its end, that of its replica or the deadline.
pub(super) async fn run<DB, T, F>(
    search: &Search<'_, DB>,
    mut connection: ReadConnection<DB>,
    work: &mut F,
) -> Result<T, Failed>
where
    DB: Backend,
    F: for<'c> FnMut(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    T: Send,
{
    let eligible = connection.route().reason == Reason::Eligible;
    let sight = connection.sight();
    let run = connection.run();
    let hedged = search.hedges().filter(|_| eligible).zip(sight);
    let ended = if let Some((hedges, sight)) = hedged {
        let first = work(&mut connection);
        with_second(search, hedges, (sight, first), work).await
    } else {
        let (shared, deadline) = (search.shared(), search.deadline());
        Ended::First(until_end(shared, run, deadline, work(&mut connection)).await)
    };
    match ended {
        Ended::First(Ok(answer)) => {
            connection.answered();
            Ok(answer)
        }
        Ended::First(Err(error)) => Err(Failed::on(connection, error)),
        Ended::Second(answer) => {
            connection.discard();
            Ok(answer)
        }
    }
}

async fn with_second<DB, T, F>(
    search: &Search<'_, DB>,
    hedges: &Hedges,
    (sight, first): (Sight, BoxFuture<'_, Result<T, sqlx::Error>>),
    work: &mut F,
) -> Ended<T>
where
    DB: Backend,
    F: for<'c> FnMut(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    T: Send,
{
    let began = clock::now();
    let after = hedges.lock().begin();
    let mut first = Box::pin(until_end(
        search.shared(),
        Run::Replica(sight),
        search.deadline(),
        first,
    ));
    let ended = tokio::select! {
        biased;
        outcome = &mut first => Ended::First(outcome),
        answer = Box::pin(async {
            match after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
            match second(search, hedges, sight, work).await {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }) => Ended::Second(answer),
    };
    if !matches!(ended, Ended::First(Err(_))) {
        hedges.lock().end(clock::now().since(began));
    }
    ended
}

/// The answer of another replica, if there is one that may be used.
async fn second<DB, T, F>(
    search: &Search<'_, DB>,
    hedges: &Hedges,
    first: Sight,
    work: &mut F,
) -> Option<T>
where
    DB: Backend,
    F: for<'c> FnMut(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    T: Send,
{
    let shared = search.shared();
    let floor = match search.session() {
        Some(session) => session.rival_floor()?,
        None => Floor::default(),
    };
    let requirement = search.options.requirement(floor);
    let request = Request {
        requirement,
        fallback: Fallback::Refuse,
        wait_until: clock::now(),
        failed: &search.failed_and(first.node),
    };
    let now = clock::now();
    let snapshot = shared.published.load();
    let costs = snapshot.costs(now);
    let mut random = || fastrand::u64(..);
    let Selection::Replica(candidate) = select(&snapshot, request, now, &costs, &mut random) else {
        return None;
    };
    let node = shared.node(candidate.node)?;
    if !hedges.lock().spend() {
        return None;
    }
    observe::hedged(node.name());
    let lease = tokio::time::timeout(shared.policy().acquire_patience, node.lease());
    let lease = lease.await.ok()?.ok()?;
    let mut attempt = Attempt(Some(Leased { node, lease }));
    let confirmed = match confirm(shared, attempt.0.as_mut()?, candidate, requirement).await {
        Ok(confirmed) => confirmed,
        Err(Doubt::Failed(_)) => return None,
        Err(Doubt::Behind | Doubt::Changed) => {
            attempt.give_back();
            return None;
        }
    };
    let ends = end_of(shared, Run::Replica(confirmed.sight));
    let answer = tokio::select! {
        biased;
        answer = work(&mut attempt.0.as_mut()?.lease) => answer.ok()?,
        () = ends => return None,
    };
    let leased = attempt.give_back()?;
    if let Some(session) = search.session() {
        let (Shows::Observed(reached) | Shows::Fresh(reached)) = confirmed.shows else {
            return None;
        };
        session.adopt_rival(floor, confirmed.sight, reached)?;
    }
    let staleness = confirmed.shows.as_of().map(|as_of| now.since(as_of));
    search.route(
        &leased,
        Role::Replica,
        Reason::Eligible,
        staleness.unwrap_or(std::time::Duration::MAX),
    );
    observe::hedge_won(leased.node.name());
    Some(answer)
}

/// A second attempt's connection: cut unless it is given back, because an answer may be on its way.
struct Attempt<DB: Backend>(Option<Leased<DB>>);

impl<DB: Backend> Attempt<DB> {
    fn give_back(&mut self) -> Option<Leased<DB>> {
        self.0.take()
    }
}

impl<DB: Backend> Drop for Attempt<DB> {
    fn drop(&mut self) {
        if let Some(leased) = self.0.take() {
            leased.lease.discard();
        }
    }
}
