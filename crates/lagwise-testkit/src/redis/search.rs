//! Finds the program of a Redis server on this machine.
//!
//! Redis and Valkey are one server under two names as far as a test can see, so either will do. A
//! machine without any is an error that says what to install: a test that passes for want of a
//! server proves nothing. Installing anything is not its business.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// The program to use before all others.
const OWN_CHOICE: &str = "LAGWISE_REDIS";

/// What the program is called, the usual name first.
const NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// Where it is besides the search path, which services often lack parts of.
const FOLDERS: [&str; 5] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/home/linuxbrew/.linuxbrew/bin",
];

/// The program in `LAGWISE_REDIS`, else the first one of this machine.
pub(super) fn find() -> Result<PathBuf> {
    match env::var_os(OWN_CHOICE).map(PathBuf::from) {
        Some(program) => chosen(program),
        None => first(&folders()),
    }
}

/// The program that the environment names; to take another one silently would test what nobody
/// asked for.
fn chosen(program: PathBuf) -> Result<PathBuf> {
    if is_server(&program) {
        return Ok(program);
    }
    Err(Error::new(format!(
        "{OWN_CHOICE} is {}, which is not the program of a Redis or Valkey server",
        program.display(),
    )))
}

fn first(folders: &[PathBuf]) -> Result<PathBuf> {
    let programs = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    programs
        .into_iter()
        .find(|program| is_server(program))
        .ok_or_else(|| {
            Error::new(format!(
                "no {} was found in PATH, {}; install one (Debian and Ubuntu: `apt-get install \
                 redis-server`, macOS: `brew install redis`) or set {OWN_CHOICE} to the server's \
                 program",
                NAMES.join(" or "),
                FOLDERS.join(", "),
            ))
        })
}

fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let searched = env::split_paths(&path).filter(|folder| folder.is_absolute());
    searched.chain(FOLDERS.map(PathBuf::from)).collect()
}

/// Whether the program says that it is one: `Redis server v=7.0.15 ..`, `Valkey server v=8.0.1 ..`.
///
/// It is called by the name it has: Debian's is a link to a program that goes by its name.
fn is_server(program: &Path) -> bool {
    let said = Command::new(program).arg("--version").output();
    said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(" server v="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_told_with_what_was_searched_and_what_to_install() {
        let message = first(&[PathBuf::from("/nowhere")]).unwrap_err().to_string();
        for part in [
            "no redis-server or valkey-server was found in PATH, /usr/bin",
            "apt-get install redis-server",
            OWN_CHOICE,
        ] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
    }

    #[test]
    fn a_chosen_program_that_is_no_server_is_refused_by_its_path() {
        for program in ["/nowhere/redis-server", "/bin/sh"] {
            let message = chosen(PathBuf::from(program)).unwrap_err().to_string();
            let start = format!("LAGWISE_REDIS is {program}, which is not");
            assert!(message.starts_with(&start), "{message}");
        }
    }

    #[test]
    fn the_program_that_is_found_may_be_chosen() {
        let found = find().unwrap();
        assert_eq!(chosen(found.clone()).unwrap(), found);
    }
}
