//! Where this machine has the proxies that lagwise is measured beside, and how it gets them.
//!
//! Only the programs are wanted: the yardstick starts proxies of its own, in temporary folders, and looks
//! for them where we look. A machine that cannot have them can still measure everything else, so that
//! one is missing is told and fails nothing.

use std::path::PathBuf;

use crate::console;
use crate::failure::Failure;
use crate::packages::{self, Apt, Wanted};
use crate::policy::Policy;

/// Where they are besides the search path, which often lacks what only root is thought to need; the same
/// as the test kit's, which knows nothing of us, as we know nothing of it.
const FOLDERS: [&str; 4] = [
    "/usr/sbin",
    "/usr/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
];

/// A proxy: its program, and the service of its package.
struct Proxy {
    program: &'static str,
    service: &'static str,
    wanted: &'static Wanted,
}

const PROXIES: [Proxy; 2] = [
    Proxy {
        program: "pgbouncer",
        service: "pgbouncer",
        wanted: &PGBOUNCER,
    },
    Proxy {
        program: "pgpool",
        service: "pgpool2",
        wanted: &PGPOOL,
    },
];

static PGBOUNCER: Wanted = Wanted {
    name: "PgBouncer",
    packages: &["pgbouncer"],
    how: "\
no PgBouncer found (pgbouncer)

install it:
  Debian, Ubuntu   sudo apt-get install --no-install-recommends pgbouncer
  Fedora, RHEL     sudo dnf install pgbouncer
  Arch             sudo pacman -S pgbouncer
  macOS            brew install pgbouncer",
};

static PGPOOL: Wanted = Wanted {
    name: "Pgpool-II",
    packages: &["pgpool2"],
    how: "\
no Pgpool-II found (pgpool)

install it:
  Debian, Ubuntu   sudo apt-get install --no-install-recommends pgpool2
  macOS            brew install pgpool-ii",
};

/// Whether every proxy is there in the end; which one is not, and how to get it, has been told.
pub(crate) fn ensure(apt: &mut Apt) -> bool {
    let folders: Vec<PathBuf> = FOLDERS.map(PathBuf::from).into();
    let folders = [packages::search_path(), folders].concat();
    let provided = PROXIES.map(|proxy| {
        let find = || Ok(find(proxy.program, &folders));
        apt.provide(proxy.wanted, find, || Policy::refuse(proxy.service))
    });
    told(provided)
}

fn find(program: &str, folders: &[PathBuf]) -> Option<String> {
    let programs = packages::programs(&[program], folders);
    Some(programs.first()?.display().to_string())
}

/// Says what is missing, and whether nothing is.
fn told(provided: impl IntoIterator<Item = Result<(), Failure>>) -> bool {
    let failures = provided.into_iter().filter_map(Result::err);
    let missing = failures.map(|failure| {
        console::say(&format!(
            "{failure}\n\ngoing on without it: nothing is measured beside it\n"
        ));
    });
    missing.count() == 0
}

#[cfg(test)]
mod tests {
    use super::{PGBOUNCER, PGPOOL, PROXIES, find, told};
    use crate::failure::Failure;
    use crate::packages::tests::Folder;

    #[test]
    fn a_proxy_is_found_by_the_name_of_its_program() {
        let folder = Folder::with_programs("proxies", &["pgpool", "pgpool_setup"]);
        let empty = Folder::new("no-proxies");
        let folders = [empty.0.clone(), folder.0.clone()];
        let found = folder.0.join("pgpool").display().to_string();
        assert_eq!(find("pgpool", &folders), Some(found));
        assert_eq!(find("pgbouncer", &folders), None);
    }

    #[test]
    fn a_proxy_that_is_missing_fails_nothing() {
        assert!(told([Ok(()), Ok(())]));
        assert!(!told([Ok(()), Err(Failure::Missing(&PGPOOL))]));
        assert!(!told([Err(Failure::Missing(&PGBOUNCER)), Ok(())]));
    }

    #[test]
    fn what_is_told_of_a_proxy_names_the_package_that_is_installed() {
        for proxy in PROXIES {
            let how = Failure::Missing(proxy.wanted).to_string();
            for package in proxy.wanted.packages {
                assert!(how.contains(&format!("recommends {package}\n")), "{how}");
                assert_eq!(*package, proxy.service, "Debian's service has its name");
            }
            assert!(how.contains(&format!("({})", proxy.program)), "{how}");
        }
    }
}
