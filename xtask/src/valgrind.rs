//! Where this machine has Valgrind, which counts instructions, and how it gets it.
//!
//! Counts of instructions are the same on a busy machine. One that cannot have it can still measure
//! time, so that it is missing is told and fails nothing.

use crate::console;
use crate::failure::Failure;
use crate::packages::{self, Apt, Wanted};

static WANTED: Wanted = Wanted {
    name: "Valgrind",
    packages: &["valgrind"],
    how: "\
no Valgrind found (valgrind), which counts instructions

install it:
  Debian, Ubuntu   sudo apt-get install --no-install-recommends valgrind
  Fedora, RHEL     sudo dnf install valgrind
  Arch             sudo pacman -S valgrind",
};

/// Whether there is one in the end; if not, how to get it has been told.
pub(crate) fn ensure(apt: &mut Apt) -> bool {
    // It starts no service.
    told(&apt.provide(&WANTED, || Ok(find()), || Ok(())))
}

/// The first program of that name that says that it is one: a package may leave the name behind.
fn find() -> Option<String> {
    let programs = packages::programs(&["valgrind"], &packages::search_path());
    let mut versions = programs.iter().map(|program| packages::version(program));
    versions.find_map(known)
}

/// It says `valgrind-3.19.0`.
fn known(version: Option<String>) -> Option<String> {
    let line = version?.lines().next()?.to_owned();
    line.starts_with("valgrind-").then_some(line)
}

fn told(provided: &Result<(), Failure>) -> bool {
    if let Err(failure) = provided {
        console::say(&format!(
            "{failure}\n\ngoing on without it: no instructions are counted\n"
        ));
    }
    provided.is_ok()
}

#[cfg(test)]
mod tests {
    use super::{WANTED, known, told};
    use crate::failure::Failure;

    #[test]
    fn it_is_known_by_what_it_says_of_its_version() {
        let says = |text: &str| known(Some(text.to_owned()));
        assert_eq!(says("valgrind-3.19.0\n"), Some("valgrind-3.19.0".into()));
        assert_eq!(says("run `apt install valgrind`"), None);
        assert_eq!(says(""), None);
        assert_eq!(known(None), None);
    }

    #[test]
    fn that_it_is_missing_fails_nothing() {
        assert!(told(&Ok(())));
        assert!(!told(&Err(Failure::Missing(&WANTED))));
    }
}
