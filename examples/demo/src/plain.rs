//! The run as lines of text: one for each second, and one for each thing that happens.
//!
//! For logs and pipes: no color, no movement. The summary at the end is `report`'s business.

use crate::history::Entry;
use crate::picture::{NodeLine, Picture, count, counted, seconds, span};

/// One line about a moment.
pub(crate) fn moment(picture: &Picture<'_>) -> String {
    let totals = &picture.totals;
    let replicas: Vec<String> = picture
        .nodes
        .iter()
        .skip(1)
        .map(|node| replica(picture, node))
        .collect();
    format!(
        "{:>7}  {} reads, {} off the primary; {} writes; {}; {}; {}",
        seconds(picture.elapsed),
        count(totals.reads()),
        totals.off_primary(),
        count(totals.writes),
        counted(totals.stale_reads, "stale read", "stale reads"),
        counted(totals.errors, "error", "errors"),
        replicas.join(", "),
    )
}

/// One line about what happened.
pub(crate) fn event(entry: &Entry) -> String {
    format!("{:>7}  * {}", seconds(entry.at), entry.text)
}

fn replica(picture: &Picture<'_>, node: &NodeLine) -> String {
    format!(
        "{} {} (at most {} behind)",
        node.name,
        node.standing.describe(picture.mode),
        span(node.bound)
    )
}
