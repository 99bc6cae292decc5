//! What is on the screen, line by line: who is who at the top, the nodes, what has happened, the keys.
//!
//! Every line is made for the width that there is, and nothing is cut without a mark. Which lines there
//! are depends on the height: the nodes go before the events. How it is painted is `view`'s business.

use humantime::format_duration;

use super::cells::about;
use super::log::Entry;
use super::row::{Row, Tone, cut_name, flow, width};
use super::state::{Scene, State};
use super::table::Table;
use super::zoom;

/// Smaller than this, nothing can be read.
pub(crate) const LEAST: (usize, usize) = (40, 10);

/// All lines of a screen of this size, from the top; at most as many as it is high.
pub(crate) fn lines(state: &State, (wide, high): (usize, usize)) -> Vec<Row> {
    if wide < LEAST.0 || high < LEAST.1 {
        let (least, tall) = LEAST;
        // What is needed stands first: there may be no room for more.
        let texts = [
            format!("make it {least}x{tall}"),
            format!("{wide}x{high} is too small"),
            "q quits".to_owned(),
        ];
        let mut rows = flow(&texts.map(|text| (text, Tone::Title)), 0, wide);
        rows.truncate(high);
        return rows;
    }
    let mut rows = header(state, wide, high);
    let room = high - rows.len() - 1;
    rows.extend(if state.help {
        help(wide, room)
    } else if state.zoomed {
        zoom::rows(state, wide, room)
    } else {
        body(state, wide, room)
    });
    rows.resize_with(high - 1, Row::default);
    rows.push(keys(state, wide));
    rows
}

/// The cluster.
pub(crate) fn summary(scene: &Scene) -> Vec<(String, Tone)> {
    let look = &scene.look;
    let primary = match (&look.primary, look.primary_lost) {
        (None, _) => ("no primary found".to_owned(), Tone::Bad),
        (Some(name), Some(lost)) => {
            let name = cut_name(name, 30);
            (
                format!("primary: {name}, lost for {}", about(lost)),
                Tone::Bad,
            )
        }
        (Some(name), None) => (format!("primary: {}", cut_name(name, 30)), Tone::Title),
    };
    let (serving, all) = (look.in_rotation, look.replicas());
    let replicas = match look.primary {
        Some(_) => format!("{serving} of {all} replicas in rotation"),
        // One of the nodes may be it.
        None => format!("{serving} replicas in rotation"),
    };
    let tone = match serving {
        0 if all > 0 => Tone::Bad,
        serving if serving < all => Tone::Caution,
        _ => Tone::Good,
    };
    let quiet = |text: String| (text, Tone::Quiet);
    let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
    vec![
        primary,
        (replicas, tone),
        quiet(format!(
            "timeline {}",
            known(look.timeline.map(|number| number.to_string()))
        )),
        quiet(format!("system {}", known(look.system.clone()))),
        quiet(format!("max lag {}", format_duration(look.max_lag))),
        quiet(format!(
            "asked every {}",
            format_duration(look.poll_interval)
        )),
    ]
}

fn header(state: &State, wide: usize, high: usize) -> Vec<Row> {
    let scene = state.scene();
    let now = scene.clock.time_of_day(scene.look.at);
    let mut items = vec![if state.is_paused() {
        (format!("PAUSED at {now}: p goes on"), Tone::Caution)
    } else {
        (now, Tone::Quiet)
    }];
    items.extend(summary(scene));
    let mut rows = flow(&items, 0, wide);
    rows.truncate(high / 4);
    rows
}

/// The nodes, and below them what has happened.
fn body(state: &State, wide: usize, room: usize) -> Vec<Row> {
    let scene = state.scene();
    let table = Table::fit(scene, wide, true);
    let nodes = state.nodes();
    let chosen = state.selected().map(|node| &node.name);
    let mut blocks: Vec<(Row, Vec<Row>)> = Vec::new();
    let mut at = 0;
    for (index, node) in nodes.iter().enumerate() {
        let facts = scene.facts(node);
        let selected = Some(&node.name) == chosen;
        at = if selected { index } else { at };
        blocks.push((table.node(&facts, selected), table.rest(&facts)));
    }
    let whole: usize = blocks.iter().map(|(_, rest)| 1 + rest.len()).sum();
    let all = whole + 1 + LEAST_LOG <= room;
    let by = Some((state.order.by, state.order.reversed));
    let mut rows = vec![table.titles(by)];
    if all {
        rows.extend(
            blocks
                .into_iter()
                .flat_map(|(row, rest)| [vec![row], rest].concat()),
        );
    } else {
        let rest = blocks
            .get(at)
            .map(|(_, rest)| rest.clone())
            .unwrap_or_default();
        let first: Vec<Row> = blocks.into_iter().map(|(row, _)| row).collect();
        let room_for_rest = if room >= 11 { rest.len().min(2) } else { 0 };
        let most = room.saturating_sub(1 + room_for_rest + LEAST_LOG).max(3);
        rows.extend(window(&first, at, most.min(room - 1), wide));
        rows.extend(rest.into_iter().take(room_for_rest));
    }
    let left = room.saturating_sub(rows.len());
    rows.extend(events(scene, None, wide, left));
    rows
}

