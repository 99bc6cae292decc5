//! The folders of clusters.
//!
//! Every cluster has one folder that holds all there is of it, so that removing the folder removes
//! the cluster. It is in memory where the machine has a file system for that, since servers that
//! are thrown away need no disk. Paths are short: the name of a Unix socket has room for about a
//! hundred bytes. Removing the folder is `watchdog`'s business.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::account::Account;
use crate::error::{Error, Result};

/// Where to put clusters, instead of the usual places.
const OWN_CHOICE: &str = "LAGWISE_TESTKIT_DIR";

/// The file system in memory that Linux has.
const IN_MEMORY: &str = "/dev/shm";

/// What the shortest of the systems, macOS, allows the path of a socket, less its final zero.
const LONGEST_SOCKET_PATH: usize = 103;

/// The name of a server's socket in its own folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// The folder that holds the clusters of one account and the templates they are copied from.
pub(crate) fn base(account: Account) -> Result<PathBuf> {
    let own = std::env::var_os(OWN_CHOICE).map(PathBuf::from);
    let candidates = match own {
        Some(folder) => vec![folder],
        None => vec![PathBuf::from(IN_MEMORY), std::env::temp_dir()],
    };
    let mut cause = io::Error::from(io::ErrorKind::NotFound);
    for parent in &candidates {
        match base_within(account, parent) {
            Ok(base) => return Ok(base),
            Err(error) => cause = error,
        }
    }
    Err(Error::because(
        format!("cannot make a folder for clusters in any of {candidates:?}"),
        cause,
    ))
}

/// Makes the folder of one cluster whose nodes have these names, under a name that nobody has.
pub(crate) fn make(account: Account, base: &Path, names: &[String]) -> Result<PathBuf> {
    // A number is used once: a name that is free again may still be on its way out.
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let process = std::process::id();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = base.join(format!("{process}-{number}"));
        match account.make_folder(&folder) {
            Ok(()) => return check_length(folder, names, TOO_LONG),
            // Kept by an earlier process of that id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(Error::because(
                    format!("cannot make {}", folder.display()),
                    error,
                ));
            }
        }
    }
}

/// Makes the folder of one cluster whose nodes have these names, where nothing is yet.
pub(crate) fn make_at(account: Account, path: &Path, names: &[String]) -> Result<PathBuf> {
    let unusable = |error| Error::because(format!("cannot make {}", path.display()), error);
    account.make_folder(path).map_err(unusable)?;
    // Processes are found by the folder they work in, which has no links in its path.
    let folder = path.canonicalize().map_err(unusable)?;
    let folder = check_length(folder, names, "choose a shorter folder")?;
    if account.may_enter(&folder) {
        return Ok(folder);
    }
    drop(fs::remove_dir(&folder));
    Err(Error::new(format!(
        "servers of root run as another user, who cannot reach {}; choose a folder that others may enter",
        folder.display(),
    )))
}

fn base_within(account: Account, parent: &Path) -> io::Result<PathBuf> {
    let base = parent
        .canonicalize()?
        .join(format!("lagwise-{}", account.uid()));
    for folder in [base.clone(), base.join("templates")] {
        match account.make_folder(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    // A folder of that name may be someone else's.
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::symlink_metadata(&base)?);
    if owner == account.uid() {
        Ok(base)
    } else {
        let message = format!("{} belongs to another user", base.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }
}

const TOO_LONG: &str = "set LAGWISE_TESTKIT_DIR to a shorter folder";

fn check_length(cluster: PathBuf, names: &[String], remedy: &str) -> Result<PathBuf> {
    let longest = names.iter().max_by_key(|name| name.len());
    let socket = cluster
        .join(longest.map_or("", String::as_str))
        .join(SOCKET);
    if socket.as_os_str().len() <= LONGEST_SOCKET_PATH {
        return Ok(cluster);
    }
    // Nothing was made but the empty folder; that it stays is no worse than the error.
    drop(fs::remove_dir(&cluster));
    Err(Error::new(format!(
        "the path {} is longer than the {LONGEST_SOCKET_PATH} bytes of a Unix socket; {remedy}",
        socket.display(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_with_the_remedy() {
        let names = ["p".to_owned(), "r100".to_owned()];
        let check = |folder: &str| check_length(PathBuf::from(folder), &names, TOO_LONG);
        let error = check(&"/x".repeat(60)).unwrap_err();
        assert!(error.to_string().contains(OWN_CHOICE), "{error}");
        assert!(check("/dev/shm/lagwise-1000/4194304-1").is_ok());
        let fits = format!(
            "/{}",
            "x".repeat(LONGEST_SOCKET_PATH - "//r100/.s.PGSQL.5432".len())
        );
        assert!(
            check(&fits).is_ok(),
            "the longest name counts, and no byte more"
        );
        assert!(check(&format!("{fits}x")).is_err());
    }
}
