//! What a sandbox answers: how all its nodes stand after what was asked, or why it was not done.
//!
//! The start and every command answer in one shape, so a script that reads one reads all.

use serde::{Deserialize, Serialize};

use super::standing::{Role, Standing};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// What was done, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) said: String,
    #[serde(default)]
    pub(super) dir: String,
    /// The node that was last made the primary, running or not.
    #[serde(default)]
    pub(super) primary: String,
    #[serde(default)]
    pub(super) nodes: Vec<Standing>,
    #[serde(default)]
    pub(super) env: Environment,
}

impl Answer {
    /// One line.
    pub(super) fn as_json(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// What an application reads from its environment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Environment {
    #[serde(rename = "LAGWISE_PRIMARY")]
    primary: String,
    /// With commas in between; empty where there are none.
    #[serde(rename = "LAGWISE_REPLICAS")]
    replicas: String,
    #[serde(rename = "DATABASE_URL")]
    database: String,
}

impl Environment {
    /// The primary is the one named; all others are replicas but those that are primaries themselves.
    pub(super) fn of(nodes: &[Standing], primary: &str) -> Self {
        let url = |node: &Standing| node.url.clone();
        let found = nodes.iter().find(|node| node.name == primary).map(url);
        let found = found.unwrap_or_default();
        let others = nodes
            .iter()
            .filter(|node| node.name != primary && node.role != Some(Role::Primary));
        Self {
            replicas: others.map(url).collect::<Vec<_>>().join(","),
            database: found.clone(),
            primary: found,
        }
    }

    /// Lines for a shell; nothing in an address has a meaning there.
    pub(super) fn as_shell(&self) -> String {
        let replicas = match self.replicas.as_str() {
            "" => "unset LAGWISE_REPLICAS".to_owned(),
            replicas => format!("export LAGWISE_REPLICAS={replicas}"),
        };
        format!(
            "export LAGWISE_PRIMARY={}\n{replicas}\nexport DATABASE_URL={}\n",
            self.primary, self.database
        )
    }
}
