//! The file: which words stand in it, and what is said of one that does not belong there.
//!
//! What the parser says may quote the file, and the file may hold passwords. So a fault is told by its
//! line, and by the parser's words only where these hold none of it.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::settings::Settings;

/// A whole file.
#[derive(Debug)]
pub(super) struct File {
    /// Several hosts of which it is to be found out who is the primary.
    pub(super) url: Option<String>,
    pub(super) primary: Option<Entry>,
    pub(super) replicas: Vec<Entry>,
    pub(super) settings: Settings,
}

/// The nodes in it. All else is settings.
#[derive(Debug, Deserialize)]
struct Nodes {
    url: Option<String>,
    primary: Option<Entry>,
    #[serde(default, alias = "replicas")]
    replica: Vec<Entry>,
    #[serde(flatten)]
    rest: toml::Table,
}

/// One node: a table, or its URL alone.
pub(super) struct Entry {
    pub(super) url: String,
    pub(super) name: Option<String>,
    pub(super) weight: Option<u16>,
    pub(super) zone: Option<String>,
    pub(super) balanced: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: String,
    name: Option<String>,
    weight: Option<u16>,
    zone: Option<String>,
    #[serde(default)]
    balanced: bool,
}

impl File {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let nodes: Nodes = toml::from_str(text).map_err(|error| fault(text, &error))?;
        let settings = Settings::deserialize(nodes.rest).map_err(|error| fault(text, &error))?;
        Ok(Self {
            url: nodes.url,
            primary: nodes.primary,
            replicas: nodes.replica,
            settings,
        })
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or a table with `url`")
            }

            fn visit_str<E>(self, url: &str) -> Result<Entry, E> {
                Ok(Entry {
                    url: url.to_owned(),
                    name: None,
                    weight: None,
                    zone: None,
                    balanced: false,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Entry {
                    url: table.url,
                    name: table.name,
                    weight: table.weight,
                    zone: table.zone,
                    balanced: table.balanced,
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl fmt::Debug for Entry {
    /// Leaves out the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What is wrong and where, without a word of the file but names of settings.
fn fault(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| {
        let before = text.get(..span.start).unwrap_or_default();
        format!("line {}: ", before.matches('\n').count() + 1)
    });
    let words = error.message().trim();
    let quotes_it = words.contains("string \"") || words.contains("://");
    let words = if quotes_it {
        "this value is not one that the setting takes"
    } else {
        words
    };
    format!("{}{words}", line.unwrap_or_default())
}
