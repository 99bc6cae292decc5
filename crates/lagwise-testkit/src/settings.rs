//! The configuration of a node.
//!
//! One file holds all of it and is written anew whenever a setting changes, so that what a node is
//! configured to do is never spread over files, and survives a rewind, which brings the other
//! node's files with it. When a change takes effect is the server's business.

use std::collections::BTreeMap;
use std::path::Path;

/// What every node starts from. The kit needs some of it; the rest makes tests fast or quiet.
const BASE: [(&str, &str); 25] = [
    // Only a Unix socket: no port can be taken, and every TCP connection passes a wire.
    ("listen_addresses", ""),
    ("port", "5432"),
    // The data is thrown away.
    ("fsync", "off"),
    ("shared_buffers", "16MB"),
    // Dynamic shared memory goes where the data is, and so vanishes with it.
    ("dynamic_shared_memory_type", "mmap"),
    ("shared_memory_type", "mmap"),
    // What the server writes unasked moves its position under a test's feet.
    ("autovacuum", "off"),
    ("checkpoint_timeout", "1h"),
    ("max_wal_size", "1GB"),
    ("min_wal_size", "80MB"),
    ("bgwriter_lru_maxpages", "0"),
    // Without it, or checksums, there is no rewinding.
    ("wal_log_hints", "on"),
    ("wal_level", "replica"),
    ("wal_keep_size", "512MB"),
    ("max_wal_senders", "20"),
    ("max_replication_slots", "20"),
    ("max_connections", "200"),
    ("hot_standby", "on"),
    // The pause between attempts to connect; the default of 5 s is most of what a test waits for.
    ("wal_retrieve_retry_interval", "100ms"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_line_prefix", "%m [%p] %b: "),
    ("log_timezone", "UTC"),
    ("timezone", "UTC"),
    ("lc_messages", "C"),
];

/// The settings of one node, last word first to be heard.
#[derive(Clone, Debug)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(crate) fn new() -> Self {
        Self(
            BASE.iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// What makes a node itself: its name and where its socket is.
    pub(crate) fn identify(&mut self, name: &str, socket_folder: &Path) {
        self.set("cluster_name", name);
        self.set("unix_socket_directories", socket_folder.to_string_lossy());
    }

    /// The text of `postgresql.conf`.
    pub(crate) fn render(&self) -> String {
        let quoted = |value: &str| value.replace('\'', "''");
        let lines = self
            .0
            .iter()
            .map(|(name, value)| format!("{name} = '{}'\n", quoted(value)));
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_setting_counts_and_quotes_are_doubled() {
        let mut settings = Settings::new();
        settings.set("fsync", "on");
        settings.set("search_path", "'a'");
        let text = settings.render();
        assert!(text.contains("fsync = 'on'\n"), "{text}");
        assert!(!text.contains("fsync = 'off'"), "{text}");
        assert!(text.contains("search_path = '''a'''\n"), "{text}");
    }
}
