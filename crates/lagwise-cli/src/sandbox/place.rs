//! The folder of a sandbox: where it is, whose it is, and that nothing stays in it.
//!
//! One folder holds a lock, a socket and the servers, and by it the terminals of a user find each
//! other. Removing a folder that someone named is dangerous, so only one that is missing, empty, or was
//! a sandbox's is taken; whether its sandbox still runs, the lock says, which the system lets go of
//! however a process ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use lagwise_testkit::Cluster;

use crate::failure::Failure;

use super::stage::told;

const LOCK: &str = "sandbox.lock";
const SOCKET: &str = "control.sock";
const NODES: &str = "nodes";

/// The folder that was named, or else that of all terminals of this user.
pub(super) fn chosen(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let dir = named.unwrap_or_else(usual);
    std::path::absolute(&dir).map_err(|error| unusable(&dir, &error))
}

fn usual() -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    std::env::temp_dir().join(format!("lagwise-sandbox-{uid}"))
}

/// The option by which another terminal finds a folder, as one types it; none for the usual one.
pub(super) fn option(dir: &Path) -> String {
    if usual().canonicalize().is_ok_and(|usual| usual == dir) {
        return String::new();
    }
    let dir = dir.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-".contains(letter);
    if dir.chars().all(plain) {
        return format!(" --dir {dir}");
    }
    format!(" --dir '{}'", dir.replace('\'', r"'\''"))
}

/// The socket of the sandbox in a folder.
pub(super) fn socket(dir: &Path) -> PathBuf {
    dir.join(SOCKET)
}

/// A folder that is ours until it is given back.
#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
    /// Held, it tells others that the sandbox runs.
    _lock: File,
}

impl Place {
    /// Takes a folder, and removes what a sandbox left there that was killed.
    pub(super) async fn take(dir: &Path) -> Result<Self, Failure> {
        make_or_recognize(dir)?;
        let dir = dir.canonicalize().map_err(|error| unusable(dir, &error))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(LOCK))
            .map_err(|error| unusable(&dir, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(&dir)),
            Err(TryLockError::Error(error)) => return Err(unusable(&dir, &error)),
        }
        let place = Self { dir, _lock: lock };
        place.remove_leftovers().await?;
        Ok(place)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the servers shall be.
    pub(super) fn nodes(&self) -> PathBuf {
        self.dir.join(NODES)
    }

    /// Gives the folder back, which then is gone, once no server is in it.
    pub(super) async fn give_back(self) -> Result<(), Failure> {
        self.remove_leftovers().await?;
        let failed = |error: io::Error| unusable(&self.dir, &error);
        fs::remove_file(self.dir.join(LOCK)).map_err(failed)?;
        fs::remove_dir(&self.dir).map_err(failed)
    }

    async fn remove_leftovers(&self) -> Result<(), Failure> {
        let removed = Cluster::remove_leftovers(&self.nodes()).await;
        removed.map_err(|error| Failure::Sandbox(told(&error)))?;
        let failed = |error: io::Error| unusable(&self.dir, &error);
        for name in entries(&self.dir).map_err(failed)? {
            let path = self.dir.join(&name);
            let gone = match name.as_str() {
                LOCK => Ok(()),
                SOCKET => fs::remove_file(&path),
                // What a watchdog was about to remove.
                _ => fs::remove_dir_all(&path),
            };
            match gone {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Refuses a folder with anything in it that no sandbox has made.
fn make_or_recognize(dir: &Path) -> Result<(), Failure> {
    let names = match entries(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(unusable(dir, &error)),
    };
    if let Some(foreign) = foreign(&names) {
        return Err(Failure::Sandbox(format!(
            "{} holds {foreign}, which no sandbox has made, and a sandbox removes its folder when it ends; \
             name a folder with --dir that is empty or does not exist",
            dir.display(),
        )));
    }
    if !names.is_empty() {
        return Ok(());
    }
    // Made anew, an empty one belongs to whom the servers run as.
    match fs::remove_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(dir, &error)),
        _ => {}
    }
    Cluster::make_folder(dir).map_err(|error| Failure::Sandbox(told(&error)))
}

/// What no sandbox has left; without a lock, a sandbox has left nothing.
fn foreign(names: &[String]) -> Option<&String> {
    let left = names.iter().any(|name| name == LOCK);
    names.iter().find(|name| !left || !is_ours(name))
}

fn is_ours(name: &str) -> bool {
    let renamed = |rest: &str| {
        let number = rest.strip_prefix('.');
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let nodes = |rest: &str| rest.is_empty() || renamed(rest);
    [LOCK, SOCKET].contains(&name) || name.strip_prefix(NODES).is_some_and(nodes)
}

fn entries(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = fs::read_dir(dir)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn in_use(dir: &Path) -> Failure {
    Failure::Sandbox(format!(
        "a sandbox runs in {} already; end it with Ctrl-C in its terminal, or name another folder with --dir",
        dir.display(),
    ))
}

fn unusable(dir: &Path, error: &io::Error) -> Failure {
    Failure::Sandbox(format!(
        "the folder {} cannot be used: {error}; name another one with --dir",
        dir.display(),
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{is_ours, option};

    #[test]
    fn a_folder_can_be_pasted_into_a_shell() {
        assert_eq!(option(Path::new("/tmp/a-1")), " --dir /tmp/a-1");
        assert_eq!(option(Path::new("/tmp/a b'c")), r" --dir '/tmp/a b'\''c'");
    }

    #[test]
    fn only_what_a_sandbox_makes_is_ours() {
        for name in ["sandbox.lock", "control.sock", "nodes", "nodes.4711"] {
            assert!(is_ours(name), "{name}");
        }
        for name in ["nodes.old", "nodes2", "notes", "sandbox.lock~", ""] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
