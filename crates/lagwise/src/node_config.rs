//! One node as the application describes it, and how that becomes a node of the router.
//!
//! No message repeats a URL: it may hold a password. A node is named by its name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{NodeId, NodeSpec, Role, Weight};
use sqlx::Pool;
use sqlx::pool::PoolOptions;

use crate::backend::Backend;
use crate::backend::sealed::ConnectOptions;
use crate::lease::attentive;
use crate::node::{Address, Keeps, Node, Way};
use crate::tenure::Tenure;
use crate::view::Roster;

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
    balanced: bool,
    pool: Option<PoolOptions<DB>>,
    keep_warm: Option<bool>,
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
    /// of one costs a round trip more than with a pool that the router makes.
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

    /// Gives it a name if it has none.
    pub(crate) fn or_name(mut self, name: impl FnOnce() -> String) -> Self {
        self.name.get_or_insert_with(name);
        self
    }

    /// Its share of the reads, relative to other replicas. 100 unless set; 0 serves only while nobody
    /// else can.
    #[must_use]
    pub fn weight(mut self, weight: u16) -> Self {
        self.weight = Weight::new(weight);
        self
    }

    /// Where it stands. See [`RouterBuilder::zone`](crate::RouterBuilder::zone).
    #[must_use]
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// This address leads to one of several servers, another one with each connection: a load
    /// balancer, a name with several addresses, the reader endpoint of a managed service.
    ///
    /// What one connection shows is proved of no other, so nothing is proved of such a node, and its
    /// [`Route`](crate::Route) says so. A read that states a bound ([`Within`](crate::Within)) is
    /// never served there. A session's reads are, once
    /// [`sticky_window`](crate::Policy::sticky_window) has passed since it last wrote, read, or came
    /// in with a token. That is a guess: it holds as long as no server behind the address is
    /// further behind than the window. Since it counts reads as well, reads that belong together are
    /// best made on one connection: [`Session::read`](crate::Session::read), or a read-only
    /// transaction. Whether the node takes reads at all is what the monitor's own connection to it
    /// shows.
    ///
    /// Where the servers have addresses of their own, name those instead: then everything is proved.
    #[must_use]
    pub const fn balanced(mut self) -> Self {
        self.balanced = true;
        self
    }

    /// The settings of its pool. Unless set, those of the driver, with an `acquire_timeout` of 1 s on
    /// replicas and 5 s on the primary. Their `before_acquire` and `min_connections`,
    /// and a replica's `test_before_acquire`, are set by the router: what each connection needs belongs into
    /// `after_connect`.
    #[must_use]
    pub fn pool_options(mut self, options: PoolOptions<DB>) -> Self {
        self.pool = Some(options);
        self
    }

    /// Whether its connections are kept at hand for a moment when they are given back, a quarter of a
    /// second at most, rather than tested by their pool on the way out and on the way in: that is two
    /// round trips for each statement less.
    ///
    /// Unless set, they are, where the router makes the pool. With
    /// [`pool_options`](Self::pool_options), which may hold an `after_release` of yours, that is so after
    /// statements that the router knows to be reads, which set nothing; what wrote, or what a handle or a
    /// closure of yours had, is given back at once. With a [`pool`](Self::pool) of yours, whose hooks nobody can see, nothing is kept.
    /// `true` keeps after every use, and `false` after none.
    ///
    /// What is kept has just been answered on, by a server that the monitor knows to be well. Should it
    /// be gone all the same, a read is run elsewhere. A write fails as one does whose connection breaks
    /// ([`may_have_been_applied`](crate::may_have_been_applied)); so for a write, a connection that has been silent for
    /// longer than 10 ms is tested first, where its pool tests its own.
    #[must_use]
    pub const fn keep_warm(mut self, keep: bool) -> Self {
        self.keep_warm = Some(keep);
        self
    }

    fn from_source(source: Source<DB>) -> Self {
        Self {
            source,
            name: None,
            weight: Weight::default(),
            zone: None,
            balanced: false,
            pool: None,
            keep_warm: None,
        }
    }

    /// What hooks the application's own pools and options bring, nobody can see.
    const fn keeps(&self) -> Keeps {
        match (self.keep_warm, &self.source, &self.pool) {
            (Some(false), ..) | (None, Source::Pool(_), _) => Keeps::Nothing,
            (None, _, Some(_)) => Keeps::AfterReads,
            (Some(true), ..) | (None, _, None) => Keeps::AfterAll,
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

impl<DB: Backend> From<&String> for NodeConfig<DB> {
    fn from(url: &String) -> Self {
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
            .field("balanced", &self.balanced)
            .finish_non_exhaustive()
    }
}

/// Makes the nodes, in the order of their ids: the primary first.
pub(crate) fn connect_nodes<DB: Backend>(
    mut configs: Vec<(Role, NodeConfig<DB>)>,
    faults: &mut Vec<String>,
) -> Vec<Arc<Node<DB>>> {
    configs.sort_by_key(|(role, _)| *role == Role::Replica);
    let mut nodes: Vec<Arc<Node<DB>>> = Vec::new();
    for (index, (role, config)) in (0_u16..).zip(configs) {
        let name = config.name.clone().unwrap_or_else(|| match role {
            Role::Replica => format!("replica-{index}"),
            _ => "primary".to_owned(),
        });
        match connect_node(NodeId::new(index), role, &name, config) {
            Ok(node) => {
                faults.extend(clashes(&node, nodes.iter()));
                nodes.push(Arc::new(node));
            }
            Err(fault) => faults.push(fault),
        }
    }
    nodes
}

/// Makes a replica that joins others. Its id is the monitor's to give.
pub(crate) fn connect_replica<DB: Backend>(
    config: NodeConfig<DB>,
    roster: &Roster<DB>,
) -> Result<Node<DB>, Vec<String>> {
    let name = config.name.clone().unwrap_or_else(|| {
        let mut names = (1_u32..).map(|number| format!("replica-{number}"));
        let free = names.find(|name| roster.named(name).is_none());
        free.unwrap_or_default()
    });
    let node = connect_node(NodeId::new(0), Role::Replica, &name, config);
    let node = node.map_err(|fault| vec![fault])?;
    let faults: Vec<String> = clashes(&node, roster.iter()).collect();
    if faults.is_empty() {
        Ok(node)
    } else {
        Err(faults)
    }
}

/// What a node has in common with others that it must not.
fn clashes<'a, DB: Backend>(
    node: &Node<DB>,
    mut others: impl Iterator<Item = &'a Arc<Node<DB>>> + Clone,
) -> impl Iterator<Item = String> {
    let name = node.name();
    let named = others.clone().any(|other| other.name() == name);
    let named = named.then(|| format!("two nodes are named {name:?}: give each a name of its own"));
    let there = others.find(|other| other.address.is(&node.address));
    let there = there.map(|other| {
        let other = other.name();
        format!("{name} has the same URL as {other}: give each node once, at its own address")
    });
    named.into_iter().chain(there)
}

fn connect_node<DB: Backend>(
    id: NodeId,
    role: Role,
    name: &str,
    config: NodeConfig<DB>,
) -> Result<Node<DB>, String> {
    let keeps = config.keeps();
    let mut spec = NodeSpec::new(name, role);
    spec.weight = config.weight;
    spec.zone = config.zone;
    spec.balanced = config.balanced;
    if spec.balanced && role == Role::Primary {
        return Err(format!(
            "{name} is the primary, and balanced: writes, and what is proved of the replicas, need one \
             server, so give the primary's own address"
        ));
    }
    let tenure = Arc::default();
    let pool_options = pool_options(role, config.pool, &tenure);
    let address = Address::new(match &config.source {
        Source::Url(url) => Some(url.clone()),
        Source::Options(_) | Source::Pool(_) => None,
    });
    let (pool, owned) = match config.source {
        Source::Pool(pool) => (pool, false),
        Source::Options(options) => (pool_options.connect_lazy_with(*options), true),
        Source::Url(url) => {
            let options = ConnectOptions::<DB>::from_str(&url)
                .map_err(|error| format!("the URL of {name} is not one: {error}"))?;
            (pool_options.connect_lazy_with(options), true)
        }
    };
    let way = Way {
        pool,
        owned,
        address,
        tenure,
        keeps,
    };
    Ok(Node::new(id, spec, way))
}

/// A replica that does not answer is out by the monitor's word, so reads wait for it only briefly.
/// A write cannot be tried again, so the primary's connections are tested as the driver does.
fn pool_options<DB: Backend>(
    role: Role,
    given: Option<PoolOptions<DB>>,
    tenure: &Arc<Tenure>,
) -> PoolOptions<DB> {
    let seconds = if role == Role::Replica { 1 } else { 5 };
    let patient = || PoolOptions::new().acquire_timeout(Duration::from_secs(seconds));
    attentive(given.unwrap_or_else(patient), role, tenure)
}
