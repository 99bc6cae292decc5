//! Real PostgreSQL clusters for tests: start, pause, delay, cut, kill and promote.
//!
//! A service that reads from replicas has to be tested against replicas that are late, gone or
//! wrong, and no mock knows how PostgreSQL behaves then. This crate starts a primary and streaming
//! standbys in a temporary folder, in a fraction of a second, and makes every such fault a call.
//! All it needs is an installed PostgreSQL, 14 or newer; no container, no port, no configuration.
//! A Redis server, and a load balancer in front of the nodes, can be had in the same way.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), lagwise_testkit::Error> {
//! use lagwise_testkit::Cluster;
//!
//! let cluster = Cluster::builder().replicas(2).start().await?;
//! let [r1, r2] = cluster.replicas() else { unreachable!() };
//!
//! // A replica that falls behind.
//! r1.pause_replay().await?;
//! cluster.primary().execute("create table t as select 1 as id").await?;
//! assert!(r1.query_scalar::<i32>("select id from t").await.is_err());
//! r1.resume_replay().await?;
//! cluster.wait_caught_up().await?;
//!
//! // A failover, one step for each call.
//! cluster.primary().kill().await?;
//! r1.promote().await?;
//! r2.follow(r1).await?;
//! cluster.primary().rejoin(r1).await?;
//! cluster.wait_streaming().await?;
//! cluster.shutdown().await
//! # }
//! ```
//!
//! # Faults
//!
//! | What happens | Call | Undone by |
//! |---|---|---|
//! | replay stops, the log is still received | [`Node::pause_replay`], [`Node::freeze_replay`] | [`Node::resume_replay`], [`Node::thaw_replay`] |
//! | replay is late by a fixed time | [`Node::set_apply_delay`] | the same with zero |
//! | the stream stops, nothing of it is lost | [`Node::freeze_stream`] | [`Node::thaw_stream`] |
//! | the replica is cut off from its primary | [`Wire::cut`] of [`Node::upstream_wire`] | [`Wire::heal`] |
//! | clients are cut off from a node | [`Wire::cut`] of [`Node::client_wire`] | [`Wire::heal`] |
//! | packets are lost, or late | [`Wire::blackhole`], [`Wire::delay`] | [`Wire::heal`] |
//! | a server hangs | [`Node::freeze`] | [`Node::thaw`] |
//! | a server is down | [`Node::stop`], [`Node::kill`] | [`Node::start`] |
//! | sessions are ended | [`Node::terminate_backends`] | |
//! | another node becomes the primary | [`Node::promote`], [`Node::follow`] | [`Node::rejoin`] |
//! | an old primary comes back with lost rows | [`Node::rejoin_without_rewind`] | [`Node::rejoin`] |
//!
//! # What else a service talks to
//!
//! | What | Start | Faults |
//! |---|---|---|
//! | a Redis, or Valkey, with nothing in it | [`RedisServer::start`] | [`RedisServer::wire`], [`RedisServer::pause`], [`RedisServer::kill`] |
//! | one address for several nodes, which take its connections in turn | [`Balancer::over`] | [`Balancer::wire`] |
//! | a proxy that lends one server's connections to many clients | [`PgBouncer::over`] | |
//! | a proxy that spreads reads over a primary and its replicas | [`Pgpool::over`] | |
//!
//! With the feature `browser`, the page of a service can be looked at in a real browser: `Browser`.
//!
//! # Addresses
//!
//! Servers listen on Unix sockets in their own folders, and nowhere else. [`Node::url`] is the TCP
//! address of a relay in this process, which keeps it over restarts, refuses connections while the
//! server is down, and obeys [`Node::client_wire`]. The kit's own questions, and
//! [`Node::connect`], go past it over the socket. [`RedisServer::url`] is such an address too, and
//! [`Balancer::url`] one that leads on to those of the nodes. The proxies, [`PgBouncer::url`] and
//! [`Pgpool::url`], are there to be measured: they listen on a TCP port of their own, with no relay.
//!
//! # Clusters that someone else counts on
//!
//! | What stays as you say | Call |
//! |---|---|
//! | the names of the nodes | [`Builder::names`] |
//! | the ports of their addresses | [`Builder::ports`] |
//! | the folder | [`Builder::folder`], with [`Cluster::make_folder`] and [`Cluster::remove_leftovers`] |
//! | who has to show a password | [`Builder::hba`] |
//!
//! # Where clusters live, and their end
//!
//! A cluster, like a Redis server or a proxy, is one folder, in memory where the system has a file
//! system for that. It ends, with its servers, when [`Cluster`], [`RedisServer`] or the proxy is
//! dropped or its `shutdown` is awaited; also while panicking, and, by a watchdog process, when the
//! test is interrupted or killed. Only the template that data folders are copied from stays, for the
//! next start. Run by root, servers run as the user `postgres`, else `nobody`.
//!
//! | Variable | Meaning |
//! |---|---|
//! | `LAGWISE_PG_BIN` | the folder of `postgres` and `initdb` to use |
//! | `LAGWISE_REDIS` | the `redis-server` or `valkey-server` to use |
//! | `LAGWISE_TESTKIT_DIR` | where to make folders, instead of `/dev/shm` or the temporary folder |
//! | `LAGWISE_TESTKIT_KEEP=1` | keep the folder of a cluster whose test panics |
//!
//! # Surprises
//!
//! * Deadlines are of real time: a runtime whose clock is paused does not speed servers up.
//! * Clusters share a system identifier unless [`Builder::own_system_identifier`] is called.
//! * Dropping a cluster blocks its thread for some 50 ms; [`Cluster::shutdown`] does not.
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod account;
mod balancer;
#[cfg(feature = "browser")]
mod browser;
mod builder;
mod clock;
mod cluster;
mod error;
mod folder;
mod guarded;
mod installation;
mod node;
mod processes;
mod program;
mod proxy;
mod redis;
mod server;
mod settings;
mod sql;
mod template;
mod wait;
mod watchdog;
mod wire;

pub use balancer::Balancer;
#[cfg(feature = "browser")]
pub use browser::Browser;
pub use builder::Builder;
pub use cluster::Cluster;
pub use error::{Error, Result};
pub use installation::Installation;
pub use node::Node;
pub use proxy::{PgBouncer, Pgpool, Pooling};
pub use redis::RedisServer;
pub use server::Stop;
pub use sql::Scalar;
pub use wire::Wire;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
