//! Where this machine has a Chromium and the driver that belongs to it, and how it gets them.
//!
//! A driver serves browsers of its own major version and refuses all others, so the two are found
//! as a pair. The tests start both themselves; which of them they start is their business, and we
//! look where they look.

use std::path::{Path, PathBuf};
use std::{env, fmt};

use crate::failure::Failure;
use crate::packages::{self, Apt, Wanted};

const BROWSER: Program = Program {
    own_choice: "LAGWISE_CHROMIUM",
    names: &[
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
        "chrome",
        "Chromium",
        "Google Chrome",
    ],
};

const DRIVER: Program = Program {
    own_choice: "LAGWISE_CHROMEDRIVER",
    names: &["chromedriver"],
};

/// Where they are besides the search path.
const FOLDERS: [&str; 7] = [
    "/usr/bin",
    "/usr/local/bin",
    "/usr/lib/chromium",
    "/usr/lib/chromium-browser",
    "/opt/homebrew/bin",
    "/Applications/Chromium.app/Contents/MacOS",
    "/Applications/Google Chrome.app/Contents/MacOS",
];

static WANTED: Wanted = Wanted {
    name: "Chromium with its WebDriver",
    packages: &["chromium", "chromium-driver"],
    how: "\
no Chromium or Chrome found together with a WebDriver of its version (chromedriver)

install them:
  Debian           sudo apt-get install --no-install-recommends chromium chromium-driver
  Fedora           sudo dnf install chromium chromedriver
  Arch             sudo pacman -S chromium
  macOS            brew install --cask google-chrome chromedriver

or name programs that are elsewhere:
  export LAGWISE_CHROMIUM=/path/to/chromium LAGWISE_CHROMEDRIVER=/path/to/chromedriver",
};

/// A program that is looked for.
struct Program {
    /// The variable that names it.
    own_choice: &'static str,
    /// What it is called, the usual name first.
    names: &'static [&'static str],
}

/// One that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    major: u32,
}

/// A browser and the driver that serves it.
#[derive(Debug, PartialEq, Eq)]
struct Pair {
    browser: Found,
    driver: Found,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (browser, driver) = (self.browser.path.display(), self.driver.path.display());
        write!(f, "{browser} {} with {driver}", self.browser.major)
    }
}

/// Returns once there is a browser with its driver, or says why there can be none.
pub(crate) fn ensure(apt: &mut Apt) -> Result<(), Failure> {
    apt.provide(&WANTED, find, || Ok(()))
}

fn find() -> Result<Option<Pair>, Failure> {
    let browsers = all(&BROWSER, env_path(&BROWSER), packages::version)?;
    let drivers = all(&DRIVER, env_path(&DRIVER), packages::version)?;
    Ok(matching(&browsers, &drivers))
}

fn env_path(program: &Program) -> Option<PathBuf> {
    env::var_os(program.own_choice).map(PathBuf::from)
}

/// The one that is named, or else every one that is there.
fn all(
    program: &Program,
    named: Option<PathBuf>,
    version: impl Fn(&Path) -> Option<String>,
) -> Result<Vec<Found>, Failure> {
    let Some(path) = named else {
        let usual = FOLDERS.map(PathBuf::from);
        let folders = [packages::search_path().as_slice(), &usual].concat();
        let found = packages::programs(program.names, &folders)
            .into_iter()
            .filter_map(|path| inspect(path, &version).ok());
        return Ok(found.collect());
    };
    let found = inspect(path.clone(), version).map_err(|fault| Failure::WrongProgram {
        variable: program.own_choice,
        file: path,
        fault,
    })?;
    Ok(vec![found])
}

/// The first browser that there is a driver for.
fn matching(browsers: &[Found], drivers: &[Found]) -> Option<Pair> {
    browsers.iter().find_map(|browser| {
        let serves = |driver: &&Found| driver.major == browser.major;
        let driver = drivers.iter().find(serves)?;
        Some(Pair {
            browser: browser.clone(),
            driver: driver.clone(),
        })
    })
}

fn inspect(path: PathBuf, version: impl Fn(&Path) -> Option<String>) -> Result<Found, String> {
    // A package that only stands for another one may have left a program that does nothing.
    let text = version(&path).ok_or_else(|| "its `--version` fails".to_owned())?;
    match major(&text) {
        Some(major) => Ok(Found { path, major }),
        None => Err(format!(
            "its `--version` says `{}`",
            text.lines().next().unwrap_or_default()
        )),
    }
}

/// The number in `Chromium 138.0.7204.49 built on Debian`, `ChromeDriver 138.0.7204.49 (..)`.
fn major(version: &str) -> Option<u32> {
    let starts = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_digit());
    let number = version.split_whitespace().find(starts)?;
    let (major, _) = number.split_once('.')?;
    major.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{BROWSER, DRIVER, Found, Pair, all, major, matching};

    fn found(path: &str, major: u32) -> Found {
        let path = PathBuf::from(path);
        Found { path, major }
    }

    #[test]
    fn a_major_version_is_read_from_browsers_and_drivers() {
        let browser = "Chromium 138.0.7204.49 built on Debian GNU/Linux 12 (bookworm)\n";
        assert_eq!(major(browser), Some(138));
        assert_eq!(major("Google Chrome 99.0.4844.51 \n"), Some(99));
        let driver = "ChromeDriver 138.0.7204.49 (a21ce95c-refs/branch-heads/7204@{#1704})\n";
        assert_eq!(major(driver), Some(138));
        assert_eq!(major("run `snap install chromium` for 1 browser"), None);
        assert_eq!(major(""), None);
    }

    #[test]
    fn a_browser_is_chosen_by_the_driver_there_is() {
        let browsers = [found("/chromium", 138), found("/google-chrome", 140)];
        let driver = found("/chromedriver", 140);
        let pair = Pair {
            browser: browsers[1].clone(),
            driver: driver.clone(),
        };
        assert_eq!(pair.to_string(), "/google-chrome 140 with /chromedriver");
        assert_eq!(matching(&browsers, &[driver]), Some(pair));
        assert_eq!(matching(&browsers, &[found("/chromedriver", 139)]), None);
        assert_eq!(matching(&browsers, &[]), None);
        assert_eq!(matching(&[], &browsers), None);
    }

    #[test]
    fn a_program_that_is_named_is_the_only_one() {
        let says = |path: &Path| {
            let browser = path == Path::new("/own");
            browser.then(|| "Chromium 138.0.7204.49\n".to_owned())
        };
        let named = all(&BROWSER, Some("/own".into()), says).expect("it is a browser");
        assert_eq!(named, [found("/own", 138)]);
        let failure = all(&DRIVER, Some("/none".into()), says).expect_err("nothing answers");
        assert_eq!(
            failure.to_string(),
            "LAGWISE_CHROMEDRIVER is `/none`, and its `--version` fails: name the program, or \
             unset it to have one looked for"
        );
    }
}
