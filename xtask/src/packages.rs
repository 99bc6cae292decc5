//! Sees to it that this machine has the programs that a command needs, and installs them if not.
//!
//! What is already here is left alone. We install only where we need not ask: as root, where there
//! is `apt-get`. Anywhere else the person at the terminal is told how. What to look for, and where,
//! is the business of the module that is named after it.

use std::path::{Path, PathBuf};
use std::{env, fmt};

use crate::console;
use crate::failure::Failure;
use crate::invocation::Invocation;

/// Something that a command needs, and how to get it.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// What it is called, at the start of a sentence or in the middle of one.
    pub(crate) name: &'static str,
    /// Debian's packages that hold it.
    pub(crate) packages: &'static [&'static str],
    /// What is looked for, and how to install it by hand.
    pub(crate) how: &'static str,
}

/// Installs packages, with the lists of them brought up to date once.
#[derive(Debug, Default)]
pub(crate) struct Apt {
    updated: Updated,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Updated {
    #[default]
    NotYet,
    Tried,
}

impl Apt {
    /// Returns once the wanted is found, or says why it cannot be had; `prepare` is called before
    /// an installation, and what it returns is dropped after it.
    pub(crate) fn provide<T: fmt::Display, P>(
        &mut self,
        wanted: &'static Wanted,
        find: impl Fn() -> Result<Option<T>, Failure>,
        prepare: impl FnOnce() -> Result<P, Failure>,
    ) -> Result<(), Failure> {
        if find()?.is_some() {
            return Ok(());
        }
        if !may_install() {
            return Err(Failure::Missing(wanted));
        }
        let packages = wanted.packages.join(" ");
        console::say(&format!(
            "no {} found: installing Debian's {packages}",
            wanted.name
        ));
        let installed = prepare().and_then(|_prepared| self.install(wanted.packages));
        installed.map_err(|cause| Failure::StillMissing {
            wanted,
            cause: Some(Box::new(cause)),
        })?;
        let found = find()?.ok_or(Failure::StillMissing {
            wanted,
            cause: None,
        })?;
        console::say(&format!("{}: {found}", wanted.name));
        Ok(())
    }

    fn install(&mut self, packages: &[&str]) -> Result<(), Failure> {
        if self.is_due() {
            // A source of packages that cannot be reached makes this fail, and is seldom the one
            // needed.
            if let Err(failure) = apt_get(&["update"]).run_aside() {
                console::say(&format!(
                    "{failure}; going on with the lists of packages at hand"
                ));
            }
        }
        let words = ["install", "--yes", "--no-install-recommends"].as_slice();
        apt_get(&[words, packages].concat()).run_aside()
    }

    /// Whether the lists of packages are to be brought up to date: yes, once.
    fn is_due(&mut self) -> bool {
        std::mem::replace(&mut self.updated, Updated::Tried) == Updated::NotYet
    }
}

/// The folders in which a shell looks for programs.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .collect()
}

