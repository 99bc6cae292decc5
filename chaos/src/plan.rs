//! What a run is asked for.
//!
//! The command line and the tests say it in the same words. How many phases a duration is enough for
//! is seen in `run`.

use std::path::PathBuf;
use std::time::Duration;

use crate::instances::Launch;
use crate::jar::Carrier;
use crate::naive::flaw::Flaw;
use crate::nemesis::{Kind, Parting};
use crate::service::Service;

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everything random starts from.
    pub seed: u64,
    /// How long it goes on to begin phases; what has begun is ended.
    pub length: Duration,
    /// How many phases it begins at most, besides the healthy one.
    pub phases: usize,
    /// How long a fault lasts.
    pub fault: Duration,
    /// How many instances of the service there are.
    pub instances: usize,
    /// How many sessions there are.
    pub sessions: usize,
    /// How a session's token travels.
    pub carrier: Carrier,
    /// The service under test.
    pub service: Service,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
    /// This program, to start instances with.
    pub program: PathBuf,
    /// How old a read may be.
    pub max_lag: Duration,
    /// The longest that an operation may take.
    pub deadline: Duration,
    /// The faults that come, each alone and then in pairs.
    pub kinds: Vec<Kind>,
    /// What the replicas have when the primary dies.
    pub parting: Parting,
    /// How many reads in a hundred have to leave a healthy primary: on a machine that is busy with
    /// other things, many that follow a write give up waiting for a replica.
    pub floor: usize,
}

impl Plan {
    /// A run of a minute with all faults, three instances and eight sessions.
    #[must_use]
    pub fn new(service: Service, program: PathBuf) -> Self {
        Self {
            seed: 1,
            length: Duration::from_secs(60),
            phases: usize::MAX,
            fault: Duration::from_secs(3),
            instances: 3,
            sessions: 8,
            carrier: Carrier::Cookie,
            service,
            flaw: None,
            program,
            max_lag: Duration::from_secs(1),
            deadline: Duration::from_secs(5),
            kinds: Kind::ALL.to_vec(),
            parting: Parting::CaughtUp,
            floor: 60,
        }
    }

    /// How an instance is started.
    #[must_use]
    pub fn launch(&self) -> Launch {
        Launch {
            program: self.program.clone(),
            service: self.service,
            flaw: self.flaw,
            max_lag: self.max_lag,
        }
    }
}
