//! The operating system's user that the servers run as.
//!
//! PostgreSQL refuses to run as root, and tests in containers mostly do. So root hands its servers,
//! and their folders, to an unprivileged account, and everyone else runs them as themselves. Which
//! folders there are is not its business.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;

use crate::error::{Error, Result};

/// The accounts root tries, in this order: the servers' own, then the one everyone has.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Who owns the servers and their files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    uid: u32,
    /// The ids to change to, where we are root.
    switch: Option<(u32, u32)>,
}

impl Account {
    /// The account of this process, or for root an unprivileged one.
    pub(crate) fn for_servers() -> Result<Self> {
        let uid = geteuid();
        if !uid.is_root() {
            return Ok(Self {
                uid: uid.as_raw(),
                switch: None,
            });
        }
        let accounts = fs::read_to_string("/etc/passwd")
            .map_err(|error| Error::because("cannot read /etc/passwd", error))?;
        let (uid, gid) = UNPRIVILEGED
            .iter()
            .find_map(|name| ids_of(name, &accounts))
            .ok_or_else(|| {
                Error::new("root cannot run servers, and there is no user postgres or nobody")
            })?;
        Ok(Self {
            uid,
            switch: Some((uid, gid)),
        })
    }

    pub(crate) fn uid(self) -> u32 {
        self.uid
    }

    /// A command that runs as this account, free of this process's PostgreSQL settings.
    pub(crate) fn command(self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            // PGHOST, PGOPTIONS, PGSSLMODE and their like would redirect tools and standbys.
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if let Some((uid, gid)) = self.switch {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes a folder that only this account, and root, may enter.
    pub(crate) fn make_folder(self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)?;
        self.give(path)
    }

    /// Whether this account can work in a folder of its own, which a folder above may forbid.
    pub(crate) fn may_enter(self, folder: &Path) -> bool {
        let Some(_) = self.switch else { return true };
        let mut command = self.command(Path::new("true"), folder);
        command.status().is_ok_and(|status| status.success())
    }

    /// Writes a file whole, so that a server never reads half of it.
    pub(crate) fn write(self, path: &Path, contents: &str) -> io::Result<()> {
        let draft = path.with_extension("draft");
        fs::write(&draft, contents)?;
        self.give(&draft)?;
        fs::rename(&draft, path)
    }

    /// Opens a file for appending, making it where it is missing.
    pub(crate) fn append(self, path: &Path) -> io::Result<fs::File> {
        let file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        self.give(path)?;
        Ok(file)
    }

    fn give(self, path: &Path) -> io::Result<()> {
        match self.switch {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}

/// The user and group ids of `name` in the text of `/etc/passwd`.
fn ids_of(name: &str, accounts: &str) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_whole_name() {
        let accounts = "root:x:0:0::/:\npostgres2:x:7:8::/:\npostgres:x:101:104:,,,:/var:/bin/sh\n";
        assert_eq!(ids_of("postgres", accounts), Some((101, 104)));
        assert_eq!(ids_of("nobody", accounts), None);
    }
}
