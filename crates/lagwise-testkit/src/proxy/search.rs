//! Finds the program of a proxy on this machine.
//!
//! Packages put proxies where only root looks for programs. A machine without one is an error that says
//! what to install. Installing anything is not its business.

use std::env;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// Where it is besides the search path.
const FOLDERS: [&str; 4] = [
    "/usr/sbin",
    "/usr/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
];

/// The first program of this name; where there is none, the error names Debian's package.
pub(super) fn find(name: &str, package: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let searched = env::split_paths(&path).filter(|folder| folder.is_absolute());
    let mut programs = searched
        .chain(FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name));
    programs.find(|program| program.is_file()).ok_or_else(|| {
        Error::new(format!(
            "no {name} was found in PATH, {}; install it (Debian and Ubuntu: `apt-get install \
             --no-install-recommends {package}`)",
            FOLDERS.join(", "),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_proxy_is_told_with_what_was_searched_and_what_to_install() {
        let message = find("no-such-proxy", "a-package").unwrap_err().to_string();
        let start = "no no-such-proxy was found in PATH, /usr/sbin, ";
        assert!(message.starts_with(start), "{message}");
        assert!(
            message.contains("--no-install-recommends a-package`"),
            "{message}"
        );
    }
}
