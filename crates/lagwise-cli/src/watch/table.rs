//! The table of nodes, as wide as there is room for.
//!
//! Columns are taken in by their weight until the width is used up. What has no column is not lost: it
//! is said in words below a node. Names and charts take what room is left.

use super::cells::{Facts, UNKNOWN};
use super::order::By;
use super::row::{Row, Tone, cut_name, flow, width};
use super::state::Scene;
use super::track::SHORT;
use crate::printable::Printable;

/// A fact, as a column or in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Name,
    Role,
    Timeline,
    State,
    Bound,
    Estimate,
    Chart,
    Behind,
    Rate,
    CatchUp,
    Connections,
    Conflicts,
    Latency,
    Position,
}

/// From left to right.
const ORDER: [Column; 14] = [
    Column::Name,
    Column::Role,
    Column::Timeline,
    Column::State,
    Column::Bound,
    Column::Estimate,
    Column::Chart,
    Column::Behind,
    Column::Rate,
    Column::CatchUp,
    Column::Connections,
    Column::Conflicts,
    Column::Latency,
    Column::Position,
];

/// The most important first.
const WEIGHT: [Column; 14] = [
    Column::Name,
    Column::State,
    Column::Bound,
    Column::Estimate,
    Column::Behind,
    Column::Role,
    Column::Chart,
    Column::CatchUp,
    Column::Rate,
    Column::Connections,
    Column::Latency,
    Column::Timeline,
    Column::Conflicts,
    Column::Position,
];

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Name => "NODE",
            Self::Role => "ROLE",
            Self::Timeline => "TL",
            Self::State => "STATE",
            Self::Bound => "BOUND",
            Self::Estimate => "LAG",
            Self::Chart => "BOUND, 60s",
            Self::Behind => "BEHIND",
            Self::Rate => "WAL RATE",
            Self::CatchUp => "CATCH-UP",
            Self::Connections => "CONNS",
            Self::Conflicts => "CONFLICTS",
            Self::Latency => "LATENCY",
            Self::Position => "LSN",
        }
    }

    const fn least(self) -> usize {
        match self {
            Self::Name => 10,
            Self::Role | Self::Bound | Self::Estimate | Self::Behind | Self::Latency => 7,
            Self::Timeline => 3,
            Self::State => 20,
            Self::Chart => 8,
            Self::Rate | Self::CatchUp | Self::Connections | Self::Conflicts => 9,
            Self::Position => 17,
        }
    }

    /// How much of what is left it may take.
    const fn most(self) -> usize {
        match self {
            Self::Name => 40,
            Self::State => 26,
            Self::Chart => 60,
            other => other.least(),
        }
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::Name | Self::Role | Self::State | Self::Chart)
    }

    const fn sorts(self) -> Option<By> {
        match self {
            Self::Name => Some(By::Name),
            Self::State => Some(By::State),
            Self::Bound => Some(By::Bound),
            Self::Behind => Some(By::Behind),
            Self::CatchUp => Some(By::CatchUp),
            Self::Latency => Some(By::Latency),
            _ => None,
        }
    }

    fn cell(self, facts: &Facts<'_>, width: usize) -> (String, Tone) {
        let plain = |text| (text, Tone::Plain);
        match self {
            Self::Name => plain(cut_name(&facts.node.name, width)),
            Self::Role => plain(facts.role()),
            Self::Timeline => plain(facts.timeline()),
            Self::State => facts.state(),
            Self::Bound => facts.bound(),
            Self::Estimate => plain(facts.estimate()),
            Self::Chart => (facts.sparkline(SHORT, width), Tone::Accent),
            Self::Behind => plain(facts.behind()),
            Self::Rate => plain(facts.rate()),
            Self::CatchUp => facts.catch_up(),
            Self::Connections => plain(facts.connections()),
            Self::Conflicts => plain(facts.conflicts()),
            Self::Latency => plain(facts.latency()),
            Self::Position => plain(facts.position()),
        }
    }

    /// The fact in words, where it is one of this node.
    fn phrase(self, facts: &Facts<'_>) -> Option<(String, Tone)> {
        let (text, tone) = self.cell(facts, 0);
        if text == "-" {
            return None;
        }
        let said = match self {
            // Nobody compares positions by eye; the zoom has it.
            Self::Name | Self::State | Self::Chart | Self::Position => return None,
            Self::Role => text,
            Self::Timeline => format!("timeline {text}"),
            Self::Bound => format!("bound {text}"),
            Self::Estimate => format!("lag {text}"),
            Self::Behind => format!("behind {text}"),
            Self::Rate if facts.node.is_primary => format!("writes {text}"),
            Self::Rate => format!("replays {text}"),
            Self::CatchUp if text == "caught up" => text,
            Self::CatchUp if text == UNKNOWN => "catch-up ?".to_owned(),
            Self::CatchUp if tone == Tone::Bad => "no catch-up".to_owned(),
            Self::CatchUp => format!("caught up {text}"),
            Self::Connections => format!("conns {text}"),
            Self::Conflicts => format!("conflicts {text}"),
            Self::Latency => format!("latency {text}"),
        };
        Some((said, tone))
    }
}

