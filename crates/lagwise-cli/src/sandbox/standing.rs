//! How one node stands: what it is, where it is reached, what ails it, and how far it has come.
//!
//! A server is asked over its own socket, past every cut, and not for long: of one that is down or
//! hangs, what only it could say is unknown.

use std::time::Duration;

use lagwise_testkit::Node;
use serde::{Deserialize, Serialize};

/// A server that runs answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The role of applications, its password, and its database.
pub(super) const APP: &str = "app";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) name: String,
    pub(super) role: Option<Role>,
    pub(super) running: bool,
    /// The address for applications.
    pub(super) url: String,
    /// The same as the superuser.
    pub(super) admin_url: String,
    /// The node that it was last told to follow.
    pub(super) follows: Option<String>,
    pub(super) streaming: Option<bool>,
    pub(super) faults: Faults,
    pub(super) timeline: Option<u32>,
    /// Of a replica.
    pub(super) replay_lsn: Option<String>,
    /// Of a primary.
    pub(super) write_lsn: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    Primary,
    Replica,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}

/// The faults in force.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Faults {
    /// Replay is paused; unknown of a node that does not answer.
    pub(super) paused: Option<bool>,
    pub(super) delay_ms: Option<u64>,
    /// The stream from the node that it follows is cut.
    pub(super) cut: bool,
    pub(super) clients_cut: bool,
    pub(super) frozen: bool,
}

impl Standing {
    /// Looks at a node; `frozen` is what only the sandbox knows of it, and `upstream` is the node that
    /// it follows, if that can be asked.
    pub(super) async fn of(node: &Node, frozen: bool, upstream: Option<&Node>) -> Self {
        let running = node.is_running();
        let mut answer = if running && !frozen {
            ask(node).await.unwrap_or_default()
        } else {
            Told::default()
        };
        if let (Some(true), Some(upstream)) = (answer.streaming, upstream) {
            // A receiver says so already when it only begins to ask, and may be refused.
            let streams = tokio::time::timeout(PATIENCE, node.streams_from(upstream)).await;
            answer.streaming = streams.ok().and_then(Result::ok);
        }
        let address = node.client_wire().address();
        Self {
            name: node.name().to_owned(),
            role: answer.role,
            running,
            url: format!("postgres://{APP}:{APP}@{address}/{APP}"),
            admin_url: format!("postgres://postgres@{address}/{APP}"),
            follows: node.follows(),
            streaming: answer.streaming,
            faults: Faults {
                paused: answer.paused,
                delay_ms: answer.delay_ms,
                cut: node.upstream_wire().is_cut(),
                clients_cut: node.client_wire().is_cut(),
                frozen,
            },
            timeline: answer.timeline,
            replay_lsn: answer.replay_lsn,
            write_lsn: answer.write_lsn,
        }
    }
}

/// What a server says of itself.
#[derive(Debug, Default, Deserialize)]
struct Told {
    role: Option<Role>,
    paused: Option<bool>,
    delay_ms: Option<u64>,
    streaming: Option<bool>,
    timeline: Option<u32>,
    replay_lsn: Option<String>,
    write_lsn: Option<String>,
}

/// A replica knows its timeline by what it receives, or else by what it has last made durable.
const QUESTION: &str = "
    select case when replica then json_build_object(
        'role', 'replica',
        'paused', pg_get_wal_replay_pause_state() <> 'not paused',
        'delay_ms', (select setting::bigint from pg_settings where name = 'recovery_min_apply_delay'),
        'streaming', exists (select from pg_stat_wal_receiver where status = 'streaming'),
        'timeline', greatest(
            (select received_tli from pg_stat_wal_receiver),
            (select timeline_id from pg_control_checkpoint()),
            (select min_recovery_end_timeline from pg_control_recovery())),
        'replay_lsn', pg_last_wal_replay_lsn())
    else json_build_object(
        'role', 'primary',
        'timeline', ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int,
        'write_lsn', pg_current_wal_lsn())
    end::text
    from pg_is_in_recovery() replica";

async fn ask(node: &Node) -> Option<Told> {
    let answer = tokio::time::timeout(PATIENCE, node.query_scalar::<String>(QUESTION)).await;
    serde_json::from_str(&answer.ok()?.ok()?).ok()
}
