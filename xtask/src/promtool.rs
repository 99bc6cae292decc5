//! Where this machine has `promtool`, which reads rules and figures as Prometheus does.
//!
//! It comes with Prometheus' own server, which nobody here wants to run: only the program is used.
//! Which program a test runs is the test's business; we look where it looks.

use std::env;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::packages::{self, Apt, Wanted};
use crate::policy::Policy;

const OWN_CHOICE: &str = "LAGWISE_PROMTOOL";

static WANTED: Wanted = Wanted {
    name: "promtool",
    packages: &["prometheus"],
    how: "\
no promtool found, which checks alert rules and metrics as Prometheus does

install it:
  Debian, Ubuntu   sudo apt-get install --no-install-recommends prometheus
  Arch             sudo pacman -S prometheus
  macOS            brew install prometheus

or name the program of one that is elsewhere:
  export LAGWISE_PROMTOOL=/path/to/promtool",
};

/// Returns once there is the program, or says why there can be none.
pub(crate) fn ensure(apt: &mut Apt) -> Result<(), Failure> {
    let find = || Ok(find()?.map(|program| program.display().to_string()));
    apt.provide(&WANTED, find, || Policy::refuse("prometheus"))
}

fn find() -> Result<Option<PathBuf>, Failure> {
    if let Some(program) = env::var_os(OWN_CHOICE).map(PathBuf::from) {
        return named(program, packages::version).map(Some);
    }
    let programs = packages::programs(&["promtool"], &packages::search_path());
    Ok(programs.into_iter().next())
}

fn named(program: PathBuf, version: impl Fn(&Path) -> Option<String>) -> Result<PathBuf, Failure> {
    match version(&program) {
        Some(text) if text.starts_with("promtool") => Ok(program),
        said => Err(Failure::WrongProgram {
            variable: OWN_CHOICE,
            file: program,
            fault: match said.as_deref().and_then(|text| text.lines().next()) {
                Some(line) => format!("its `--version` says `{line}`"),
                None => "its `--version` fails".to_owned(),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_program_that_is_named_has_to_be_it() {
        let says = |text: &'static str| move |_: &_| Some(text.to_owned());
        let known = named("/p".into(), says("promtool, version 2.42.0\n"));
        assert_eq!(known.expect("it is"), std::path::Path::new("/p"));
        let failure = named("/p".into(), says("prometheus, version 2\n")).expect_err("it is not");
        assert!(
            failure.to_string().contains("prometheus, version 2"),
            "{failure}"
        );
        assert!(named("/p".into(), |_| None).is_err());
    }
}
