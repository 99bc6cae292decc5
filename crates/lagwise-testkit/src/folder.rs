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

/// The longest path below a cluster's folder that names a socket: that of its hundredth replica.
const SOCKET_IN_CLUSTER: &str = "r100/.s.PGSQL.5432";

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

/// Makes the folder of one cluster.
pub(crate) fn make(account: Account, base: &Path) -> Result<PathBuf> {
    // A number is used once: a name that is free again may still be on its way out.
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let process = std::process::id();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = base.join(format!("{process}-{number}"));
        match account.make_folder(&folder) {
            Ok(()) => return check_length(folder),
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

fn check_length(cluster: PathBuf) -> Result<PathBuf> {
    let socket = cluster.join(SOCKET_IN_CLUSTER);
    if socket.as_os_str().len() <= LONGEST_SOCKET_PATH {
        return Ok(cluster);
    }
    // Nothing was made but the empty folder; that it stays is no worse than the error.
    drop(fs::remove_dir(&cluster));
    Err(Error::new(format!(
        "the path {} is too long for a Unix socket; set {OWN_CHOICE} to a shorter folder",
        socket.display(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_with_the_remedy() {
        let error = check_length(PathBuf::from("/x".repeat(60))).unwrap_err();
        assert!(error.to_string().contains(OWN_CHOICE), "{error}");
        assert!(check_length(PathBuf::from("/dev/shm/lagwise-1000/4194304-1")).is_ok());
    }
}
