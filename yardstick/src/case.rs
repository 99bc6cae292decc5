//! What can be measured, each in a module of its own.

mod peers;
mod reads;
mod workload;

use clap::ValueEnum;

use crate::Result;
use crate::figure::Figure;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// Reads by statement and by handle, beside a connection and a pool.
    Reads,
    /// What a router and what proxies add to a read.
    Peers,
    /// Requests of a web service on a primary with replicas, beside the primary alone.
    Workload,
}

impl Case {
    /// What it is about, for people.
    pub(crate) const fn told(self) -> &'static str {
        match self {
            Self::Reads => "\n## Reads on one replica",
            Self::Peers => "\n## What is added to a read on the way",
            Self::Workload => "\n## Requests on a primary and two replicas",
        }
    }

    /// Its figures; of few rounds where it only has to run.
    pub(crate) async fn measure(self, quick: bool) -> Result<Vec<Figure>> {
        match self {
            Self::Reads => reads::measure(quick).await,
            Self::Peers => peers::measure(quick).await,
            Self::Workload => workload::measure(quick).await,
        }
    }
}
