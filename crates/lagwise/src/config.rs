//! Nodes and settings from a file, from connection strings, and so the same for a service and for
//! whoever watches over it.
//!
//! One TOML file names the nodes and whatever differs from the defaults; a service, the command line
//! and a job read the same one. Everything that is wrong is said at once when the router is built. No
//! message repeats a URL or a line of the file: they may hold passwords. What the settings mean is
//! [`RouterBuilder`]'s and [`Policy`](crate::Policy)'s to say.

mod connection;
mod file;
mod service;
mod settings;

use std::fmt;
use std::path::Path;

use lagwise_core::Role;
use sqlx::Postgres;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;

use self::file::File;
use self::settings::Settings;
use crate::builder::RouterBuilder;
use crate::error::Error;
use crate::node_config::NodeConfig;
use crate::router::Router;

/// The nodes of a router and its settings, before there is a router.
///
/// ```
/// use lagwise::config::Config;
///
/// # fn example() -> Result<(), lagwise::Error> {
/// let config = Config::from_toml(
///     r#"
///     max_lag = "2s"
///     zone = "eu-1a"
///
///     [primary]
///     url = "postgres://app@db-1/shop"
///
///     [[replica]]
///     url = "postgres://app@db-2/shop"
///     name = "db-2"
///     zone = "eu-1a"
///     weight = 200
///
///     [policy]
///     sticky_window = "5s"
///     "#,
/// )?;
/// let names: Vec<&str> = config.nodes().iter().map(|node| node.name()).collect();
/// assert_eq!(names, ["primary", "db-2"]);
/// let builder = config.builder();
/// # drop(builder);
/// # Ok(()) }
/// # example().unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Config {
    nodes: Vec<Node>,
    settings: Settings,
}

/// One node of a [`Config`].
#[derive(Clone)]
pub struct Node {
    name: String,
    role: Option<Role>,
    options: PgConnectOptions,
    weight: Option<u16>,
    zone: Option<String>,
    balanced: bool,
}

