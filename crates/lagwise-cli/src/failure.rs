//! Why a command did not do all that it was asked to, in words for whoever asked.
//!
//! A message names the file or the server, what was wrong and the way out. It never holds a
//! password: of a URL, only what is known not to be one is shown.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::printable::Printable;

/// What was asked for cannot be meant.
pub(crate) const USAGE: u8 = 2;

/// As shells have it of a program that Ctrl-C ends: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// `--url` is not one; its text may hold a password, and is not shown.
    #[error("--url cannot be used: {fault}; write postgres://USER@HOST:PORT/DATABASE")]
    Url { fault: String },
    /// The catalog is what the answers depend on, so there are none.
    #[error(
        "the catalog of {} could not be read: {}; check that the server is up and the URL right, \
         or name no server to judge by what every server has built in",
        Printable(.server),
        Printable(.cause)
    )]
    Catalog { server: String, cause: String },
    /// One input of several, the others were answered.
    #[error("{} could not be read: {cause}", Printable(&.name.display().to_string()))]
    Input { name: PathBuf, cause: InputFault },
    /// Standard output is full, or not there.
    #[error("standard output could not be written: {0}")]
    Output(#[source] io::Error),
    /// Nobody said which nodes.
    #[error(
        "no nodes are named: give --primary URL and --replica URL, or --url with several hosts, or \
         --config FILE, or set LAGWISE_PRIMARY and LAGWISE_REPLICAS, LAGWISE_URL or LAGWISE_CONFIG"
    )]
    NoNodes,
    /// A file that a service may complete, and a command cannot.
    #[error(
        "{}: names no node: add [primary] with url, or url = \"postgres://..\"",
        Printable(&.0.display().to_string())
    )]
    NoNodesIn(PathBuf),
    /// What is said of the nodes cannot be meant.
    #[error("{}", faults(.0))]
    Nodes(#[source] lagwise::Error),
    /// A limit, or a node, that cannot be meant.
    #[error("{}", Printable(.fault))]
    Limits { fault: String },
    /// A page of a command that is none.
    #[error("there is no command `{}`: `lagwise --help` lists them", Printable(.0))]
    NoCommand(String),
    /// A file could not be written.
    #[error("{} could not be written: {cause}", Printable(&.name.display().to_string()))]
    Written {
        name: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// A screen is asked for where there is none.
    #[error(
        "there is no terminal to draw on: add --once for a table, or --format json for an object \
         each --interval"
    )]
    NoTerminal,
    /// The terminal would not be drawn on.
    #[error("the terminal could not be used: {0}")]
    Terminal(#[source] io::Error),
    /// Whoever asked wants the answer no longer.
    #[error("interrupted")]
    Interrupted,
    /// The system would not give what every command needs.
    #[error("cannot wait for signals or the network: {0}")]
    Signals(#[source] io::Error),
    /// What the primary did not tell, or a report could not be written to.
    #[error("{}", Printable(.0))]
    Assess(String),
    /// What the sandbox, or the one that runs, could not do.
    #[error("{}", lines(.0))]
    Sandbox(String),
    /// What a sandbox is not told in this way.
    #[error("{0}")]
    SandboxUsage(&'static str),
    /// Somebody else listens there, or nobody may.
    #[error("cannot listen on {address}: {cause}; choose another address with --listen")]
    Listen {
        address: SocketAddr,
        #[source]
        cause: io::Error,
    },
    /// Each was complained of when it happened.
    #[error("{} could not be answered", inputs(*.0))]
    Unanswered(usize),
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputFault {
    #[error("{0}; name a file that exists and may be read, or - for standard input")]
    Io(#[from] io::Error),
    #[error("it is not UTF-8; convert it, as `iconv -t utf-8` does")]
    Encoding,
    #[error(
        "it is longer than {} MiB, and a file is one text; give statements as JSON lines",
        .0 >> 20
    )]
    Long(usize),
}

impl Failure {
    /// Whether it is what whoever started the command has asked for, and needs no words.
    pub(crate) const fn is_wanted(&self) -> bool {
        matches!(self, Self::Interrupted)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Url { .. }
            | Self::NoNodes
            | Self::NoNodesIn(_)
            | Self::Nodes(_)
            | Self::Limits { .. }
            | Self::NoCommand(_)
            | Self::NoTerminal
            | Self::SandboxUsage(_) => USAGE.into(),
            Self::Interrupted => INTERRUPTED.into(),
            Self::Assess(_)
            | Self::Catalog { .. }
            | Self::Input { .. }
            | Self::Listen { .. }
            | Self::Output(_)
            | Self::Sandbox(_)
            | Self::Signals(_)
            | Self::Terminal(_)
            | Self::Written { .. }
            | Self::Unanswered(_) => ExitCode::FAILURE,
        }
    }
}

/// What is wrong with nodes or settings: nobody here has asked for a router.
pub(crate) fn faults(error: &lagwise::Error) -> String {
    let text = error.to_string();
    let faults = text.strip_prefix("the router cannot be built: ");
    faults.unwrap_or(&text).to_owned()
}

/// A message and the end of a log, which others wrote.
fn lines(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(|line| Printable(line).to_string())
        .collect();
    lines.join("\n")
}

fn inputs(count: usize) -> String {
    match count {
        1 => "one input".to_owned(),
        _ => format!("{count} inputs"),
    }
}
