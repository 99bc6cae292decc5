//! What a sandbox shall be like, as its start is told.

use clap::Args;
use lagwise_testkit::Installation;

/// The library, and the extension, that counts statements.
pub(super) const COUNTS: &str = "pg_stat_statements";

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

    /// What servers load when they start: unless that was said, what counts statements, if it is there.
    pub(super) fn preloads(&self, installation: &Installation) -> String {
        let said = self.settings.iter().rev();
        let mut said = said.filter(|(name, _)| name == "shared_preload_libraries");
        if let Some((_, said)) = said.next() {
            return said.clone();
        }
        let libraries = installation.bin().parent().map(|prefix| prefix.join("lib"));
        let files = ["so", "dylib"].map(|kind| format!("{COUNTS}.{kind}"));
        let there = libraries.is_some_and(|lib| files.iter().any(|file| lib.join(file).exists()));
        if there {
            COUNTS.to_owned()
        } else {
            String::new()
        }
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
