//! The bars of the page, as SVG without anything from elsewhere.
//!
//! Each bar is a whole, cut into what moves for certain, what may, what stays, and what is apart or not
//! known. Colors come from the page's style, so that they follow light, dark and paper; every part is
//! also named with its figure, since not everybody sees colors.

use std::fmt::Write as _;

use super::report::{Report, percent};
use super::workload::{ratio, to_float};

/// One part of a bar: its class in the style, its name, and its share of the whole.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    class: &'static str,
    name: &'static str,
    share: f64,
}

/// The parts of all execution time.
pub(super) fn of_time(report: &Report) -> Vec<Slice> {
    let held = ratio(to_float(report.held_calls), to_float(report.moves.calls));
    let moves = report.moves.share_of_time;
    slices([
        moves * (1.0 - held),
        moves * held,
        report.stays.share_of_time,
        report.hidden.share_of_time,
        report.apart.share_of_time,
    ])
}

/// The parts of the calls of statements.
pub(super) fn of_calls(report: &Report) -> Vec<Slice> {
    let all = to_float(report.moves.calls + report.stays.calls + report.hidden.calls);
    let share = |calls: i64| ratio(to_float(calls), all);
    slices([
        share(report.moves.calls - report.held_calls),
        share(report.held_calls),
        share(report.stays.calls),
        share(report.hidden.calls),
        0.0,
    ])
}

fn slices(shares: [f64; 5]) -> Vec<Slice> {
    const PARTS: [(&str, &str); 5] = [
        ("moves", "could move"),
        ("may", "may be held by transactions"),
        ("stays", "stays on the primary"),
        ("hidden", "not known"),
        ("apart", "COMMIT, SET and their like"),
    ];
    let slice = |((class, name), share)| Slice { class, name, share };
    let all = PARTS.into_iter().zip(shares).map(slice);
    all.filter(|slice| slice.share > 0.0).collect()
}

/// A bar with its legend below.
pub(super) fn bar(title: &str, slices: &[Slice]) -> String {
    let spoken: Vec<String> = slices
        .iter()
        .map(|slice| format!("{} {}", slice.name, percent(slice.share)))
        .collect();
    let spoken = spoken.join(", ");
    // A string takes whatever is written.
    let mut chart = format!(
        "<figure><figcaption>{title}</figcaption>\n\
         <svg class=\"bar\" viewBox=\"0 0 1000 40\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{title}: {spoken}\">\n"
    );
    let mut from = 0.0;
    for slice in slices {
        let width = slice.share * 1000.0;
        // What is next to each other is seen to be two.
        let shown = (width - 3.0).max(1.0);
        writeln!(
            chart,
            "<rect class=\"{}\" x=\"{from:.1}\" y=\"0\" width=\"{shown:.1}\" height=\"40\"/>",
            slice.class
        )
        .ok();
        from += width;
    }
    chart.push_str("</svg>\n<ul class=\"legend\">\n");
    for slice in slices {
        let (class, name, share) = (slice.class, slice.name, percent(slice.share));
        writeln!(
            chart,
            "<li><svg class=\"key\" viewBox=\"0 0 10 10\" aria-hidden=\"true\"><rect class=\"{class}\" \
             width=\"10\" height=\"10\"/></svg>{name} <b>{share}</b></li>"
        )
        .ok();
    }
    chart.push_str("</ul></figure>\n");
    chart
}

/// A short bar beside a figure.
pub(super) fn meter(class: &str, share: f64, largest: f64) -> String {
    let width = ratio(share, largest) * 100.0;
    format!(
        "<svg class=\"meter\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"{class}\" width=\"{width:.1}\" height=\"8\"/></svg>"
    )
}