/// Which columns there are, and how wide.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<(Column, usize)>,
    left_out: Vec<Column>,
    width: usize,
}

/// Below this, a bound takes some of the room of a state.
const NARROW: usize = 60;
/// The width that people have at least.
const USUAL: usize = 80;
/// From here on there is room for comfort.
const WIDE: usize = 100;
/// Before the first column: which row is selected, and whether it is in trouble.
const MARGIN: usize = 3;

impl Table {
    /// For a width, with a chart or without.
    pub(crate) fn fit(scene: &Scene, room: usize, charts: bool) -> Self {
        let names = scene.look.nodes.iter();
        let longest = names.map(|node| width(&Printable(&node.name).to_string()));
        let longest = longest.max().unwrap_or_default();
        let least = |column| match column {
            // A name that can be read is worth more than one more column.
            Column::Name if room >= USUAL => longest.clamp(column.least(), 14),
            // Since when it is so has less of a claim than how stale reads can be.
            Column::State if room < NARROW => 17,
            column => column.least(),
        };
        let mut used = MARGIN;
        let mut chosen = Vec::new();
        for column in WEIGHT {
            let least = least(column);
            let wanted = charts || column != Column::Chart;
            if wanted && used + least <= room {
                used += least + 1;
                chosen.push(column);
            }
        }
        let mut spare = (room + 1).saturating_sub(used);
        let mut extra = |column: Column| {
            let most = match column {
                Column::Name => column.most().min(longest),
                Column::State if room < NARROW => least(column),
                Column::State if room < WIDE => column.least(),
                other => other.most(),
            };
            let extra = most.saturating_sub(least(column)).min(spare);
            let extra = if chosen.contains(&column) { extra } else { 0 };
            spare -= extra;
            least(column) + extra
        };
        let (name, state, chart) = (
            extra(Column::Name),
            extra(Column::State),
            extra(Column::Chart),
        );
        let wide = |column| match column {
            Column::Name => name,
            Column::State => state,
            Column::Chart => chart,
            other => other.least(),
        };
        let is_in = |column: &Column| chosen.contains(column);
        Self {
            columns: ORDER
                .into_iter()
                .filter(is_in)
                .map(|column| (column, wide(column)))
                .collect(),
            left_out: ORDER.into_iter().filter(|column| !is_in(column)).collect(),
            width: room,
        }
    }

    /// What the columns are called, and which of them the nodes are sorted by.
    pub(crate) fn titles(&self, by: Option<(By, bool)>) -> Row {
        let mut row = Row::default();
        let mut at = MARGIN;
        for (column, wide) in &self.columns {
            let sorted = by.filter(|(by, _)| column.sorts() == Some(*by));
            let mark = match sorted {
                Some((_, true)) => "▴",
                Some((_, false)) => "▾",
                None => "",
            };
            let title = match column {
                // What is cut would be the time that it shows.
                Column::Chart if *wide < 10 => "60s",
                column => column.title(),
            };
            let text = format!("{title}{mark}");
            row.put(column.start(at, *wide, &text), *wide, &text, Tone::Quiet);
            at += wide + 1;
        }
        row
    }

    /// One node in columns.
    pub(crate) fn node(&self, facts: &Facts<'_>, selected: bool) -> Row {
        let mut row = Row {
            selected,
            ..Row::default()
        };
        let bad = facts.is_bad();
        row.put(0, 1, if selected { ">" } else { " " }, Tone::Title);
        row.put(1, 1, if bad { "!" } else { " " }, Tone::Bad);
        let mut at = MARGIN;
        for (column, wide) in &self.columns {
            let (text, tone) = column.cell(facts, *wide);
            row.put(column.start(at, *wide, &text), *wide, &text, tone);
            at += wide + 1;
        }
        row
    }

    /// What of a node has no column, in words.
    pub(crate) fn rest(&self, facts: &Facts<'_>) -> Vec<Row> {
        let phrases = self
            .left_out
            .iter()
            .filter_map(|column| column.phrase(facts));
        let mut phrases: Vec<_> = phrases.collect();
        if let Some(unwell) = facts.track.and_then(super::track::Track::unwell) {
            phrases.push((unwell.to_owned(), Tone::Caution));
        }
        if phrases.is_empty() {
            return Vec::new();
        }
        flow(&phrases, MARGIN + 2, self.width)
    }
}

impl Column {
    /// Words stand at the left of their column and numbers at its right.
    fn start(self, at: usize, wide: usize, text: &str) -> usize {
        if self.is_text() {
            at
        } else {
            at + wide.saturating_sub(width(text))
        }
    }
}
