//! Where this machine has a Redis or Valkey server, and how it gets one.
//!
//! Only the program is wanted: the tests start servers of their own, in temporary folders. So the
//! package must not start the service that it usually comes with, which would be somebody's server
//! on a port that somebody may need. Which program a test runs is the test kit's business; we look
//! where it looks.

use std::env;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::packages::{self, Apt, Wanted};
use crate::policy::Policy;

const OWN_CHOICE: &str = "LAGWISE_REDIS";

/// What the program is called, the usual name first.
const NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// Where it is besides the search path; the same as the test kit's, which knows nothing of us, as
/// we know nothing of it.
const FOLDERS: [&str; 5] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/home/linuxbrew/.linuxbrew/bin",
];

static WANTED: Wanted = Wanted {
    name: "Redis server",
    packages: &["redis-server"],
    how: "\
no Redis or Valkey server found (redis-server, valkey-server)

install one:
  Debian, Ubuntu   sudo apt-get install --no-install-recommends redis-server
  Fedora, RHEL     sudo dnf install valkey
  Arch             sudo pacman -S valkey
  macOS            brew install redis

or name the program of one that is elsewhere:
  export LAGWISE_REDIS=/path/to/redis-server",
};

/// Returns once there is a server's program, or says why there can be none.
pub(crate) fn ensure(apt: &mut Apt) -> Result<(), Failure> {
    let find = || Ok(find()?.map(|program| program.display().to_string()));
    apt.provide(&WANTED, find, || Policy::refuse("redis-server"))
}

fn find() -> Result<Option<PathBuf>, Failure> {
    if let Some(program) = env::var_os(OWN_CHOICE) {
        return named(PathBuf::from(program), packages::version).map(Some);
    }
    let usual = FOLDERS.map(PathBuf::from);
    let folders = [packages::search_path().as_slice(), &usual].concat();
    Ok(first(
        packages::programs(&NAMES, &folders),
        packages::version,
    ))
}

fn named(program: PathBuf, version: impl Fn(&Path) -> Option<String>) -> Result<PathBuf, Failure> {
    match inspect(&program, version) {
        Ok(()) => Ok(program),
        Err(fault) => Err(Failure::WrongProgram {
            variable: OWN_CHOICE,
            file: program,
            fault,
        }),
    }
}

fn first(programs: Vec<PathBuf>, version: impl Fn(&Path) -> Option<String>) -> Option<PathBuf> {
    let mut programs = programs.into_iter();
    programs.find(|program| inspect(program, &version).is_ok())
}

/// Why a program is not a server: one says `Redis server v=7.0.15 ..`, `Valkey server v=8.0.1 ..`.
fn inspect(program: &Path, version: impl Fn(&Path) -> Option<String>) -> Result<(), String> {
    match version(program) {
        Some(text) if text.contains(" server v=") => Ok(()),
        Some(text) => Err(format!(
            "its `--version` says `{}`",
            text.lines().next().unwrap_or_default()
        )),
        None => Err("its `--version` fails".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{first, named};

    #[test]
    fn a_server_is_known_by_what_it_says_of_its_version() {
        let says = |path: &Path| match path.to_str()? {
            "/stub" => Some("run `snap install redis`\n".to_owned()),
            "/redis" => Some("Redis server v=7.0.15 sha=0 bits=64\n".to_owned()),
            "/valkey" => Some("Valkey server v=8.0.1 sha=0 bits=64\n".to_owned()),
            _ => None,
        };
        let of = |paths: &[&str]| first(paths.iter().map(PathBuf::from).collect(), says);
        assert_eq!(of(&["/none", "/stub", "/redis"]), Some("/redis".into()));
        assert_eq!(of(&["/valkey", "/redis"]), Some("/valkey".into()));
        assert_eq!(of(&["/none", "/stub"]), None);
        let failure = named("/stub".into(), says).expect_err("it is no server");
        assert_eq!(
            failure.to_string(),
            "LAGWISE_REDIS is `/stub`, and its `--version` says `run `snap install redis``: name \
             the program, or unset it to have one looked for"
        );
    }
}
