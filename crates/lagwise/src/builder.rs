//! Turns nodes and settings into a router, or says everything that is wrong with them.
//!
//! No message repeats a URL: it may hold a password. A node is named by its name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Fallback, Monitor, NameError, NodeId, NodeSpec, Policy, Role, Weight};
use sqlx::Pool;
use sqlx::pool::PoolOptions;
use tokio::sync::Notify;

use crate::backend::Backend;
use crate::backend::sealed::ConnectOptions;
use crate::budget::{Budget, Purse};
use crate::clock;
use crate::error::Error;
use crate::events::Announcer;
use crate::lease::attentive;
use crate::load::Load;
use crate::monitor::{self, CatalogReader, Tasks};
use crate::node::Node;
use crate::publish::Published;
use crate::router::{Router, RouterId, Shared};
use crate::statements::{BoundStatements, OutsideSession, Settings, Statements};

/// One node of a router: where it is, and how it is to be treated.
///
/// A URL or a ready pool is enough; the rest has defaults.
///
/// ```no_run
/// use lagwise::{NodeConfig, PgRouter};
///
/// # async fn example() -> Result<(), lagwise::Error> {
/// let db = PgRouter::builder()
///     .primary("postgres://app@db-1/app")
///     .replica(NodeConfig::url("postgres://app@db-2/app").name("db-2").zone("eu-1a").weight(200))
///     .zone("eu-1a")
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
pub struct NodeConfig<DB: Backend> {
    source: Source<DB>,
    name: Option<String>,
    weight: Weight,
    zone: Option<Arc<str>>,
    pool: Option<PoolOptions<DB>>,
}

enum Source<DB: Backend> {
    Options(Box<ConnectOptions<DB>>),
    Pool(Pool<DB>),
    Url(String),
}

impl<DB: Backend> NodeConfig<DB> {
    /// A node at a URL, in the form that the driver takes.
    #[must_use]
    pub fn url(url: impl Into<String>) -> Self {
        Self::from_source(Source::Url(url.into()))
    }

    /// A node behind a pool that the application has made.
    ///
    /// The pool is used as it is. Because nothing is known of the age of its connections, each lease
    /// of one on a replica costs a round trip more than with a pool that the router makes.
    #[must_use]
    pub fn pool(pool: Pool<DB>) -> Self {
        Self::from_source(Source::Pool(pool))
    }

    /// A node reached by connect options.
    #[must_use]
    pub fn options(options: ConnectOptions<DB>) -> Self {
        Self::from_source(Source::Options(Box::new(options)))
    }

    /// The node's name in events, metrics and messages. `primary`, `replica-1` and so on unless set.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Its share of the reads, relative to other replicas. 100 unless set; 0 serves only while nobody
    /// else can.
    #[must_use]
    pub fn weight(mut self, weight: u16) -> Self {
        self.weight = Weight::new(weight);
        self
    }

    /// Where it stands. See [`RouterBuilder::zone`].
    #[must_use]
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// The settings of its pool. Unless set, those of the driver, with an `acquire_timeout` of 1 s on
    /// replicas and 5 s on the primary. A replica's `before_acquire` and `test_before_acquire` are set by the router.
    #[must_use]
    pub fn pool_options(mut self, options: PoolOptions<DB>) -> Self {
        self.pool = Some(options);
        self
    }

    fn from_source(source: Source<DB>) -> Self {
        Self {
            source,
            name: None,
            weight: Weight::default(),
            zone: None,
            pool: None,
        }
    }
}

impl<DB: Backend> From<&str> for NodeConfig<DB> {
    fn from(url: &str) -> Self {
        Self::url(url)
    }
}

impl<DB: Backend> From<String> for NodeConfig<DB> {
    fn from(url: String) -> Self {
        Self::url(url)
    }
}

impl<DB: Backend> From<Pool<DB>> for NodeConfig<DB> {
    fn from(pool: Pool<DB>) -> Self {
        Self::pool(pool)
    }
}

