//! What can be measured, each in a module of its own.

mod decisions;
mod fleet;
mod functions;
mod instructions;
mod leaving;
mod memory;
mod monitor;
mod peers;
mod reads;
mod workload;
mod writes;

use std::path::Path;

use clap::ValueEnum;

use crate::Result;
use crate::figure::Figure;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// What single functions take.
    Functions,
    /// One decision, and a session's token, in nanoseconds.
    Decisions,
    /// The same in instructions, where Valgrind is there to count them.
    Instructions,
    /// What sessions and routers hold on to.
    Memory,
    /// Reads by statement and by handle, beside a connection and a pool.
    Reads,
    /// Writes by statement, beside a connection and a pool.
    Writes,
    /// What a router and what proxies add to a read.
    Peers,
    /// How soon a session that wrote leaves the primary.
    Leaving,
    /// Requests of a web service on a primary with replicas, beside the primary alone.
    Workload,
    /// What watching the nodes costs on both sides.
    Monitor,
    /// What the probes of a fleet ask of one node.
    Fleet,
}

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    /// With few rounds: it only has to run.
    pub(crate) quick: bool,
    /// Where Criterion has left what it measured, if it has.
    pub(crate) criterion: Option<&'a Path>,
}

impl Case {
    /// What it is about, for people.
    pub(crate) const fn told(self) -> &'static str {
        match self {
            Self::Functions => "Single functions",
            Self::Decisions => "One decision",
            Self::Instructions => "One decision, in instructions",
            Self::Memory => "Memory",
            Self::Reads => "Reads on one replica",
            Self::Writes => "Writes",
            Self::Peers => "What is added to a read on the way",
            Self::Leaving => "A session that wrote, and its reads",
            Self::Workload => "Requests on a primary and two replicas",
            Self::Monitor => "The monitor",
            Self::Fleet => "The probes of a fleet",
        }
    }

    /// Its figures.
    pub(crate) async fn measure(self, run: Run<'_>) -> Result<Vec<Figure>> {
        let quick = run.quick;
        match self {
            Self::Functions => match run.criterion {
                Some(folder) => functions::read(folder),
                None => Ok(Vec::new()),
            },
            Self::Decisions => decisions::measure(quick).await,
            Self::Instructions => instructions::measure(quick),
            Self::Memory => memory::measure(quick).await,
            Self::Reads => reads::measure(quick).await,
            Self::Writes => writes::measure(quick).await,
            Self::Peers => peers::measure(quick).await,
            Self::Leaving => leaving::measure(quick).await,
            Self::Workload => workload::measure(quick).await,
            Self::Monitor => monitor::measure(quick).await,
            Self::Fleet => fleet::measure(quick),
        }
    }
}

/// Does one thing over and over, for who counts the program's instructions.
pub(crate) fn repeat(name: &str, calls: u32) -> Result<()> {
    instructions::repeat(name, calls)
}
