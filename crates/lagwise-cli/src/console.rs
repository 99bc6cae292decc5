//! Where a command's findings go, and where its complaints go.
//!
//! Findings are read by people and by programs, and both may stop reading when they have seen
//! enough: a closed pipe ends a command quietly. Color is for terminals, and only where nobody has
//! asked for none. What is said is the business of the commands.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write};

use crate::failure::Failure;

/// Whether whoever receives the findings still wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    More,
    Nothing,
}

/// Standard output, written in large pieces.
#[derive(Debug)]
pub(crate) struct Findings(BufWriter<StdoutLock<'static>>);

impl Findings {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(1 << 16, io::stdout().lock()))
    }

    pub(crate) fn put(&mut self, text: &[u8]) -> Result<Wanted, Failure> {
        wanted(self.0.write_all(text))
    }

    /// Lets everything be seen that was put.
    pub(crate) fn show(&mut self) -> Result<Wanted, Failure> {
        wanted(self.0.flush())
    }
}

/// What it means that something could not be written.
pub(crate) fn wanted(written: io::Result<()>) -> Result<Wanted, Failure> {
    match written {
        Ok(()) => Ok(Wanted::More),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Wanted::Nothing),
        Err(error) => Err(Failure::Output(error)),
    }
}

/// Whether findings may be colored: see <https://no-color.org>.
pub(crate) fn colored() -> bool {
    let asked_not = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
    io::stdout().is_terminal() && !asked_not && !dumb
}

/// Says what went wrong, on standard error.
pub(crate) fn complain(what: &dyn Display) {
    // If nobody can hear it, there is nobody to tell that.
    writeln!(io::stderr(), "lagwise: {what}").ok();
}

/// Says what takes its time, to whoever watches a terminal.
pub(crate) fn progress(what: &str) {
    if io::stderr().is_terminal() {
        complain(&what);
    }
}
