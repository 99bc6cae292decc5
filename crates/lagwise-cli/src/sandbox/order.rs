//! What a running sandbox can be told, on the command line and, as JSON, over its socket.

use std::time::Duration;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::format::duration;

/// Longer than this nobody waits, and PostgreSQL takes little more.
const LONGEST_DELAY: Duration = Duration::from_hours(24);

#[derive(Clone, Debug, PartialEq, Eq, Subcommand, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub(super) enum Order {
    /// Shows each node: its role, its address, the faults in force, and how far it has come.
    Status,
    /// Prints the lines that tell a shell where the primary and the replicas are now.
    Env,
    /// Has a replica replay each commit only so long after it was made; 0 ends that.
    Delay {
        /// The replica.
        node: String,
        /// How long: 2s, 750ms, 1m; 0 for no delay.
        #[arg(value_name = "DURATION", value_parser = milliseconds)]
        by: u64,
    },
    /// Pauses replay on a replica; it receives as before.
    Pause {
        /// The replica.
        node: String,
    },
    /// Resumes replay that was paused.
    Resume {
        /// The replica.
        node: String,
    },
    /// Cuts a replica off from the node it follows, or clients off from a node.
    Cut {
        /// The node.
        node: String,
        /// Cuts the connections of clients instead of the replica's stream.
        #[arg(long)]
        #[serde(default)]
        clients: bool,
    },
    /// Ends every cut of a node, and waits until it streams again.
    Heal {
        /// The node.
        node: String,
    },
    /// Has a server hang: it keeps its connections and answers nothing.
    Freeze {
        /// The node.
        node: String,
    },
    /// Lets a server go on that hangs.
    Thaw {
        /// The node.
        node: String,
    },
    /// Kills all processes of a server at once, as a crash does.
    Kill {
        /// The node.
        node: String,
    },
    /// Starts a server that is down; one that lost its role comes back as a replica, rewound.
    Start {
        /// The node.
        node: String,
        /// Has an old primary come back as it was: as a second primary.
        #[arg(long)]
        #[serde(default)]
        as_primary: bool,
        /// Has an old primary come back as a replica with rows that no other node has: diverged.
        #[arg(long, conflicts_with = "as_primary")]
        #[serde(default)]
        no_rewind: bool,
    },
    /// Makes a replica the primary; while the old one runs, in order, and the old one follows it then.
    Promote {
        /// The replica.
        node: String,
        /// Leaves the old primary as it is: if it runs, both accept writes.
        #[arg(long)]
        #[serde(default)]
        leave_primary: bool,
        /// Has the other replicas go on following the old primary.
        #[arg(long)]
        #[serde(default)]
        no_follow: bool,
    },
}

/// A delay in milliseconds, as PostgreSQL counts it.
fn milliseconds(text: &str) -> Result<u64, String> {
    let delay = duration(text)?;
    if delay > LONGEST_DELAY {
        return Err("the longest delay is 24h".to_owned());
    }
    u64::try_from(delay.as_millis()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn a_delay_is_read_with_its_unit() {
        for (text, expected) in [
            ("2s", 2_000),
            ("750ms", 750),
            ("1m", 60_000),
            ("1min", 60_000),
            ("24h", 86_400_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
        for text in ["", "2", "s", "-1s", "25h", "99999999999999999999s", "2d"] {
            assert!(milliseconds(text).is_err(), "{text}");
        }
    }
}
