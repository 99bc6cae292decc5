//! Turns nodes and settings into a router, or says everything that is wrong with them.
//!
//! No message repeats a URL: it may hold a password. A node is named by its name.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use lagwise_core::{Fallback, Monitor, NameError, Policy, Role};

use crate::backend::Backend;
use crate::budget::{Budget, Purse};
use crate::capture::Capturer;
use crate::clock;
use crate::error::Error;
use crate::events::Announcer;
use crate::hedge::{Hedge, Hedges};
use crate::monitor::{self, CatalogReader, Tasks};
use crate::node_config::{NodeConfig, connect_nodes};
use crate::publish::Published;
use crate::requests::Requests;
use crate::router::Router;
use crate::shared::{RouterId, Shared};
use crate::statements::{BoundStatements, OutsideSession, Settings, Statements};
use crate::token::Keys;
use crate::view::{Lent, Roster, View};

/// Builds a [`Router`].
///
/// Settings that cannot be honored are refused when the router is built, all of them at once.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is connected"]
pub struct RouterBuilder<DB: Backend> {
    /// Without a role, it is found by asking.
    nodes: Vec<(Option<Role>, NodeConfig<DB>)>,
    policy: Policy,
    fallback: Fallback,
    budget: Budget,
    connect_timeout: Duration,
    read_deadline: Option<Duration>,
    hedge: Option<Hedge>,
    dry_run: bool,
    /// Without one, the catalog is not read.
    catalog_interval: Option<Duration>,
    statements: Settings,
    names: Vec<NameError>,
    keys: Option<Keys>,
}

