//! Why a command stopped, in words for the person who started it.
//!
//! Each message names what was tried, the value that was wrong and the way out. Nobody branches
//! on a failure: the exit code of `cargo xtask` is zero or it is not.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::{fmt, io};

use crate::fuzz;
use crate::packages::Wanted;

#[derive(Debug)]
pub(crate) enum Failure {
    /// The program is missing, or the system refused to start it.
    NotStarted { line: String, source: io::Error },
    /// The program ran, and said no.
    Refused { line: String, status: ExitStatus },
    /// `LAGWISE_PG_BIN` names a folder that does not hold a server.
    WrongFolder { folder: PathBuf, fault: String },
    /// The variable names a program that is not what it should be.
    WrongProgram {
        variable: &'static str,
        file: PathBuf,
        fault: String,
    },
    /// It is not there, and we may not install it here.
    Missing(&'static Wanted),
    /// The packages could not be installed, or were, and still it is not there.
    StillMissing {
        wanted: &'static Wanted,
        cause: Option<Box<Self>>,
    },
    /// The fuzzing engine cannot be built.
    NoCompiler,
    /// `rustc` does not say what it compiles for.
    NoHost,
    /// Fuzzing found an input that it keeps in this file.
    LawBroken { input: PathBuf },
    /// What a bug replaces is not in the sources, or more than once.
    NotPlanted { name: &'static str },
    /// The simulation is blind to a bug.
    BugNotFound { name: &'static str },
    /// A file that was asked for is not there.
    NotRead { file: PathBuf, source: io::Error },
    /// A file that a command needs could not be written.
    NotWritten { file: PathBuf, source: io::Error },
}

impl fmt::Display for Failure {
    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each failure, and no more"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { line, source } => {
                write!(
                    f,
                    "`{line}` could not be started: {source}; is it installed?"
                )
            }
            Self::Refused { line, status } => write!(f, "`{line}` failed: {status}"),
            Self::WrongFolder { folder, fault } => write!(
                f,
                "LAGWISE_PG_BIN is `{}`, and {fault}: name the folder that holds the server's \
                 programs, or unset it to have them looked for",
                folder.display(),
            ),
            Self::WrongProgram {
                variable,
                file,
                fault,
            } => write!(
                f,
                "{variable} is `{}`, and {fault}: name the program, or unset it to have one \
                 looked for",
                file.display(),
            ),
            Self::Missing(wanted) => f.write_str(wanted.how),
            Self::StillMissing {
                wanted: Wanted { name, how, .. },
                cause: Some(cause),
            } => write!(f, "the {name} could not be installed: {cause}\n\n{how}"),
            Self::StillMissing {
                wanted:
                    Wanted {
                        name,
                        packages,
                        how,
                    },
                cause: None,
            } => write!(
                f,
                "apt-get installed `{}`, and still no {name} that can be used is found\n\n{how}",
                packages.join(" "),
            ),
            Self::NoCompiler => f.write_str(fuzz::NO_COMPILER),
            Self::NoHost => f.write_str(
                "`rustc --print=host-tuple` says nothing: is Rust 1.94 or newer installed?",
            ),
            Self::LawBroken { input } => write!(
                f,
                "`{0}` breaks the law that is named above; judge it again with\n  \
                 cargo xtask fuzz --replay {0}\n\
                 and once it is mended, keep it among the seeds in fuzz/seeds",
                input.display(),
            ),
            Self::NotPlanted { name } => write!(
                f,
                "`{name}` could not be planted: the text that it replaces is not there once; \
                 see xtask/src/plant",
            ),
            Self::BugNotFound { name } => write!(
                f,
                "the simulation did not find `{name}`: teach it to, in \
                 crates/lagwise-core/tests/simulation",
            ),
            Self::NotRead { file, source } => {
                write!(f, "`{}` could not be read: {source}", file.display())
            }
            Self::NotWritten { file, source } => {
                write!(f, "`{}` could not be written: {source}", file.display())
            }
        }
    }
}