impl Config {
    /// Nothing yet: no node, and the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or holds what is no setting.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let within = |fault: String| Error::config(vec![format!("{}: {fault}", path.display())]);
        let text = std::fs::read_to_string(path).map_err(|error| within(error.to_string()))?;
        Self::parse(&text).map_err(within)
    }

    /// Reads what a file would hold.
    ///
    /// # Errors
    /// If it holds what is no setting.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        Self::parse(text).map_err(|fault| Error::config(vec![fault]))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let File {
            url,
            primary,
            replicas,
            settings,
        } = File::parse(text)?;
        let mut config = Self {
            nodes: Vec::new(),
            settings,
        };
        if let Some(url) = url {
            config.push(None, &url, "url")?;
        }
        let replicas = replicas.into_iter().map(|entry| (Role::Replica, entry));
        for (role, entry) in primary
            .map(|entry| (Role::Primary, entry))
            .into_iter()
            .chain(replicas)
        {
            let place = match role {
                Role::Primary => "primary",
                _ => "replica",
            };
            let what = entry.name.as_deref().unwrap_or(place);
            let added = config.push(Some(role), &entry.url, what)?;
            for node in &mut *added {
                node.weight = entry.weight;
                node.zone.clone_from(&entry.zone);
                node.balanced = entry.balanced;
            }
            if let (Some(name), [node]) = (entry.name, added) {
                node.name = name;
            }
        }
        Ok(config)
    }

    /// Adds the servers of a connection string: a URL or `key=value` pairs, of one host or several, as
    /// libpq takes them. Which of them is the primary is found by asking.
    ///
    /// # Errors
    /// If it is none, or wants what cannot be honored.
    pub fn add_hosts(&mut self, connection: &str) -> Result<(), Error> {
        let added = self.push(None, connection, "the connection string");
        added.map(drop).map_err(|fault| Error::config(vec![fault]))
    }

    /// Adds one node of a role, under a name or the usual one: `primary`, `replica-1` and so on.
    ///
    /// # Errors
    /// If the connection string is none, wants what cannot be honored, or names several hosts.
    pub fn add(&mut self, role: Role, name: Option<&str>, connection: &str) -> Result<(), Error> {
        let what = name.unwrap_or(role.as_str());
        let config = |fault: String| Error::config(vec![fault]);
        let added = self.push(Some(role), connection, what).map_err(config)?;
        match (added, name) {
            ([node], Some(name)) => name.clone_into(&mut node.name),
            ([_], None) => {}
            _ => {
                return Err(config(format!(
                    "the address of {what} names several hosts: give each its own, or all of them \
                     as one connection string without roles"
                )));
            }
        }
        Ok(())
    }

    /// The servers of a connection string, under their usual names.
    fn push(&mut self, role: Option<Role>, text: &str, what: &str) -> Result<&mut [Node], String> {
        let targets = connection::targets(text)
            .map_err(|fault| format!("the address of {what} is not one: {fault}"))?;
        let before = self.nodes.len();
        for target in targets {
            let name = match role {
                Some(Role::Primary) => "primary".to_owned(),
                Some(_) => self.free_name(),
                None => target.name,
            };
            self.nodes.push(Node {
                name,
                role,
                options: target.options,
                weight: None,
                zone: None,
                balanced: false,
            });
        }
        Ok(&mut self.nodes[before..])
    }

    fn free_name(&self) -> String {
        let replicas = self
            .nodes
            .iter()
            .filter(|node| node.role == Some(Role::Replica));
        format!("replica-{}", replicas.count() + 1)
    }

    /// The nodes, in the order in which they were given.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How many connections a process opens to each node at most.
    #[must_use]
    pub fn pool_connections(&self) -> u32 {
        let pool = self.settings.pool().unwrap_or_default();
        pool.get_max_connections()
    }

    /// A router of these nodes, with these settings, and whatever else is set on it.
    pub fn builder(&self) -> RouterBuilder<Postgres> {
        let builder = self
            .nodes
            .iter()
            .fold(RouterBuilder::new(), |builder, node| {
                let config = node.config(self.settings.pool());
                match node.role {
                    Some(Role::Primary) => builder.primary(config),
                    Some(_) => builder.replica(config),
                    None => builder.node(config),
                }
            });
        self.settings.apply(builder)
    }
}

impl Node {
    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The role that it was given with; none where it is to be asked for.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        self.role
    }

    /// How to connect to it.
    #[must_use]
    pub const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Whether it is an address of several servers.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.balanced
    }

    fn config(&self, pool: Option<PoolOptions<Postgres>>) -> NodeConfig<Postgres> {
        let mut config = NodeConfig::options(self.options.clone()).name(&self.name);
        if let Some(weight) = self.weight {
            config = config.weight(weight);
        }
        if let Some(zone) = &self.zone {
            config = config.zone(zone.as_str());
        }
        if self.balanced {
            config = config.balanced();
        }
        match pool {
            Some(pool) => config.pool_options(pool),
            None => config,
        }
    }
}