impl<DB: Backend> RouterBuilder<DB> {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            policy: Policy::default(),
            fallback: Fallback::default(),
            budget: Budget::default(),
            connect_timeout: Duration::from_secs(10),
            read_deadline: None,
            hedge: None,
            dry_run: false,
            catalog_interval: Some(Duration::from_secs(30)),
            statements: Settings::default(),
            names: Vec::new(),
            keys: None,
        }
    }

    /// The node that accepts writes when the router is built. There must be one, unless nodes are given
    /// without roles.
    pub fn primary(mut self, node: impl Into<NodeConfig<DB>>) -> Self {
        self.nodes.push((Some(Role::Primary), node.into()));
        self
    }

    /// A node whose role is found by asking it: `node-1` and so on, unless it has a name. Of nodes that
    /// turn out to be of different clusters, those of the first one's count.
    pub fn node(mut self, node: impl Into<NodeConfig<DB>>) -> Self {
        let number = self.nodes.len() + 1;
        let node = node.into().or_name(|| format!("node-{number}"));
        self.nodes.push((None, node));
        self
    }

    /// A replica. There may be none, and the router is then a pool.
    pub fn replica(mut self, node: impl Into<NodeConfig<DB>>) -> Self {
        self.nodes.push((Some(Role::Replica), node.into()));
        self
    }

    /// Replicas, one after the other.
    pub fn replicas<N: Into<NodeConfig<DB>>>(self, nodes: impl IntoIterator<Item = N>) -> Self {
        nodes.into_iter().fold(self, Self::replica)
    }

    /// The lag beyond which a replica takes no reads, and what is derived from it. 1 s unless set.
    /// See [`Policy::with_max_lag`].
    pub fn max_lag(mut self, max_lag: Duration) -> Self {
        self.policy = self.policy.with_max_lag(max_lag);
        self
    }

    /// How often every node is asked where it stands, and what is counted in polls. 100 ms unless
    /// set. See [`Policy::with_poll_interval`].
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.policy = self.policy.with_poll_interval(interval);
        self
    }

    /// How long a read waits for a replica to have what it needs. 20 ms unless set.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.policy.wait = wait;
        self
    }

    /// Where this process runs: replicas of the same zone are preferred while one of them serves.
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.policy.zone = Some(zone.into());
        self
    }

    /// Changes any other setting of the policy.
    pub fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    /// What a read does when no replica has what it needs. The primary, within its budget, unless
    /// set.
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }

    /// How many reads may fall back to the primary.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// How long a read may take that does not say so itself: see [`ReadOptions::deadline`](crate::ReadOptions::deadline). Unlimited
    /// unless set, but for finding a connection, which always ends.
    pub fn read_deadline(mut self, limit: Duration) -> Self {
        self.read_deadline = Some(limit);
        self
    }

    /// Asks a second replica where the first one's answer is late. Off unless set.
    pub fn hedge(mut self, hedge: Hedge) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// Sends everything to the primary, and tells of each read where it would have gone and how stale it
    /// would have been: how a team tries its replicas before it trusts them. Off unless set.
    ///
    /// Reads are run as if there were no replica: nothing waits, no budget is spent, and no connection
    /// of a replica is taken but the monitor's. Each route holds a [`DryRoute`](crate::DryRoute), and
    /// the metrics count them. A session decides as one that had read where its reads would have gone;
    /// what it tells others in tokens is what it did see.
    ///
    /// What only a replica could have said is not known: that it would have refused a statement, or
    /// would have been slow or gone; nor is it compared what it would have answered.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// How long [`RouterBuilder::connect`] waits for a primary. 10 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Where a statement goes that is run on the router outside of any session. The primary, unless
    /// set.
    pub fn outside_session(mut self, outside: OutsideSession) -> Self {
        self.statements.outside = outside;
        self
    }

    /// What happens to a statement that is bound to a connection and is run on a router or a session.
    /// It is allowed, as on a pool, unless set.
    pub fn bound_statements(mut self, bound: BoundStatements) -> Self {
        self.statements.bound = bound;
        self
    }

    /// What names this function or relation may go to a replica, whatever the catalog says: the
    /// application knows that it only reads. `name` or `schema.name`.
    pub fn reads(mut self, name: &str) -> Self {
        self.names
            .extend(self.statements.overrides.reads(name).err());
        self
    }

    /// What names this function or relation goes to the primary, whatever the catalog says. `name` or
    /// `schema.name`.
    pub fn writes(mut self, name: &str) -> Self {
        self.names
            .extend(self.statements.overrides.writes(name).err());
        self
    }

    /// The keys that sessions leave this process with, as tokens. Without any, they cannot.
    pub fn keys(mut self, keys: Keys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// How often the router looks whether the database's functions, views and tables have changed.
    /// 30 s unless set. It looks at once when a replica has refused a statement as a write.
    pub fn catalog_interval(mut self, interval: Duration) -> Self {
        self.catalog_interval = Some(interval);
        self
    }

    /// Never reads the database's catalog, for a router that only watches its nodes: statements are
    /// judged by what every server has built in, and what names anything else goes to the primary.
    pub fn without_catalog(mut self) -> Self {
        self.catalog_interval = None;
        self
    }

    /// Builds the router, starts its monitor, and waits until a primary accepts writes.
    ///
    /// Replicas may still be on their way into the rotation: see [`Router::ready`].
    ///
    /// # Errors
    /// If a setting cannot be honored, or no primary is found in time.
    ///
    /// # Cancel safety
    /// A dropped call leaves nothing behind.
    pub async fn connect(self) -> Result<Router<DB>, Error> {
        let timeout = self.connect_timeout;
        let router = self.connect_lazy()?;
        match router.ready(0, timeout).await {
            Ok(()) => Ok(router),
            Err(error) => {
                router.close().await;
                Err(error)
            }
        }
    }

    /// Builds the router and starts its monitor, without waiting for any node.
    ///
    /// # Errors
    /// If a setting cannot be honored, or this is not called within a tokio runtime.
    pub fn connect_lazy(self) -> Result<Router<DB>, Error> {
        let now = clock::now();
        let mut faults = self.faults();
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| {
            Error::config(vec![
                "it needs a tokio runtime: call this within one".to_owned(),
            ])
        })?;
        let policy = self
            .policy
            .clone()
            .validate()
            .map_err(|error| faults.push(error.to_string()));
        let nodes = connect_nodes(with_roles(self.nodes), &mut faults);
        let (Ok(policy), Some(first), true) = (policy, nodes.first().cloned(), faults.is_empty())
        else {
            return Err(Error::config(faults));
        };

        let specs = nodes.iter().map(|node| node.spec.clone());
        let machine = Monitor::new(now, policy, specs);
        let published = Arc::new(Published::new(View {
            snapshot: Arc::new(machine.snapshot(now)),
            roster: Roster::new(nodes),
        }));
        let (announcer, events) = Announcer::new();
        let (tasks, ends) = Tasks::new(runtime);
        let statements = Arc::new(Statements::new(self.statements));
        if let Some(interval) = self.catalog_interval {
            let reader = CatalogReader {
                published: Arc::clone(&published),
                statements: Arc::clone(&statements),
                interval,
                mark: None,
            };
            tasks.spawn(reader.run());
        }
        let (capturer, captures) = Capturer::new(Arc::clone(&published));
        tasks.spawn(capturer.run());
        Ok(Router::new(Shared {
            id: RouterId::next(),
            keys: self.keys,
            captures,
            waiting: AtomicU32::new(0),
            statements,
            requests: Requests::default(),
            changing: tokio::sync::Mutex::new(()),
            orders: monitor::start(machine, &published, announcer, &tasks, !self.dry_run),
            purse: Purse::new(now, self.budget, first.pool.options().get_max_connections()),
            fallback: self.fallback,
            read_deadline: self.read_deadline,
            dry: self.dry_run,
            hedges: self.hedge.map(Hedges::new),
            lent: Lent::new(first),
            published,
            events,
            tasks,
            _ends: ends,
        }))
    }

    /// What is wrong with the nodes and the budget, apart from each other.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let primaries = self
            .nodes
            .iter()
            .filter(|(role, _)| *role == Some(Role::Primary))
            .count();
        let to_be_asked = self.nodes.iter().any(|(role, _)| role.is_none());
        if primaries > 1 || (primaries == 0 && !to_be_asked) {
            faults.push(format!(
                "{primaries} nodes are given as primary: call .primary(..) exactly once, or give the \
                 nodes without roles by .node(..)"
            ));
        }
        if self.nodes.len() > MOST_NODES {
            faults.push(format!(
                "{} nodes are given, but at most {MOST_NODES} can be",
                self.nodes.len()
            ));
        }
        let keys = self.keys.as_ref();
        faults.extend(keys.and_then(|keys| short_lived(&self.policy, keys)));
        faults.extend(self.names.iter().map(NameError::to_string));
        let often = self
            .catalog_interval
            .filter(|interval| *interval < Duration::from_secs(1));
        faults.extend(often.map(|interval| {
            format!(
                "catalog_interval is {interval:?}: reading the catalog more often than once a second \
                 would load the primary"
            )
        }));
        faults.extend(self.hedge.iter().flat_map(Hedge::faults));
        if self.read_deadline == Some(Duration::ZERO) {
            faults.push(
                "read_deadline is 0: no read could end in time; leave it out for no deadline"
                    .to_owned(),
            );
        }
        if self.budget.concurrent == Some(0) && self.fallback == Fallback::Primary {
            faults.push(
                "the budget is for 0 reads at once, but the fallback is the primary: set the \
                         fallback to Refuse, Freshest or PrimaryThenFreshest, or allow at least 1"
                    .to_owned(),
            );
        }
        faults
    }
}