impl<DB: Backend> fmt::Debug for NodeConfig<DB> {
    /// Leaves out the URL and the pool, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig")
            .field("name", &self.name)
            .field("weight", &self.weight)
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

/// Builds a [`Router`].
///
/// Settings that cannot be honored are refused when the router is built, all of them at once.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is connected"]
pub struct RouterBuilder<DB: Backend> {
    nodes: Vec<(Role, NodeConfig<DB>)>,
    policy: Policy,
    fallback: Fallback,
    budget: Budget,
    connect_timeout: Duration,
    catalog_interval: Duration,
    statements: Settings,
    names: Vec<NameError>,
}

impl<DB: Backend> RouterBuilder<DB> {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            policy: Policy::default(),
            fallback: Fallback::default(),
            budget: Budget::default(),
            connect_timeout: Duration::from_secs(10),
            catalog_interval: Duration::from_secs(30),
            statements: Settings::default(),
            names: Vec::new(),
        }
    }

    /// The node that accepts writes when the router is built. There must be one.
    pub fn primary(mut self, node: impl Into<NodeConfig<DB>>) -> Self {
        self.nodes.push((Role::Primary, node.into()));
        self
    }

    /// A replica. There may be none, and the router is then a pool.
    pub fn replica(mut self, node: impl Into<NodeConfig<DB>>) -> Self {
        self.nodes.push((Role::Replica, node.into()));
        self
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

    /// How often the router looks whether the database's functions, views and tables have changed.
    /// 30 s unless set. It looks at once when a replica has refused a statement as a write.
    pub fn catalog_interval(mut self, interval: Duration) -> Self {
        self.catalog_interval = interval;
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
        let nodes = connect_nodes(self.nodes, &mut faults);
        let (Ok(policy), Some(first), true) = (policy, nodes.first().cloned(), faults.is_empty())
        else {
            return Err(Error::config(faults));
        };

        let specs = nodes.iter().map(|node| node.spec.clone());
        let machine = Monitor::new(now, policy, specs);
        let snapshot = machine.snapshot(now);
        let policy = Arc::clone(&snapshot.policy);
        let published = Arc::new(Published::new(snapshot));
        let (announcer, events) = Announcer::new();
        let (tasks, ends) = Tasks::new(runtime);
        let connections = first.pool.options().get_max_connections();
        let statements = Arc::new(Statements::new(self.statements));
        let refused = Arc::new(Notify::new());
        // Without a replica it makes no difference what a statement does.
        if nodes.len() > 1 {
            let reader = CatalogReader {
                nodes: nodes.clone(),
                published: Arc::clone(&published),
                statements: Arc::clone(&statements),
                refused: Arc::clone(&refused),
                interval: self.catalog_interval,
                mark: None,
            };
            tasks.spawn(reader.run());
        }
        Ok(Router::new(Shared {
            id: RouterId::next(),
            statements,
            refused,
            orders: monitor::start(machine, &nodes, &published, announcer, &tasks),
            purse: Purse::new(now, self.budget, connections),
            fallback: self.fallback,
            nodes,
            first,
            policy,
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
            .filter(|(role, _)| *role == Role::Primary)
            .count();
        if primaries != 1 {
            faults.push(format!(
                "{primaries} nodes are given as primary: call .primary(..) exactly once"
            ));
        }
        if self.nodes.len() > MOST_NODES {
            faults.push(format!(
                "{} nodes are given, but at most {MOST_NODES} can be",
                self.nodes.len()
            ));
        }
        faults.extend(self.names.iter().map(NameError::to_string));
        if self.catalog_interval < Duration::from_secs(1) {
            faults.push(format!(
                "catalog_interval is {:?}: reading the catalog more often than once a second would \
                 load the primary",
                self.catalog_interval
            ));
        }
        if self.budget.concurrent == Some(0) && self.fallback == Fallback::Primary {
            faults.push(
                "the budget is for 0 reads at once, but the fallback is the primary: set the \
                         fallback to Refuse or Freshest, or allow at least 1"
                    .to_owned(),
            );
        }
        faults
    }
}

/// Makes the nodes, in the order of their ids: the primary first.
fn connect_nodes<DB: Backend>(
    mut configs: Vec<(Role, NodeConfig<DB>)>,
    faults: &mut Vec<String>,
) -> Vec<Arc<Node<DB>>> {
    configs.sort_by_key(|(role, _)| *role == Role::Replica);
    let mut nodes: Vec<Arc<Node<DB>>> = Vec::new();
    let mut urls: Vec<(String, String)> = Vec::new();
    for (index, (role, config)) in (0_u16..).zip(configs) {
        let name = config.name.clone().unwrap_or_else(|| match role {
            Role::Replica => format!("replica-{index}"),
            _ => "primary".to_owned(),
        });
        if nodes.iter().any(|node| **node.name() == *name) {
            faults.push(format!(
                "two nodes are named {name:?}: give each a name of its own"
            ));
        }
        if let Source::Url(url) = &config.source {
            match urls.iter().find(|(_, other)| other == url) {
                Some((other, _)) => faults.push(format!(
                    "{name} has the same URL as {other}: give each node once, at its own address"
                )),
                None => urls.push((name.clone(), url.clone())),
            }
        }
        match connect_node(NodeId::new(index), role, &name, config) {
            Ok(node) => nodes.push(Arc::new(node)),
            Err(fault) => faults.push(fault),
        }
    }
    nodes
}

fn connect_node<DB: Backend>(
    id: NodeId,
    role: Role,
    name: &str,
    config: NodeConfig<DB>,
) -> Result<Node<DB>, String> {
    let mut spec = NodeSpec::new(name, role);
    spec.weight = config.weight;
    spec.zone = config.zone;
    let pool_options = pool_options(role, config.pool);
    let (pool, owned) = match config.source {
        Source::Pool(pool) => (pool, false),
        Source::Options(options) => (pool_options.connect_lazy_with(*options), true),
        Source::Url(url) => {
            let options = ConnectOptions::<DB>::from_str(&url)
                .map_err(|error| format!("the URL of {name} is not one: {error}"))?;
            (pool_options.connect_lazy_with(options), true)
        }
    };
    Ok(Node {
        id,
        spec,
        load: Arc::new(Load::new(clock::now())),
        pool,
        owned,
    })
}

/// A replica that does not answer is out by the monitor's word, so reads wait for it only briefly.
/// A write cannot be tried again, so the primary's connections are tested as the driver does.
fn pool_options<DB: Backend>(role: Role, given: Option<PoolOptions<DB>>) -> PoolOptions<DB> {
    match (role, given) {
        (Role::Replica, Some(options)) => attentive(options),
        (Role::Replica, None) => {
            attentive(PoolOptions::new().acquire_timeout(Duration::from_secs(1)))
        }
        (_, Some(options)) => options,
        (_, None) => PoolOptions::new().acquire_timeout(Duration::from_secs(5)),
    }
}

/// Far more than any cluster has, and few enough for an id of 16 bits.
const MOST_NODES: usize = 1024;
