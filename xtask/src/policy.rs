//! Keeps the packages that are installed for tests from starting services.
//!
//! Tests start the programs that they need, each for itself. The service that a package usually comes
//! with would be somebody's server on a port that somebody may need. Which package is installed is
//! its module's business.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, process};

use crate::failure::Failure;

/// Asked by Debian's packages whether they may start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// While it lives, the packages of this machine do not start one service.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Nothing where there is a policy already: it has its own reasons.
    written: Option<PathBuf>,
}

impl Policy {
    /// Of the service whose name holds this.
    pub(crate) fn refuse(service: &str) -> Result<Self, Failure> {
        Self::refuse_by(Path::new(POLICY), service)
    }

    fn refuse_by(file: &Path, service: &str) -> Result<Self, Failure> {
        if fs::symlink_metadata(file).is_ok() {
            return Ok(Self { written: None });
        }
        let executable = fs::Permissions::from_mode(0o755);
        let policy = Self {
            written: Some(file.to_path_buf()),
        };
        fs::write(file, policy_of(service, process::id()))
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
fn policy_of(service: &str, process: u32) -> String {
    format!(
        "#!/bin/sh\n\
         # Of `cargo xtask test`, while it installs {service}: nothing is to listen for it.\n\
         case \"$*\" in *{service}*) kill -0 {process} 2>/dev/null && exit 101 ;; esac\n\
         exit 0\n"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::Command;

    use super::{Policy, policy_of};
    use crate::packages::tests::Folder;

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
        let policy = Policy::refuse_by(&file, "redis-server").expect("it can be written");
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
        let policy = Policy::refuse_by(&file, "redis-server").expect("it can be written");
        fs::write(&file, policy_of("redis-server", ended.id())).expect("it is ours");
        assert_eq!(verdict(&file, "redis-server.service"), Some(0));
        drop(policy);
    }

    #[test]
    fn a_policy_of_the_administrator_is_left_alone() {
        let folder = Folder::with_programs("administrator", &["policy-rc.d"]);
        let file = folder.0.join("policy-rc.d");
        drop(Policy::refuse_by(&file, "redis-server").expect("nothing is to be done"));
        let kept = fs::read_to_string(&file).expect("it is still there");
        assert_eq!(kept, "");
    }
}
