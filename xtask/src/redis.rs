//! Where this machine has a Redis or Valkey server, and how it gets one.
//!
//! Only the program is wanted: the tests start servers of their own, in temporary folders. So the
//! package must not start the service that it usually comes with, which would be somebody's server
//! on a port that somebody may need. Which program a test runs is the test kit's business; we look
//! where it looks.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use crate::failure::Failure;
use crate::packages::{self, Apt, Wanted};

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

/// Asked by Debian's packages whether they may start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

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
    apt.provide(&WANTED, find, || Policy::refuse(Path::new(POLICY)))
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

/// While it lives, the packages of this machine do not start the service of Redis.
#[derive(Debug)]
struct Policy {
    /// Nothing where there is a policy already: it has its own reasons.
    written: Option<PathBuf>,
}

impl Policy {
    fn refuse(file: &Path) -> Result<Self, Failure> {
        if fs::symlink_metadata(file).is_ok() {
            return Ok(Self { written: None });
        }
        let executable = fs::Permissions::from_mode(0o755);
        let policy = Self {
            written: Some(file.to_path_buf()),
        };
        fs::write(file, policy_of(process::id()))
            .and_then(|()| fs::set_permissions(file, executable))
            .map_err(|source| Failure::NotWritten {
                file: file.to_path_buf(),
                source,
            })?;
        Ok(policy)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Some(file) = &self.written {
            // One that stays forbids nothing any more, see below.
            drop(fs::remove_file(file));
        }
    }
}

/// Forbids that one service, and that only while we run: an installation may be interrupted, and
/// a policy that is forgotten must not keep anything from starting.
fn policy_of(process: u32) -> String {
    format!(
        "#!/bin/sh\n\
         # Of `cargo xtask test`, while it installs redis-server: nothing is to listen for it.\n\
         case \"$*\" in *redis-server*) kill -0 {process} 2>/dev/null && exit 101 ;; esac\n\
         exit 0\n"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::{Policy, first, named, policy_of};
    use crate::packages::tests::Folder;

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

    /// What a policy says of starting a service.
    fn verdict(file: &Path, service: &str) -> Option<i32> {
        // By way of the shell: a file that was just written may be busy for a moment.
        let asked = Command::new("sh")
            .arg(file)
            .args([service, "start"])
            .status();
        asked.expect("a policy can be run").code()
    }

    #[test]
    fn a_policy_forbids_one_service_and_goes_when_it_is_done() {
        let folder = Folder::new("policy");
        let file = folder.0.join("policy-rc.d");
        let policy = Policy::refuse(&file).expect("it can be written");
        let mode = fs::metadata(&file)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755, "one that cannot be run is not asked");
        assert_eq!(verdict(&file, "redis-server.service"), Some(101));
        assert_eq!(verdict(&file, "redis-server"), Some(101));
        assert_eq!(verdict(&file, "postgresql.service"), Some(0));
        drop(policy);
        assert!(!file.exists(), "it is gone");
    }

    #[test]
    fn a_policy_that_is_forgotten_forbids_nothing() {
        let folder = Folder::new("forgotten");
        let file = folder.0.join("policy-rc.d");
        let mut ended = Command::new("true").spawn().expect("there is `true`");
        ended.wait().expect("it ends");
        let policy = Policy::refuse(&file).expect("it can be written");
        fs::write(&file, policy_of(ended.id())).expect("it is ours");
        assert_eq!(verdict(&file, "redis-server.service"), Some(0));
        drop(policy);
    }

    #[test]
    fn a_policy_of_the_administrator_is_left_alone() {
        let folder = Folder::with_programs("administrator", &["policy-rc.d"]);
        let file = folder.0.join("policy-rc.d");
        drop(Policy::refuse(&file).expect("nothing is to be done"));
        let kept = fs::read_to_string(&file).expect("it is still there");
        assert_eq!(kept, "");
    }
}
