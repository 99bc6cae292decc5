//! How figures are told: as a table for people, or as one JSON object.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::Result;
use crate::case::Case;
use crate::figure::{Figure, Unit};

/// What was found so far.
pub(crate) struct Report {
    json: Option<Map<String, Value>>,
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json: json.then(Map::new),
            missed: Vec::new(),
        }
    }

    /// Takes in the figures of a case; people are shown them at once.
    pub(crate) fn add(&mut self, case: Case, figures: Vec<Figure>) -> Result<()> {
        let missed = figures.iter().filter(|figure| !figure.holds());
        self.missed.extend(missed.map(|figure| figure.name.clone()));
        match &mut self.json {
            Some(all) => {
                for figure in figures {
                    all.insert(figure.name.clone(), object(&figure)?);
                }
            }
            None => writeln!(stdout(), "{}\n{}", case.told(), table(&figures))?,
        }
        Ok(())
    }

    /// The end of the report: a goal that a busy machine does not reach is told, and fails nothing.
    pub(crate) fn end(self) -> Result<ExitCode> {
        if let Some(all) = self.json {
            writeln!(stdout(), "{}", serde_json::to_string_pretty(&all)?)?;
        } else {
            for name in self.missed {
                writeln!(stdout(), "goal missed: {name}")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `{"ratio": 1.02, "low": 1.01, "high": 1.04, "rounds": 20}`.
fn object(figure: &Figure) -> Result<Value> {
    let mut object = serde_json::to_value(figure)?;
    let unit = serde_json::to_value(figure.unit)?;
    object[unit.as_str().unwrap_or("value")] = json!(figure.value);
    Ok(object)
}

/// A Markdown table.
fn table(figures: &[Figure]) -> String {
    let mut text = String::from("| figure | median | quartiles | goal |\n|---|---|---|---|\n");
    for figure in figures {
        let show = |value| shown(value, figure.unit);
        let goal = figure.at_most.map(|goal| format!("≤ {}", show(goal)));
        text += &format!(
            "| {} | {} | {} to {} | {} |\n",
            figure.name,
            show(figure.value),
            show(figure.low),
            show(figure.high),
            goal.unwrap_or_default()
        );
    }
    text
}

fn shown(value: f64, unit: Unit) -> String {
    let digits = match value.abs() {
        small if small < 10.0 => 2,
        middle if middle < 1000.0 => 1,
        _ => 0,
    };
    let unit = match unit {
        Unit::Ratio => "×",
        Unit::Ns => "ns",
        Unit::Us => "µs",
        Unit::Ms => "ms",
        Unit::PerSecond => "/s",
        Unit::Percent => "%",
        Unit::Instructions => "instructions",
        Unit::Allocations => "allocations",
        Unit::Bytes => "bytes",
        Unit::Count => "",
    };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_an_object_under_its_unit() {
        let figure = Figure::of("x", Unit::Instructions, &[7.0]).at_most(9.0);
        let object = object(&figure).expect("it is data");
        assert_eq!(object["instructions"], 7.0);
        assert_eq!(object["at_most"], 9.0);
        assert!(table(&[figure]).contains("| x | 7.00 instructions | "));
    }
}
