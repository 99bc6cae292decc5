//! What can be measured, each in a module of its own.

mod decisions;
mod instructions;
mod memory;
mod reads;

use clap::ValueEnum;

use crate::Result;
use crate::figure::Figure;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// One decision, and a session's token, in nanoseconds.
    Decisions,
    /// The same in instructions, where valgrind is there to count them.
    Instructions,
    /// What sessions and routers hold on to.
    Memory,
    /// Reads by statement and by handle, beside a connection and a pool.
    Reads,
}

impl Case {
    /// What it is about, for people.
    pub(crate) const fn told(self) -> &'static str {
        match self {
            Self::Decisions => "\n## One decision",
            Self::Instructions => "\n## One decision, in instructions",
            Self::Memory => "\n## Memory",
            Self::Reads => "\n## Reads on one replica",
        }
    }

    /// Its figures; of few rounds where it only has to run.
    pub(crate) async fn measure(self, quick: bool) -> Result<Vec<Figure>> {
        match self {
            Self::Decisions => decisions::measure(quick).await,
            Self::Instructions => instructions::measure(quick),
            Self::Memory => memory::measure(quick).await,
            Self::Reads => reads::measure(quick).await,
        }
    }
}

/// Does one thing over and over, for who counts the program's instructions.
pub(crate) fn repeat(name: &str, calls: u32) -> Result<()> {
    instructions::repeat(name, calls)
}
