//! What an operator does to a running router: nodes come and go, limits change, and one day it ends.
//!
//! The monitor makes every change, one after the other, and whoever asked for it is told when everybody
//! sees it. What cannot be is refused as a whole, and has changed nothing. What is under way is never
//! cut off by a change; an end that waits has a limit.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Instant, NodeFault, Policy, Weight};
use tokio::task::JoinSet;

use super::Router;
use crate::backend::Backend;
use crate::builder::{MOST_NODES, short_lived};
use crate::clock;
use crate::error::Error;
use crate::monitor::{Change, Command};
use crate::node_config::{NodeConfig, connect_replica};
use crate::observe;

/// How a [`Router::shutdown`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// How many connections were still on loan when the time was over. Who holds one may go on with
    /// it; it is closed when it is given back.
    pub connections: u32,
    /// How many requests had begun and not ended by then.
    pub requests: u32,
}

impl Shutdown {
    /// Whether everything ended in time.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.connections == 0 && self.requests == 0
    }
}

impl<DB: Backend> Router<DB> {
    /// Takes in one more replica. When this returns, the monitor knows it; it serves as soon as it has
    /// proved itself, as at the start: see [`Router::ready`].
    ///
    /// ```no_run
    /// # async fn example(db: lagwise::PgRouter) -> Result<(), lagwise::Error> {
    /// use lagwise::NodeConfig;
    ///
    /// db.add_replica(NodeConfig::url("postgres://app@db-4/app").name("db-4")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// A node that was drained, removed, and is added again under its name is still drained.
    ///
    /// # Errors
    /// If the node cannot be: another one has its name or its URL, or there are too many. Nothing has
    /// changed then.
    ///
    /// # Cancel safety
    /// A dropped call may have added the node.
    pub async fn add_replica(&self, node: impl Into<NodeConfig<DB>>) -> Result<(), Error> {
        let node = node.into();
        let _turn = self.turn().await?;
        let view = self.shared.published.load();
        if view.roster.iter().count() >= MOST_NODES {
            return Err(Error::misused(format!(
                "there are {MOST_NODES} nodes, and cannot be more: remove one first"
            )));
        }
        let node = connect_replica(node, &view.roster);
        let node = node.map_err(|faults| Error::misused(faults.join("; ")))?;
        let name = Arc::clone(node.name());
        self.change(&name, Change::Add(Box::new(node))).await
    }

    /// Takes a node out for good. When this returns, it gets no new requests. What is under way on it
    /// ends in peace; then its pool is closed, if the router made it.
    ///
    /// # Errors
    /// If no node has that name, or it is the primary. Nothing has changed then.
    ///
    /// # Cancel safety
    /// A dropped call may have removed the node.
    pub async fn remove_node(&self, node: &str) -> Result<(), Error> {
        let _turn = self.turn().await?;
        let name = self.by_name(node)?;
        self.change(&name, Change::Remove(Arc::clone(&name))).await
    }

    /// Changes a node's share of the reads: see [`NodeConfig::weight`].
    ///
    /// # Errors
    /// If no node has that name.
    ///
    /// # Cancel safety
    /// A dropped call may have changed it.
    pub async fn set_weight(&self, node: &str, weight: u16) -> Result<(), Error> {
        let _turn = self.turn().await?;
        let name = self.by_name(node)?;
        let change = Change::Weight(Arc::clone(&name), Weight::new(weight));
        self.change(&name, change).await
    }

    /// Changes the policy. When this returns, every node is judged by the new one: a replica beyond a
    /// lower `max_lag` is out. Reads that have begun keep the wait that they began with.
    ///
    /// ```no_run
    /// # async fn example(db: lagwise::PgRouter) -> Result<(), lagwise::Error> {
    /// use std::time::Duration;
    ///
    /// db.change_policy(|policy| *policy = policy.clone().with_max_lag(Duration::from_secs(5))).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If a setting cannot be honored: the message lists all that is wrong. Nothing has changed then.
    ///
    /// # Cancel safety
    /// A dropped call may have changed it.
    pub async fn change_policy(&self, change: impl FnOnce(&mut Policy)) -> Result<(), Error> {
        let _turn = self.turn().await?;
        let mut policy = Policy::clone(&self.shared.policy());
        change(&mut policy);
        let keys = self.shared.keys.as_ref();
        let mut faults: Vec<String> = keys
            .and_then(|keys| short_lived(&policy, keys))
            .into_iter()
            .collect();
        let valid = policy.validate();
        faults.extend(valid.as_ref().err().map(ToString::to_string));
        match valid {
            Ok(policy) if faults.is_empty() => {
                let none: Arc<str> = Arc::from("");
                self.change(&none, Change::Policy(Box::new(policy))).await
            }
            _ => Err(Error::misused(format!(
                "the policy cannot be changed: {}",
                faults.join("; ")
            ))),
        }
    }

