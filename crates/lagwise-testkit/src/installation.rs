//! Finds the PostgreSQL programs on this machine.
//!
//! Packages put them in folders that are not on the search path, several versions side by side, so
//! all the usual places are looked at, and the newest wins unless a version is asked for. A machine
//! without any is an error that says what to install: a test that passes for want of a server
//! proves nothing. Installing anything is not its business.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::error::{Error, Result};

/// The folder of programs to use before all others.
const OWN_CHOICE: &str = "LAGWISE_PG_BIN";

/// Folders that hold one folder for each version, and the path of the programs within that.
const VERSIONED: [(&str, &str, &str); 8] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/usr/lib64", "postgresql", "bin"),
];

/// Folders that hold programs of one version.
const SINGLE: [&str; 3] = ["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"];

/// What a cluster needs; a folder that lacks one of these holds a client's installation.
const PROGRAMS: [&str; 2] = ["postgres", "initdb"];

/// The oldest version that knows the functions the kit calls.
const OLDEST: u32 = 14;

/// One PostgreSQL on this machine: its programs and their version.
///
/// ```
/// use lagwise_testkit::Installation;
///
/// let newest = Installation::find()?;
/// assert!(newest.version() >= 14);
/// assert!(newest.bin().join("postgres").exists());
/// # Ok::<(), lagwise_testkit::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Installation {
    bin: PathBuf,
    version: u32,
    release: String,
}

impl Installation {
    /// The installation in the folder `LAGWISE_PG_BIN`, else the newest one on this machine.
    ///
    /// # Errors
    ///
    /// Where there is none, the error names the places searched and the command to install one.
    pub fn find() -> Result<Self> {
        if let Some(chosen) = Self::chosen()? {
            return Ok(chosen);
        }
        let newest = Self::all()
            .values()
            .max_by_key(|installation| installation.version);
        newest.cloned().ok_or_else(|| {
            Error::new(format!(
                "no PostgreSQL {OLDEST} or newer was found in {}; install one (Debian and Ubuntu: \
                 `apt-get install postgresql`, macOS: `brew install postgresql@17`) or set \
                 {OWN_CHOICE} to the folder of `postgres` and `initdb`",
                searched(),
            ))
        })
    }

    /// The installation of one major version, such as 17; the one in `LAGWISE_PG_BIN` first.
    ///
    /// # Errors
    ///
    /// Where there is none, the error names the versions there are, the places searched, and the
    /// command to install it.
    pub fn find_version(major: u32) -> Result<Self> {
        let chosen = Self::chosen()?;
        let mut all = chosen.iter().chain(Self::all().values());
        let found = all.find(|installation| installation.version == major);
        found.cloned().ok_or_else(|| {
            let others: BTreeSet<_> = Self::all().values().map(|other| other.version).collect();
            Error::new(format!(
                "no PostgreSQL {major} was found in {} (versions found: {others:?}); install it \
                 (Debian and Ubuntu: `apt-get install postgresql-{major}`, macOS: `brew install \
                 postgresql@{major}`) or set {OWN_CHOICE} to its folder of programs",
                searched(),
            ))
        })
    }

    /// The folder of the programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The major version, such as 17.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The whole version as the server names it, such as `17.5 (Debian 17.5-1)`.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The installation that the environment names, if it names one.
    fn chosen() -> Result<Option<Self>> {
        let Some(bin) = std::env::var_os(OWN_CHOICE).map(PathBuf::from) else {
            return Ok(None);
        };
        match Self::in_folder(&bin) {
            Some(chosen) => Ok(Some(chosen)),
            // To take another one silently would test what nobody asked for.
            None => Err(Error::new(format!(
                "{OWN_CHOICE} is {}, which holds no PostgreSQL {OLDEST} or newer with `postgres` \
                 and `initdb`",
                bin.display(),
            ))),
        }
    }

    /// Every usable installation, by folder; looked for once in the life of the process.
    fn all() -> &'static BTreeMap<PathBuf, Self> {
        static ALL: OnceLock<BTreeMap<PathBuf, Installation>> = OnceLock::new();
        ALL.get_or_init(|| {
            let installations = candidates()
                .into_iter()
                .filter_map(|bin| Self::in_folder(&bin));
            installations
                .map(|found| (found.bin.clone(), found))
                .collect()
        })
    }

    fn in_folder(bin: &Path) -> Option<Self> {
        // The programs on the search path are often links to the folder that holds them all.
        let server = fs::canonicalize(bin.join("postgres")).ok()?;
        let bin = server.parent()?.to_owned();
        if !PROGRAMS.iter().all(|program| bin.join(program).is_file()) {
            return None;
        }
        let output = Command::new(server).arg("--version").output().ok()?;
        let release = parse_release(&String::from_utf8_lossy(&output.stdout))?;
        let version = parse_major(&release)?;
        (version >= OLDEST).then_some(Self {
            bin,
            version,
            release,
        })
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for (parent, prefix, rest) in VERSIONED {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let versions = entries.filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(prefix.as_bytes())
        });
        folders.extend(versions.map(|entry| entry.path().join(rest)));
    }
    folders.extend(SINGLE.map(PathBuf::from));
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(
            String::from_utf8_lossy(&output.stdout).trim(),
        ));
    }
    if let Some(path) = std::env::var_os("PATH") {
        folders.extend(std::env::split_paths(&path));
    }
    folders
}

fn searched() -> String {
    let versioned = VERSIONED.iter().map(|(parent, prefix, rest)| {
        let path = format!("{parent}/{prefix}*/{rest}");
        path.trim_end_matches('/').to_owned()
    });
    let single = SINGLE.iter().map(|&folder| folder.to_owned());
    let asked = ["`pg_config --bindir`".to_owned(), "PATH".to_owned()];
    let own = std::iter::once(format!("${OWN_CHOICE}"));
    own.chain(versioned)
        .chain(single)
        .chain(asked)
        .collect::<Vec<_>>()
        .join(", ")
}

/// `postgres (PostgreSQL) 17.5 (Debian 17.5-1)` without the program's and the product's names.
fn parse_release(output: &str) -> Option<String> {
    let (_, release) = output.trim().split_once("(PostgreSQL) ")?;
    Some(release.to_owned())
}

/// The digits before the point, or before the letters of a version not released yet.
fn parse_major(release: &str) -> Option<u32> {
    release
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_and_versions_not_released_yet_have_a_major_version() {
        let outputs = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", 15),
            ("postgres (PostgreSQL) 19rc1\n", 19),
            ("postgres (PostgreSQL) 18devel\n", 18),
        ];
        for (output, major) in outputs {
            let release = parse_release(output).unwrap();
            assert_eq!(parse_major(&release), Some(major), "{output}");
        }
        assert_eq!(parse_release("mysqld 8"), None);
    }

    #[test]
    fn a_missing_version_is_told_with_what_was_searched_and_what_to_install() {
        let message = Installation::find_version(7).unwrap_err().to_string();
        for part in [
            "no PostgreSQL 7 was found",
            "/usr/lib/postgresql",
            "PATH",
            "apt-get install",
        ] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
    }
}
