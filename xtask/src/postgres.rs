//! Where this machine has the programs of a PostgreSQL server, and how it gets them.
//!
//! Only the programs are wanted: the tests and the demo start servers of their own, in temporary
//! folders. So the package must neither create nor start the cluster that it usually comes with.
//! Which server a test runs on is the test kit's business; we look where it looks.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::{env, fmt, fs};

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::packages::{self, Apt, Wanted};

/// From the oldest that is maintained to the newest we know of.
const SUPPORTED: RangeInclusive<u32> = 14..=19;

/// To create a cluster, run it, stop it, copy a primary, and return one that was deposed.
const PROGRAMS: [&str; 5] = ["initdb", "postgres", "pg_ctl", "pg_basebackup", "pg_rewind"];

/// Read by Debian's packages when a server is installed.
const CLUSTER_DEFAULTS: &str = "/etc/postgresql-common/createcluster.conf";

/// Folders that hold one folder for each version, and where the programs are within that; the
/// same as the test kit's, which knows nothing of us, as we know nothing of it.
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

static WANTED: Wanted = Wanted {
    name: "PostgreSQL server",
    packages: &["postgresql"],
    how: "\
no PostgreSQL server found (14 to 19: initdb, postgres, pg_ctl, pg_rewind, pg_basebackup)

install one:
  Debian, Ubuntu   sudo apt-get install postgresql
  Fedora, RHEL     sudo dnf install postgresql-server
  Arch             sudo pacman -S postgresql
  macOS            brew install postgresql@17

or name the folder of one that is elsewhere:
  export LAGWISE_PG_BIN=/path/to/postgresql/bin",
};

#[derive(Debug, PartialEq, Eq)]
struct Server {
    folder: PathBuf,
    major: u32,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.major, self.folder.display())
    }
}

/// Returns once there is a server, or says why there can be none.
pub(crate) fn ensure(apt: &mut Apt) -> Result<(), Failure> {
    let prepare = || refuse_a_cluster(Path::new(CLUSTER_DEFAULTS));
    apt.provide(&WANTED, find, prepare)
}

fn find() -> Result<Option<Server>, Failure> {
    match env::var_os("LAGWISE_PG_BIN") {
        Some(folder) => named(PathBuf::from(folder), version).map(Some),
        None => Ok(newest(candidates(), version)),
    }
}

/// The server in a folder, or what is wrong with it.
fn named(folder: PathBuf, version: impl Fn(&Path) -> Option<String>) -> Result<Server, Failure> {
    // What is on the search path is often a link into the folder that holds all the programs.
    let linked = fs::canonicalize(folder.join("postgres")).ok();
    let whole = linked
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(&folder)
        .to_path_buf();
    match inspect(&whole, version) {
        Ok(major) => Ok(Server {
            folder: whole,
            major,
        }),
        Err(fault) => Err(Failure::WrongFolder { folder, fault }),
    }
}

fn newest(
    folders: impl IntoIterator<Item = PathBuf>,
    version: impl Fn(&Path) -> Option<String>,
) -> Option<Server> {
    let server = |folder| named(folder, &version).ok();
    folders
        .into_iter()
        .filter_map(server)
        .max_by_key(|server| server.major)
}

/// The major version of the server in a folder, or why it cannot be used.
fn inspect(folder: &Path, version: impl Fn(&Path) -> Option<String>) -> Result<u32, String> {
    if let Some(missing) = PROGRAMS.iter().find(|name| !folder.join(name).is_file()) {
        return Err(format!("there is no `{missing}` in it"));
    }
    let text = version(folder).ok_or_else(|| "its `postgres --version` fails".to_owned())?;
    match major(&text) {
        Some(major) if SUPPORTED.contains(&major) => Ok(major),
        Some(major) => {
            let (oldest, newest) = (SUPPORTED.start(), SUPPORTED.end());
            Err(format!(
                "its server is version {major}, not one of {oldest} to {newest}"
            ))
        }
        None => Err(format!("its `postgres --version` says `{}`", text.trim())),
    }
}

fn version(folder: &Path) -> Option<String> {
    packages::version(&folder.join("postgres"))
}

/// The number in `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`; also in `18beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(2)?;
    number
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for (parent, prefix, within) in VERSIONED {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(prefix.as_bytes())
            {
                folders.push(entry.path().join(within));
            }
        }
    }
    folders.extend(SINGLE.map(PathBuf::from));
    folders.extend(packages::search_path());
    let configured = Invocation::new("pg_config", ["--bindir"]).output();
    folders.extend(configured.map(|folder| PathBuf::from(folder.trim())));
    folders
}

