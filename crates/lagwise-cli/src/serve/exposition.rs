//! Figures in the text of Prometheus, or of OpenMetrics.
//!
//! The two differ in how the family of a counter is called, in units and in the end; here is all of
//! that, and none of what is measured. They are described at
//! <https://prometheus.io/docs/instrumenting/exposition_formats/> and
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::fmt::Write as _;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    OpenMetrics,
    Prometheus,
}

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// Labels that say something of a thing; its value is always 1.
    Info,
}

/// Figures of one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// Without `_total` or `_info`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// Names and values; an empty value is as good as no label.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Grammar {
    /// What an `Accept` header likes best; the older one where it does not say.
    pub(super) fn accepted(header: &str) -> Self {
        let mut best = (Self::Prometheus, 0.0);
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let grammar = match parts.next() {
                Some("application/openmetrics-text") => Self::OpenMetrics,
                _ => Self::Prometheus,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let weight: f64 = weight.map_or(Some(1.0), |q| q.parse().ok()).unwrap_or(0.0);
            let better = weight > best.1;
            let as_good = weight >= best.1 && weight > 0.0 && grammar == Self::OpenMetrics;
            if better || as_good {
                best = (grammar, weight);
            }
        }
        best.0
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Family {
    /// The name that its figures have.
    pub(super) fn sample_name(&self) -> String {
        let ending = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Info => "_info",
        };
        format!("{}{ending}", self.name)
    }

    /// The base unit that its name ends with.
    fn unit(&self) -> Option<&'static str> {
        let ends = |unit: &&str| self.name.ends_with(&format!("_{unit}"));
        ["bytes", "seconds"].into_iter().find(ends)
    }
}

/// A text in the making.
#[derive(Debug)]
pub(super) struct Exposition {
    grammar: Grammar,
    text: String,
}

impl Exposition {
    pub(super) fn new(grammar: Grammar) -> Self {
        Self {
            grammar,
            text: String::with_capacity(16 << 10),
        }
    }

    /// Adds a family, unless it has no figures.
    pub(super) fn add<'a>(
        &mut self,
        family: &Family,
        samples: impl IntoIterator<Item = (Vec<(&'static str, &'a str)>, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.open(family);
        let name = family.sample_name();
        for (labels, value) in samples {
            self.sample(&name, &labels, value);
        }
    }

    fn open(&mut self, family: &Family) {
        let sample_name = family.sample_name();
        let (name, kind) = match (self.grammar, family.kind) {
            (Grammar::OpenMetrics, Kind::Counter) => (family.name, "counter"),
            (Grammar::OpenMetrics, Kind::Info) => (family.name, "info"),
            (Grammar::Prometheus, Kind::Counter) => (sample_name.as_str(), "counter"),
            (Grammar::Prometheus, Kind::Info) => (sample_name.as_str(), "gauge"),
            (_, Kind::Gauge) => (family.name, "gauge"),
        };
        let unit = family
            .unit()
            .filter(|_| self.grammar == Grammar::OpenMetrics);
        self.line(format_args!("# TYPE {name} {kind}"));
        if let Some(unit) = unit {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.line(format_args!("# HELP {name} {}", family.help));
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.text.push_str(name);
        let mut opening = '{';
        for (label, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            self.text.push(opening);
            self.text.push_str(label);
            self.text.push_str("=\"");
            self.text.extend(value.chars().flat_map(Escaped::of));
            self.text.push('"');
            opening = ',';
        }
        if opening == ',' {
            self.text.push('}');
        }
        if value.is_infinite() {
            let sign = if value > 0.0 { '+' } else { '-' };
            self.line(format_args!(" {sign}Inf"));
        } else {
            self.line(format_args!(" {value}"));
        }
    }

    fn line(&mut self, arguments: std::fmt::Arguments<'_>) {
        // A text can always be written to.
        writeln!(self.text, "{arguments}").ok();
    }

    /// The whole text.
    pub(super) fn end(mut self) -> String {
        if self.grammar == Grammar::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// A character of a label's value as it is written.
struct Escaped;

impl Escaped {
    fn of(letter: char) -> impl Iterator<Item = char> {
        let (first, second) = match letter {
            '\n' => ('\\', Some('n')),
            '"' | '\\' => ('\\', Some(letter)),
            _ => (letter, None),
        };
        std::iter::once(first).chain(second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: Family = Family {
        name: "x_events",
        kind: Kind::Counter,
        help: "What happened.",
    };
    const LAG: Family = Family {
        name: "x_lag_seconds",
        kind: Kind::Gauge,
        help: "Behind.",
    };
    const BUILD: Family = Family {
        name: "x_build",
        kind: Kind::Info,
        help: "Which.",
    };

    fn text(grammar: Grammar) -> String {
        let mut exposition = Exposition::new(grammar);
        exposition.add(&EVENTS, [(vec![("node", "a\"\\\nb"), ("cause", "")], 3.0)]);
        exposition.add(&LAG, [(vec![], f64::NAN), (vec![("node", "b")], 0.0125)]);
        exposition.add(&BUILD, [(vec![("version", "1")], 1.0)]);
        exposition.add(&EVENTS, []);
        exposition.end()
    }

    #[test]
    fn the_text_of_prometheus_names_a_counter_as_its_figures_are_named() {
        let expected = "# TYPE x_events_total counter\n# HELP x_events_total What happened.\n\
             x_events_total{node=\"a\\\"\\\\\\nb\"} 3\n\
             # TYPE x_lag_seconds gauge\n# HELP x_lag_seconds Behind.\n\
             x_lag_seconds NaN\nx_lag_seconds{node=\"b\"} 0.0125\n\
             # TYPE x_build_info gauge\n# HELP x_build_info Which.\nx_build_info{version=\"1\"} 1\n";
        assert_eq!(text(Grammar::Prometheus), expected);
    }

    #[test]
    fn open_metrics_has_units_and_an_end_and_names_the_family_alone() {
        let expected = "# TYPE x_events counter\n# HELP x_events What happened.\n\
             x_events_total{node=\"a\\\"\\\\\\nb\"} 3\n\
             # TYPE x_lag_seconds gauge\n# UNIT x_lag_seconds seconds\n# HELP x_lag_seconds Behind.\n\
             x_lag_seconds NaN\nx_lag_seconds{node=\"b\"} 0.0125\n\
             # TYPE x_build info\n# HELP x_build Which.\nx_build_info{version=\"1\"} 1\n# EOF\n";
        assert_eq!(text(Grammar::OpenMetrics), expected);
    }

    #[test]
    fn what_is_liked_best_is_given() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (header, expected) in [
            (prometheus, Grammar::OpenMetrics),
            (
                "application/openmetrics-text; version=1.0.0",
                Grammar::OpenMetrics,
            ),
            ("", Grammar::Prometheus),
            ("*/*", Grammar::Prometheus),
            ("text/html,*/*;q=0.8", Grammar::Prometheus),
            ("application/openmetrics-text;q=0", Grammar::Prometheus),
            (
                "text/plain, application/openmetrics-text;q=0.4",
                Grammar::Prometheus,
            ),
        ] {
            assert_eq!(Grammar::accepted(header), expected, "{header}");
        }
    }
}