/// Where no node was given as primary, the first is heard first; what it is, it says itself.
fn with_roles<DB: Backend>(
    nodes: Vec<(Option<Role>, NodeConfig<DB>)>,
) -> Vec<(Role, NodeConfig<DB>)> {
    let mut has_primary = nodes.iter().any(|(role, _)| *role == Some(Role::Primary));
    let with_role = |(role, node): (Option<Role>, _)| {
        let role = role.unwrap_or(if has_primary {
            Role::Replica
        } else {
            has_primary = true;
            Role::Primary
        });
        (role, node)
    };
    nodes.into_iter().map(with_role).collect()
}

/// Tokens that are not good for as long as a replica may lag: whoever comes back after that would
/// read less than it wrote.
pub(crate) fn short_lived(policy: &Policy, keys: &Keys) -> Option<String> {
    let (setting, lag) = if policy.min_in_rotation > 0 {
        ("lag_ceiling", policy.lag_ceiling)
    } else {
        ("max_lag", policy.max_lag)
    };
    (keys.kept_for() < lag).then(|| {
        format!(
            "the keys' max_age is {:?}, but {setting} lets a replica lag by {lag:?}: whoever came \
             back after that would read less than it wrote; raise the one or lower the other",
            keys.kept_for()
        )
    })
}

/// Far more than any cluster has, and few enough for an id of 16 bits.
pub(crate) const MOST_NODES: usize = 1024;
