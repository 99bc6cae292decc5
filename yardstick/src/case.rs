//! What can be measured, each in a module of its own.

mod fleet;
mod monitor;
mod reads;

use clap::ValueEnum;

use crate::Result;
use crate::figure::Figure;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// Reads by statement and by handle, beside a connection and a pool.
    Reads,
    /// Watching the nodes: processor time on both sides.
    Monitor,
    /// How the probes of many processes fall on a database.
    Fleet,
}

impl Case {
    /// What it is about, for people.
    pub(crate) const fn told(self) -> &'static str {
        match self {
            Self::Reads => "\n## Reads on one replica",
            Self::Fleet => "\n## The probes of many processes, on a simulated clock",
            Self::Monitor => "\n## Watching, for each node and in percent of a core",
        }
    }

    /// Its figures; of few rounds where it only has to run.
    pub(crate) async fn measure(self, quick: bool) -> Result<Vec<Figure>> {
        match self {
            Self::Reads => reads::measure(quick).await,
            Self::Monitor => monitor::measure(quick).await,
            Self::Fleet => fleet::measure(quick),
        }
    }
}
