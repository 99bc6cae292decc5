//! One node alone: its bound over the last minutes, and everything that is known of it.

use std::time::Duration;

use humantime::format_duration;

use super::cells::{BLOCKS, Facts, GAP};
use super::row::{Row, Tone, cut, cut_name, flow, width};
use super::screen::events;
use super::state::State;
use super::track::{LONG, Sample, Track};
use crate::format::short;

/// The lines of the selected node.
pub(super) fn rows(state: &State, wide: usize, room: usize) -> Vec<Row> {
    let scene = state.scene();
    let Some(node) = state.selected() else {
        return vec![Row::of("there is no node", wide, Tone::Quiet)];
    };
    let facts = scene.facts(node);
    let mut rows = vec![title(&facts, wide)];
    let mut items = flow(&all(&facts), 0, wide);
    // At least three rows of chart with an axis, then the facts, then what happened.
    items.truncate(room.saturating_sub(rows.len() + 4));
    let left = room - rows.len() - items.len();
    let log = if left > 12 { left / 3 } else { 0 };
    if left > log + 1 {
        rows.extend(chart(&facts, wide, left - log - 1));
    }
    rows.extend(items);
    rows.extend(events(scene, Some(&node.name), wide, log));
    rows
}

fn title(facts: &Facts<'_>, wide: usize) -> Row {
    let mut row = Row::default();
    let name = cut_name(&facts.node.name, wide / 2);
    row.put(0, wide, &name, Tone::Title);
    let at = width(&name) + 2;
    let (state, tone) = facts.state();
    row.put(at, wide.saturating_sub(at), &state, tone);
    let at = at + width(&state) + 2;
    let was_replica = facts.track.is_some_and(Track::has_lagged);
    let text = match (facts.node.is_primary, was_replica) {
        (true, true) => "the most that a read there was behind while it was a replica",
        (true, false) => "it takes the writes, so it has no lag",
        (false, _) => "the most that a read there was behind",
    };
    row.put(at, wide.saturating_sub(at), text, Tone::Quiet);
    row
}

/// Everything there is to say, with its unit.
fn all(facts: &Facts<'_>) -> Vec<(String, Tone)> {
    let (node, quiet) = (facts.node, Tone::Plain);
    let mut all = vec![
        (facts.role(), quiet),
        (format!("timeline {}", facts.timeline()), quiet),
        (format!("lsn {}", facts.position()), quiet),
    ];
    if node.is_primary {
        all.push((format!("writes {}", facts.rate()), quiet));
    } else {
        all.extend(of_replica(facts));
    }
    all.extend([
        (format!("connections {}", facts.connections()), quiet),
        (format!("latency {}", facts.latency()), quiet),
        (
            format!(
                "PostgreSQL {}",
                facts.told(|told| Some(version(told.version)))
            ),
            quiet,
        ),
        (format!("weight {}", node.weight), quiet),
    ]);
    all.extend(
        node.zone
            .as_ref()
            .map(|zone| (format!("zone {zone}"), quiet)),
    );
    if node.balanced {
        all.push(("several servers at one address".to_owned(), quiet));
    }
    let unwell = facts.track.and_then(Track::unwell);
    all.extend(unwell.map(|unwell| (unwell.to_owned(), Tone::Caution)));
    all
}

fn of_replica(facts: &Facts<'_>) -> Vec<(String, Tone)> {
    let plain = |text: String| (text, Tone::Plain);
    let (bound, tone) = facts.bound();
    let (catch_up, catch_up_tone) = facts.catch_up();
    let ago = |seconds: f64| Duration::try_from_secs_f64(seconds).ok().map(short);
    let heard = facts.told(|told| told.heard_seconds_ago.and_then(ago));
    let receiver = facts.told(|told| match (&told.receiver_status, told.receiving) {
        (Some(status), _) => Some(status.clone()),
        (None, true) => Some("running".to_owned()),
        (None, false) => Some("none".to_owned()),
    });
    vec![
        (
            format!("bound {bound} of {}", format_duration(facts.look.max_lag)),
            tone,
        ),
        plain(format!("lag {}", facts.estimate())),
        plain(format!("behind {}", facts.behind())),
        plain(format!("replays {}", facts.rate())),
        (format!("catch-up {catch_up}"), catch_up_tone),
        plain(format!(
            "replay {}",
            facts.told(|told| told.replay_pause.clone())
        )),
        plain(format!("stream {receiver}")),
        plain(format!("heard {heard} ago")),
        plain(format!("conflicts {}", facts.conflicts())),
    ]
}

/// `15.18` for 150018.
fn version(number: i32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}

/// Rows of blocks with an axis, and the limit as a line across.
fn chart(facts: &Facts<'_>, wide: usize, high: usize) -> Vec<Row> {
    let (columns, high) = (wide - AXIS, high.max(1));
    let samples = facts.track.map(|track| track.chart(LONG, columns));
    let samples = samples.unwrap_or_default();
    let limit = facts.look.max_lag;
    let highest = samples.iter().filter_map(|sample| match sample {
        Sample::Lag(lag) => Some(*lag),
        Sample::Nothing | Sample::Unknown => None,
    });
    let top = highest.max().unwrap_or_default().max(limit * 5 / 4);
    let limit_row = eighths(limit, top, high) / 8;
    let mut rows = Vec::new();
    for row in (0..high).rev() {
        let label = match row {
            _ if row + 1 == high && row > limit_row => short(top),
            _ if row == limit_row => short(limit),
            0 => "0".to_owned(),
            _ => String::new(),
        };
        let blank = if row == limit_row { '╌' } else { ' ' };
        let cell = |sample: &Sample| match *sample {
            Sample::Unknown if row == 0 => GAP,
            Sample::Nothing | Sample::Unknown => blank,
            Sample::Lag(lag) => match eighths(lag, top, high).max(1).saturating_sub(row * 8) {
                0 => blank,
                filled => BLOCKS[filled.min(8) - 1],
            },
        };
        let text: String = samples.iter().map(cell).collect();
        let mut line = Row::default();
        let label = cut(&label, AXIS - 1);
        line.put(AXIS - 1 - width(&label), AXIS, &label, Tone::Quiet);
        line.put(AXIS, columns, &text, Tone::Accent);
        rows.push(line);
    }
    rows.push(time_axis(columns));
    rows
}

/// How high a lag is, in eighths of a row.
fn eighths(lag: Duration, top: Duration, high: usize) -> usize {
    let full = u128::try_from(high * 8).unwrap_or(u128::MAX);
    let height = lag.as_nanos() * full / top.as_nanos().max(1);
    usize::try_from(height).unwrap_or(usize::MAX)
}

fn time_axis(columns: usize) -> Row {
    let mut row = Row::default();
    let (from, to) = ("5m ago", "now");
    row.put(AXIS, columns, from, Tone::Quiet);
    row.put(AXIS + columns - width(to), width(to), to, Tone::Quiet);
    row
}

/// The room of the labels at the left.
const AXIS: usize = 8;