    /// Takes a node out of rotation by hand: reads that it is serving end in peace, new ones go
    /// elsewhere. Nothing but [`Router::undrain`] undoes it, whatever else happens.
    ///
    /// Writes are not reads: a primary that is drained keeps them, and a drained replica that is
    /// promoted takes them, since no other node can.
    ///
    /// # Errors
    /// If no node has that name.
    pub fn drain(&self, node: &str) -> Result<(), Error> {
        let name = self.by_name(node)?;
        self.shared.orders.give(Command::Drain(name));
        Ok(())
    }

    /// Lets a drained node prove itself again.
    ///
    /// # Errors
    /// If no node has that name.
    pub fn undrain(&self, node: &str) -> Result<(), Error> {
        let name = self.by_name(node)?;
        self.shared.orders.give(Command::Undrain(name));
        Ok(())
    }

    /// Ends the router in peace: from now on it takes no new requests, as if it were closed, and what
    /// is under way has until `grace` to end. Then it is closed.
    ///
    /// Under way are reads that look for a node, connections on loan and what runs on them, writes
    /// whose end is found out, and tokens that ask for a position. The monitor goes on for them.
    /// Connections that the application has taken out of a pool itself are waited for as well, if the
    /// router made that pool.
    ///
    /// # Cancel safety
    /// A dropped call has refused all new requests, and closed nothing.
    pub async fn shutdown(&self, grace: Duration) -> Shutdown {
        let deadline = clock::now().after(grace);
        self.shared.requests.refuse();
        while !self.under_way().is_complete() && clock::now() < deadline {
            let left = clock::until(deadline);
            tokio::time::sleep(PAUSE.min(left)).await;
        }
        let left = self.under_way();
        observe::shut_down(left);
        self.end(deadline).await;
        left
    }

    /// Ends the monitor and every other task of the router, and closes the pools that it made. Pools
    /// that were handed to it stay open.
    ///
    /// Connections still on loan are waited for, 5 s at most. Who holds one for longer may go on with
    /// it; it is closed when it is given back. [`Router::shutdown`] lets what is under way end first.
    ///
    /// # Cancel safety
    /// A dropped call has ended the monitor, and may have left pools open.
    pub async fn close(&self) {
        self.shared.requests.refuse();
        self.end(clock::now().after(PATIENCE)).await;
    }

    /// Whether [`Router::close`] or [`Router::shutdown`] was called: it takes no new requests.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.requests.are_refused()
    }

    /// What has begun and not ended.
    fn under_way(&self) -> Shutdown {
        // In this order: a request that has ended since has borrowed all that it ever will.
        let requests = self.shared.requests.under_way();
        let view = self.shared.published.load();
        let on_loan = view.roster.all().map(|node| node.on_loan());
        Shutdown {
            requests,
            connections: on_loan.fold(0, u32::saturating_add),
        }
    }

    async fn end(&self, deadline: Instant) {
        self.shared.tasks.close().await;
        let view = self.shared.published.load();
        observe::tallied(view.roster.all());
        let mut closing = JoinSet::new();
        for node in view.roster.all().map(Arc::clone) {
            closing.spawn(async move { node.close(deadline).await });
        }
        drop(closing.join_all().await);
    }

    /// The right to change something: one at a time, so that what is checked stays so until it is done.
    async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Error> {
        let turn = self.shared.changing.lock().await;
        if self.is_closed() {
            Err(Error::closed())
        } else {
            Ok(turn)
        }
    }

    async fn change(&self, node: &str, change: Change<DB>) -> Result<(), Error> {
        let outcome = self.shared.orders.change(change).await;
        outcome
            .ok_or_else(Error::closed)?
            .map_err(|fault| refused(node, fault))
    }

    fn by_name(&self, name: &str) -> Result<Arc<str>, Error> {
        let view = self.shared.published.load();
        view.roster
            .named(name)
            .map(|node| Arc::clone(node.name()))
            .ok_or_else(|| {
                let known: Vec<&str> = view.roster.iter().map(|node| &**node.name()).collect();
                let known = known.join(", ");
                Error::misused(format!("no node is named {name:?}: there are {known}"))
            })
    }
}

fn refused(node: &str, fault: NodeFault) -> Error {
    let way_out = match fault {
        NodeFault::Primary => {
            ", and cannot be removed: promote another node first, or add the one that took over"
        }
        NodeFault::NameTaken => ": give each node a name of its own",
        _ => "",
    };
    Error::misused(format!("{node}: {fault}{way_out}"))
}

/// Between two looks whether all has ended. Only who shuts down waits for it.
const PAUSE: Duration = Duration::from_millis(5);

/// How long closing waits for connections on loan.
const PATIENCE: Duration = Duration::from_secs(5);
