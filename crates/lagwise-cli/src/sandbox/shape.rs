//! What a sandbox shall be like, as its start is told.

use clap::Args;

/// Options of the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(super) struct Shape {
    /// How many replicas stream from the primary: 0 to 9; 2 where nothing is said.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(0..=9))]
    replicas: Option<u8>,
    /// The port of the primary; the replicas have the following ones. Any free ports by default.
    #[arg(long, value_name = "BASE", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// The major version of PostgreSQL; the newest installed one by default.
    #[arg(long, value_name = "MAJOR")]
    pub(super) pg_version: Option<u32>,
    /// A setting of every server, such as `max_connections=50`; may be repeated.
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting)]
    pub(super) settings: Vec<(String, String)>,
}

impl Shape {
    pub(super) fn replicas(&self) -> u8 {
        self.replicas.unwrap_or(2)
    }

    /// Whether the servers count statements, so that the extension that shows them is of use.
    pub(super) fn counts_statements(&self) -> bool {
        let preload = |(name, value): &(String, String)| {
            name == "shared_preload_libraries" && value.contains("pg_stat_statements")
        };
        self.settings.iter().any(preload)
    }
}

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write NAME=VALUE, as in max_connections=50")?;
    let name = name.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err("the name of a setting is made of letters, digits, _ and .");
    }
    if value.contains(['\n', '\r', '\0']) {
        return Err("the value of a setting is one line");
    }
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}