/// So many rows are left to what has happened, while there are nodes that could do with less.
const LEAST_LOG: usize = 5;

/// As many rows as there is room for, around one, saying how many are not shown.
fn window(rows: &[Row], at: usize, most: usize, wide: usize) -> Vec<Row> {
    if rows.len() <= most || most < 2 {
        return rows.iter().take(most).cloned().collect();
    }
    let shown = most - 1;
    let from = (at + 1).saturating_sub(shown).min(rows.len() - shown);
    let mut window = rows[from..from + shown].to_vec();
    let (above, below) = (from, rows.len() - shown - from);
    let text = format!("   … {above} more above, {below} below");
    window.push(Row::of(&text, wide, Tone::Quiet));
    window
}

/// What has happened, to all or to one node, under a title; nothing without room for both.
pub(super) fn events(scene: &Scene, node: Option<&str>, wide: usize, room: usize) -> Vec<Row> {
    if room < 2 {
        return Vec::new();
    }
    let mut rows = Vec::new();
    if room > 4 {
        rows.push(Row::default());
    }
    rows.push(Row::of("EVENTS, the latest first", wide, Tone::Quiet));
    let of_node = |entry: &&Entry| node.is_none() || entry.node.as_deref() == node;
    let left = room - rows.len();
    let entries = scene.log.iter().filter(of_node).take(left);
    let before = rows.len();
    rows.extend(entries.map(|entry| event(entry, wide)));
    if rows.len() == before {
        let began = scene.clock.time_of_day(scene.began);
        rows.push(Row::of(&format!("none since {began}"), wide, Tone::Quiet));
    }
    rows
}

fn event(entry: &Entry, wide: usize) -> Row {
    let mut row = Row::default();
    row.put(0, 9, &entry.time, Tone::Quiet);
    let mark = match entry.tone {
        Tone::Bad => "!",
        Tone::Good => "+",
        _ => " ",
    };
    row.put(10, 1, mark, entry.tone);
    let mut at = 12;
    if let Some(node) = &entry.node {
        let name = cut_name(node, wide / 3);
        row.put(at, wide - at, &name, Tone::Plain);
        at += width(&name) + 1;
    }
    row.put(at, wide.saturating_sub(at), &entry.text, entry.tone);
    row
}

/// The keys that there is room for.
fn keys(state: &State, wide: usize) -> Row {
    let direction = if state.order.reversed {
        ", reversed"
    } else {
        ""
    };
    let sort = format!("s sort: {}{direction}", state.order.describe());
    let texts: Vec<&str> = if state.help {
        vec!["Esc back", "q quit"]
    } else if state.zoomed {
        vec![
            "Esc back",
            "q quit",
            "? help",
            "↑↓ node",
            "p pause",
            "d drain here",
        ]
    } else {
        vec![
            "q quit",
            "? help",
            &sort,
            "r reverse",
            "Enter zoom",
            "p pause",
            "d drain here",
        ]
    };
    let mut row = Row::default();
    let mut at = 0;
    for text in texts {
        if at + width(text) <= wide {
            row.put(at, width(text), text, Tone::Quiet);
            at += width(text) + 2;
        }
    }
    row
}

fn help(wide: usize, room: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let lines = HELP.lines().map(|line| Row::of(line, wide, Tone::Plain));
    rows.extend(lines);
    if rows.len() > room {
        rows.truncate(room.saturating_sub(1));
        rows.push(Row::of(
            "… make the window higher for the rest",
            wide,
            Tone::Quiet,
        ));
    }
    rows
}

const HELP: &str = "\
↑ ↓ j k  choose a node           s  sort by the next column
Enter z  zoom on it, and back    r  reverse the order
p        freeze what is shown; events go on being collected
d        drain the node, or let it return: in this view alone,
         no service hears of it
Esc      back, or quit           q Ctrl-C  quit

BOUND    the most that a read there can be behind the primary
LAG      how far it probably is behind, when last asked
BEHIND   the log that it has not replayed
WAL RATE what it replays, or the primary writes, over 5 s
CATCH-UP when it will have caught up, at this pace
CONNS    client connections of the server, and how many it takes
CONFLICTS  queries that replay has canceled
?        unknown             -  no question of this node
█        max lag or beyond   ·  nothing was proved   !  look here
Times are UTC.";