/// Keeps the package from creating a cluster; a file that is already there has its own reasons.
fn refuse_a_cluster(defaults: &Path) -> Result<(), Failure> {
    if defaults.exists() {
        return Ok(());
    }
    let folder = defaults.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| fs::write(defaults, "create_main_cluster = false\n"))
        .map_err(|source| Failure::NotWritten {
            file: defaults.to_path_buf(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use super::{PROGRAMS, inspect, major, named, newest, refuse_a_cluster};
    use crate::packages::tests::Folder;

    fn at(version: &'static str) -> impl Fn(&Path) -> Option<String> {
        move |_| Some(format!("postgres (PostgreSQL) {version}\n"))
    }

    #[test]
    fn a_major_version_is_read_from_every_form_of_it() {
        assert_eq!(
            major("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("postgres (PostgreSQL) 19devel"), Some(19));
        assert_eq!(major("postgres: command not found"), None);
        assert_eq!(major(""), None);
    }

    #[test]
    fn a_folder_is_a_server_only_with_every_program() {
        let whole = Folder::with_programs("whole", &PROGRAMS);
        assert_eq!(inspect(&whole.0, at("15.13")), Ok(15));
        for missing in PROGRAMS {
            let others: Vec<&str> = PROGRAMS
                .into_iter()
                .filter(|name| *name != missing)
                .collect();
            let folder = Folder::with_programs(missing, &others);
            let fault = inspect(&folder.0, at("15.13")).expect_err("a program is missing");
            assert_eq!(fault, format!("there is no `{missing}` in it"));
        }
    }

    #[test]
    fn a_version_out_of_range_is_refused_by_its_number() {
        let folder = Folder::with_programs("old", &PROGRAMS);
        let fault = inspect(&folder.0, at("13.21")).expect_err("13 is too old");
        assert_eq!(fault, "its server is version 13, not one of 14 to 19");
        let fault = inspect(&folder.0, |_| None).expect_err("nothing answers");
        assert_eq!(fault, "its `postgres --version` fails");
    }

    #[test]
    fn the_newest_of_several_servers_is_found() {
        let old = Folder::with_programs("v-15", &PROGRAMS);
        let new = Folder::with_programs("v-17", &PROGRAMS);
        let versions = |folder: &Path| {
            let number = if folder.ends_with(new.0.file_name()?) {
                17
            } else {
                15
            };
            Some(format!("postgres (PostgreSQL) {number}.1"))
        };
        let folders = [new.0.clone(), old.0.clone(), PathBuf::from("/nowhere")];
        let found = newest(folders, versions).expect("there are two");
        assert_eq!((found.major, &found.folder), (17, &new.0));
        assert_eq!(newest([PathBuf::from("/nowhere")], at("17.1")), None);
    }

    #[test]
    fn a_link_leads_to_the_folder_of_all_programs() {
        let whole = Folder::with_programs("linked", &PROGRAMS);
        let links = Folder::new("links");
        let link = links.0.join("postgres");
        symlink(whole.0.join("postgres"), link).expect("a link can be made");
        let server = named(links.0.clone(), at("15.13")).expect("the link is followed");
        assert_eq!(server.folder, whole.0);
    }

    #[test]
    fn a_named_folder_without_a_server_is_refused_with_the_way_out() {
        let failure = named(PathBuf::from("/nowhere"), at("15.13")).expect_err("it is empty");
        assert_eq!(
            failure.to_string(),
            "LAGWISE_PG_BIN is `/nowhere`, and there is no `initdb` in it: name the folder that \
             holds the server's programs, or unset it to have them looked for"
        );
    }

    #[test]
    fn defaults_of_the_administrator_are_left_alone() {
        let folder = Folder::new("defaults");
        let file = folder.0.join("etc/createcluster.conf");
        refuse_a_cluster(&file).expect("the file can be written");
        let written = fs::read_to_string(&file).expect("it was written");
        assert_eq!(written, "create_main_cluster = false\n");
        fs::write(&file, "start_conf = 'manual'\n").expect("it can be changed");
        refuse_a_cluster(&file).expect("nothing is to be done");
        let kept = fs::read_to_string(&file).expect("it is still there");
        assert_eq!(kept, "start_conf = 'manual'\n");
    }
}