impl fmt::Debug for Node {
    /// Leaves out how to connect, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Router<Postgres> {
    /// Begins to build a router of the nodes and settings that a file names: see [`Config`].
    ///
    /// ```no_run
    /// use lagwise::PgRouter;
    ///
    /// # async fn example() -> Result<(), lagwise::Error> {
    /// let db = PgRouter::from_config("lagwise.toml")?.connect().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, or holds what is no setting.
    pub fn from_config(path: impl AsRef<Path>) -> Result<RouterBuilder<Postgres>, Error> {
        Ok(Config::from_file(path)?.builder())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        max_lag = "2s"
        poll_interval = "50ms"
        fallback = "primary_then_freshest"
        replicas = ["postgres://app@db-2/shop", { url = "postgres://app@db-3/shop", name = "near", weight = 200 }]
        [primary]
        url = "postgres://app:s3cret@db-1/shop"
        [policy]
        sticky_window = "3s"
        primary_loss = "honor_bound"
        [budget]
        concurrent = 3
        [pool]
        max_connections = 7
    "#;

    #[test]
    fn a_file_names_nodes_and_whatever_differs_from_the_defaults() {
        let config = Config::from_toml(WHOLE).expect("it is well");
        let nodes: Vec<_> = config
            .nodes()
            .iter()
            .map(|node| (node.name(), node.role(), node.options().get_host()))
            .collect();
        let (primary, replica) = (Some(Role::Primary), Some(Role::Replica));
        let expected = [
            ("primary", primary, "db-1"),
            ("replica-1", replica, "db-2"),
            ("near", replica, "db-3"),
        ];
        assert_eq!(nodes, expected);
        assert_eq!(config.nodes[2].weight, Some(200));
        assert!(!config.nodes[2].is_balanced());
        assert_eq!(config.pool_connections(), 7);
        assert_eq!(Config::new().pool_connections(), 10, "the default of pools");
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_router_has_the_settings_of_its_file() {
        let config = Config::from_toml(WHOLE).expect("it is well");
        let router = config.builder().connect_lazy().expect("it can be built");
        let snapshot = router.snapshot();
        assert_eq!(snapshot.policy.max_lag.as_millis(), 2000);
        assert_eq!(snapshot.policy.return_lag.as_millis(), 1000, "half of it");
        assert_eq!(snapshot.policy.poll_interval.as_millis(), 50);
        assert_eq!(snapshot.policy.sticky_window.as_secs(), 3);
        let pool: &sqlx::PgPool = &router;
        assert_eq!(pool.options().get_max_connections(), 7);
        router.close().await;
    }

    #[tokio::test]
    async fn a_file_may_leave_the_nodes_to_the_code() {
        let config = Config::from_toml("max_lag = \"3s\"").expect("it is well");
        assert!(config.nodes().is_empty());
        let builder = config.builder().primary("postgres://app@db-1/shop");
        let router = builder.connect_lazy().expect("it can be built");
        assert_eq!(router.snapshot().policy.max_lag.as_secs(), 3);
        router.close().await;
    }

    #[tokio::test]
    async fn several_hosts_have_their_own_names_and_no_roles() {
        let mut config = Config::new();
        config
            .add_hosts("postgres://app@db-1,db-2:5433/shop")
            .expect("it is one");
        let names: Vec<_> = config
            .nodes()
            .iter()
            .map(|node| (node.name(), node.role()))
            .collect();
        assert_eq!(names, [("db-1", None), ("db-2:5433", None)]);
        let router = config
            .builder()
            .connect_lazy()
            .expect("nobody must be named primary");
        router.close().await;
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_never_by_its_text() {
        for (text, part) in [
            ("max_lagg = \"1s\"", "unknown field `max_lagg`"),
            ("max_lag = 5", "such as \"750ms\""),
            ("\nmax_lag = \"5 s3cret\"", "with a unit"),
            ("primary = 5", "a URL, or a table"),
            ("replicas = [\"s3cret\"]", "replica"),
            (
                "[primary]\nurl = \"postgres://app:s3cret@db-1:x/shop\"",
                "port",
            ),
            (
                "[primary]\nurl = \"postgres://a/b\"\nweight = \"s3cret\"",
                "not one that the setting takes",
            ),
            ("[primary]\nname = \"s3cret\"", "missing field `url`"),
            ("[primary]\nurl = \"postgres://app:s3cret@db-1", "line 2"),
            (
                "[policy]\npoll_interval = \"1s\"",
                "unknown field `poll_interval`",
            ),
        ] {
            let refusal = Config::from_toml(text).expect_err(text).to_string();
            assert!(refusal.contains(part), "{text}: {refusal}");
            assert!(!refusal.contains("s3cret"), "{refusal}");
        }
    }
}
