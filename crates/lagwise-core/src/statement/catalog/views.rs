//! Judges views by their definitions, and views over views by those.
//!
//! Each definition is looked through once. What is found in one is then carried to all views that
//! name it, and on from there, so the work is in proportion to the text of all definitions, however
//! deep the views are stacked. A view that is judged as a write stays one, so it always ends.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Catalog, Marked, Named};
use crate::statement::Verdict;
use crate::statement::classify::{Key, Name, classify, names_in};

/// A view to be judged.
#[derive(Debug)]
pub(super) struct View {
    name: String,
    schema: String,
    definition: String,
    verdict: Verdict,
}

impl View {
    pub(super) const fn new(schema: String, name: String, definition: String) -> Self {
        Self {
            name,
            schema,
            definition,
            verdict: Verdict::Read,
        }
    }
}

/// The views that do not only read, as the catalog keeps them.
pub(super) fn judge(mut views: Vec<View>, catalog: &Catalog) -> Vec<Marked> {
    views
        .sort_unstable_by(|one, other| (&one.name, &one.schema).cmp(&(&other.name, &other.schema)));
    let edges = edges(&views);
    let mut found = Vec::new();
    for (at, view) in views.iter_mut().enumerate() {
        let said = catalog
            .overrides
            .on(Some(view.schema.as_bytes()), view.name.as_bytes());
        view.verdict = match (said.writes, said.reads) {
            (true, _) => Verdict::Write,
            (_, true) => Verdict::Read,
            _ => classify(&view.definition, catalog).verdict,
        };
        if view.verdict != Verdict::Read {
            found.push(at);
        }
    }
    while let Some(under) = found.pop() {
        let Some(verdict) = views.get(under).map(|view| view.verdict) else {
            continue;
        };
        let start = edges.partition_point(|edge| edge.0 < under);
        let over = edges.iter().skip(start).take_while(|edge| edge.0 == under);
        for (_, over) in over {
            found.extend(
                views
                    .get_mut(*over)
                    .and_then(|view| worsen(view, verdict, catalog))
                    .map(|()| *over),
            );
        }
    }
    let marked = |view: View| Marked {
        name: view.name,
        schema: Some(view.schema),
        named: match view.verdict {
            Verdict::Session => Named::SessionView,
            Verdict::Read | Verdict::Write => Named::View,
        },
    };
    let judged = views
        .into_iter()
        .filter(|view| view.verdict != Verdict::Read);
    judged.map(marked).collect()
}

/// Carries a verdict to a view, if it is worse than the one it has.
fn worsen(view: &mut View, verdict: Verdict, catalog: &Catalog) -> Option<()> {
    let said = catalog
        .overrides
        .on(Some(view.schema.as_bytes()), view.name.as_bytes());
    let is_worse = match (view.verdict, verdict) {
        (Verdict::Read, _) => true,
        (Verdict::Session, verdict) => verdict == Verdict::Write,
        (Verdict::Write, _) => false,
    };
    (is_worse && !said.reads).then(|| view.verdict = verdict)
}

/// Which view is named in the definition of which: the one below, then the one above.
fn edges(views: &[View]) -> Vec<(usize, usize)> {
    let mut edges = Vec::new();
    for (over, view) in views.iter().enumerate() {
        for (schema, name) in names_in(&view.definition) {
            let (schema, name) = (schema.map(Name::key), name.key());
            let start = views.partition_point(|view| view.name.as_bytes() < name.as_bytes());
            let of_name = views.iter().enumerate().skip(start);
            let of_name = of_name.take_while(|(_, view)| view.name.as_bytes() == name.as_bytes());
            let is_meant = |view: &View| {
                let schema = schema.as_ref().map(Key::as_bytes);
                schema.is_none_or(|schema| schema == view.schema.as_bytes())
            };
            let meant = of_name.filter(|(under, view)| *under != over && is_meant(view));
            edges.extend(meant.map(|(under, _)| (under, over)));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}
