//! What can be measured, each in a module of its own.

mod leaving;
mod reads;
mod writes;

use clap::ValueEnum;

use crate::Result;
use crate::figure::Figure;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// Reads by statement and by handle, beside a connection and a pool.
    Reads,
    /// Writes by statement, beside a connection and a pool.
    Writes,
    /// How soon a session that wrote leaves the primary.
    Leaving,
}

impl Case {
    /// What it is about, for people.
    pub(crate) const fn told(self) -> &'static str {
        match self {
            Self::Reads => "\n## Reads on one replica",
            Self::Writes => "\n## Writes",
            Self::Leaving => "\n## A session that wrote, and its reads",
        }
    }

    /// Its figures; of few rounds where it only has to run.
    pub(crate) async fn measure(self, quick: bool) -> Result<Vec<Figure>> {
        match self {
            Self::Reads => reads::measure(quick).await,
            Self::Writes => writes::measure(quick).await,
            Self::Leaving => leaving::measure(quick).await,
        }
    }
}
