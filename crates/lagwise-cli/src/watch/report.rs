//! The cluster for programs: the router's own account, and beside it what servers say of themselves.

use std::collections::BTreeMap;

use lagwise::status::Cluster;
use serde::Serialize;

use super::pace::CatchUp;
use super::state::Scene;
use crate::vitals::Vitals;

/// One JSON object.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    /// When, by the wall clock of this machine.
    at: String,
    #[serde(flatten)]
    cluster: &'a Cluster,
    /// By node; `null` of one that has not said anything, or not the last time it was asked.
    vitals: BTreeMap<&'a str, Option<&'a Vitals>>,
    /// By node, why it said nothing.
    unwell: BTreeMap<&'a str, &'a str>,
    /// By node.
    pace: BTreeMap<&'a str, Pace>,
}

/// How fast a node goes.
#[derive(Debug, Serialize)]
struct Pace {
    /// Replayed, or written by the primary, in the last seconds; `null` while that is not known.
    bytes_per_second: Option<u64>,
    /// Until it will have caught up, at that pace; `null` if never, or not known.
    catch_up_seconds: Option<f64>,
    /// Whether at that pace it will not; `null` where that is not known, and of the primary.
    never_catches_up: Option<bool>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(scene: &'a Scene, cluster: &'a Cluster) -> Self {
        let tracks = || scene.tracks.iter();
        let nodes = scene.look.nodes.iter();
        Self {
            at: scene.clock.timestamp(scene.look.at),
            cluster,
            vitals: tracks()
                .map(|(name, track)| (&**name, track.vitals()))
                .collect(),
            unwell: tracks()
                .filter_map(|(name, track)| Some((&**name, track.unwell()?)))
                .collect(),
            pace: nodes
                .map(|node| {
                    let facts = scene.facts(node);
                    let track = facts.track;
                    let (seconds, never) = match facts.catches_up() {
                        _ if node.is_primary => (None, None),
                        CatchUp::CaughtUp => (Some(0.0), Some(false)),
                        CatchUp::In(time) => (Some(time.as_secs_f64()), Some(false)),
                        CatchUp::Never => (None, Some(true)),
                        CatchUp::Unknown => (None, None),
                    };
                    let pace = Pace {
                        bytes_per_second: track.and_then(|track| track.pace.rate()),
                        catch_up_seconds: seconds,
                        never_catches_up: never,
                    };
                    (&*node.name, pace)
                })
                .collect(),
        }
    }
}