/// Every program of one of these names in these folders, the first name first, each once.
pub(crate) fn programs(names: &[&str], folders: &[PathBuf]) -> Vec<PathBuf> {
    let paths = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let mut found = Vec::new();
    for path in paths.filter(|path| path.is_file()) {
        // Folders are often named twice, and a browser takes a moment to say its version.
        if !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// What a program says of its version.
pub(crate) fn version(program: &Path) -> Option<String> {
    Invocation::new(program, ["--version"]).output()
}

fn may_install() -> bool {
    let apt = !programs(&["apt-get"], &search_path()).is_empty();
    let user = Invocation::new("id", ["-u"]).output();
    apt && user.is_some_and(|id| id.trim() == "0")
}

fn apt_get(arguments: &[&str]) -> Invocation {
    // A machine that has just started is often busy with updates of its own.
    let wait = ["--option=DPkg::Lock::Timeout=120"].as_slice();
    Invocation::new("apt-get", [wait, arguments].concat())
        .with_env("DEBIAN_FRONTEND", "noninteractive")
        // Defaults that were there before the package stay, and nobody is asked about it.
        .with_env("UCF_FORCE_CONFFOLD", "1")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::{Path, PathBuf};
    use std::{env, fs, process};

    use super::{Apt, Wanted, apt_get, programs};
    use crate::failure::Failure;

    /// A folder that goes when its test ends.
    pub(crate) struct Folder(pub(crate) PathBuf);

    impl Folder {
        pub(crate) fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("lagwise-xtask-{}-{name}", process::id()));
            fs::create_dir_all(&path).expect("a temporary folder can be made");
            // Where temporary folders are may itself be a link.
            Self(fs::canonicalize(path).expect("it has a path without links"))
        }

        pub(crate) fn with_programs(name: &str, programs: &[&str]) -> Self {
            let folder = Self::new(name);
            for program in programs {
                fs::write(folder.0.join(program), "").expect("a file can be written in it");
            }
            folder
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    static TEAPOT: Wanted = Wanted {
        name: "teapot",
        packages: &["teapot", "teapot-lid"],
        how: "no teapot found; make one of clay",
    };

    #[test]
    fn what_is_there_is_left_alone() {
        let prepared = || panic!("nothing is to be installed");
        let provided = Apt::default().provide(
            &TEAPOT,
            || Ok(Some("here")),
            || -> Result<(), _> { prepared() },
        );
        assert!(provided.is_ok(), "{provided:?}");
    }

    #[test]
    fn a_setting_that_is_wrong_is_told_before_anything_is_installed() {
        let find = || -> Result<Option<&str>, _> {
            Err(Failure::WrongProgram {
                variable: "LAGWISE_TEAPOT",
                file: PathBuf::from("/nowhere"),
                fault: "it is a coffee pot".to_owned(),
            })
        };
        let failure = Apt::default()
            .provide(&TEAPOT, find, || -> Result<(), _> {
                panic!("nothing is to be installed")
            })
            .expect_err("the setting is wrong");
        assert_eq!(
            failure.to_string(),
            "LAGWISE_TEAPOT is `/nowhere`, and it is a coffee pot: name the program, or unset it \
             to have one looked for"
        );
    }

    #[test]
    fn what_is_still_missing_is_told_with_the_cause_and_the_way_out() {
        let missing = Failure::Missing(&TEAPOT).to_string();
        assert_eq!(missing, TEAPOT.how);
        let unchanged = Failure::StillMissing {
            wanted: &TEAPOT,
            cause: None,
        };
        assert_eq!(
            unchanged.to_string(),
            "apt-get installed `teapot teapot-lid`, and still no teapot that can be used is \
             found\n\nno teapot found; make one of clay"
        );
        let failed = Failure::StillMissing {
            wanted: &TEAPOT,
            cause: Some(Box::new(Failure::NoHost)),
        };
        let start = "the teapot could not be installed: `rustc --print=host-tuple` says nothing";
        assert!(failed.to_string().starts_with(start), "{failed}");
    }

    #[test]
    fn lists_of_packages_are_brought_up_to_date_once() {
        let mut apt = Apt::default();
        assert!(apt.is_due(), "they may be old");
        assert!(!apt.is_due(), "now they are not");
    }

    #[test]
    fn packages_are_installed_without_questions() {
        let line = apt_get(&["install", "--yes", "teapot"]).to_string();
        assert_eq!(
            line,
            "DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 apt-get \
             --option=DPkg::Lock::Timeout=120 install --yes teapot"
        );
    }

    #[test]
    fn the_usual_name_is_found_before_the_usual_folder() {
        let one = Folder::with_programs("names-one", &["late"]);
        let two = Folder::with_programs("names-two", &["late", "early"]);
        let found = programs(
            &["early", "late"],
            &[one.0.clone(), two.0.clone(), one.0.clone()],
        );
        let expected = [two.0.join("early"), one.0.join("late"), two.0.join("late")];
        assert_eq!(found, expected);
        assert!(programs(&["early"], &[Path::new("/nowhere").to_path_buf()]).is_empty());
    }
}
