//! The report as one page that needs nothing else: to send around, to print, to read on a phone.
//!
//! No script, no font, no image and no address is in it. What servers and users wrote is text and
//! nothing else.

use std::fmt::{self, Write as _};

use crate::format::short;
use crate::printable::Printable;

use super::chart;
use super::report::{Reason, Report, Statement, duration, each, percent, thousands};

const STYLE: &str = include_str!("page.css");

pub(super) fn render(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Would replicas help? {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{HATCH}<main>\n\
         <p class=\"scope\">{}</p>\n<h1>{}</h1>\n",
        Escaped(&report.server),
        Escaped(&report.scope()),
        prose(&report.headline),
    );
    for line in &report.verdict {
        // A string takes whatever is written.
        writeln!(page, "<p class=\"verdict\">{}</p>", prose(line)).ok();
    }
    if !report.verdict.is_empty() {
        page.push_str("<section class=\"charts\">\n");
        page.push_str(&chart::bar("Execution time", &chart::of_time(report)));
        page.push_str(&chart::bar("Calls of statements", &chart::of_calls(report)));
        page.push_str("</section>\n");
    }
    statements(&mut page, "What could move", "moves", &report.movable);
    statements(
        &mut page,
        "What stays on the primary",
        "stays",
        &report.staying,
    );
    reasons(&mut page, &report.reasons);
    points(&mut page, "What is assumed", &report.assumptions);
    points(&mut page, "What to mind", &report.caveats);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// The pattern of what may be one thing or the other.
const HATCH: &str = "<svg width=\"0\" height=\"0\" style=\"position:absolute\" aria-hidden=\"true\"><defs>\
    <pattern id=\"hatch\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
    <rect class=\"hatch-ground\" width=\"8\" height=\"8\"/><rect class=\"hatch-line\" width=\"4\" height=\"8\"/>\
    </pattern></defs></svg>\n";

fn statements(page: &mut String, title: &str, class: &str, statements: &[Statement]) {
    let Some(first) = statements.first() else {
        return;
    };
    writeln!(
        page,
        "<section>\n<h2>{title}</h2>\n<ol class=\"statements\">"
    )
    .ok();
    for statement in statements {
        let meter = chart::meter(class, statement.share_of_time, first.share_of_time);
        write!(
            page,
            "<li><p class=\"figures\"><span><b>{}</b> of time</span> <span>{}</span> <span>{}</span> \
             <span>{} each</span></p>\n{meter}\n<pre><code>{}</code></pre>\n",
            percent(statement.share_of_time).replace('<', "&lt;"),
            calls(statement.calls),
            short(duration(statement.seconds)),
            each(statement.seconds, statement.calls),
            Escaped(&statement.text),
        )
        .ok();
        if let Some(because) = &statement.because {
            writeln!(page, "<p class=\"because\">{}</p>", Escaped(because)).ok();
        }
        page.push_str("</li>\n");
    }
    page.push_str("</ol>\n</section>\n");
}

fn calls(count: i64) -> String {
    match count {
        1 => "1 call".to_owned(),
        _ => format!("{} calls", thousands(count)),
    }
}

fn reasons(page: &mut String, reasons: &[Reason]) {
    let Some(largest) = reasons.first() else {
        return;
    };
    page.push_str(
        "<section>\n<h2>What keeps statements on the primary</h2>\n<table>\n\
         <thead><tr><th>Reason</th><th class=\"number\">Calls</th><th class=\"number\">Of time</th></tr></thead>\n<tbody>\n",
    );
    for reason in reasons {
        let meter = chart::meter("stays", reason.share_of_time, largest.share_of_time);
        writeln!(
            page,
            "<tr><td>{}{meter}</td><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
            Escaped(&reason.because),
            thousands(reason.calls),
            Escaped(&percent(reason.share_of_time)),
        )
        .ok();
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
}

fn points(page: &mut String, title: &str, points: &[String]) {
    if points.is_empty() {
        return;
    }
    writeln!(page, "<section>\n<h2>{title}</h2>\n<ul>").ok();
    for point in points {
        writeln!(page, "<li>{}</li>", prose(point)).ok();
    }
    page.push_str("</ul>\n</section>\n");
}

/// A sentence of ours, in which no figure parts from its unit.
fn prose(text: &str) -> String {
    Escaped(text).to_string().replace(" %", "\u{a0}%")
}

/// Text that is nothing but text on a page.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in Printable(self.0).to_string().chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn what_others_wrote_is_text_and_nothing_else() {
        let hostile = "</pre><script src='//evil'>&\"\u{202e}";
        let shown = Escaped(hostile).to_string();
        assert_eq!(
            shown,
            "&lt;/pre&gt;&lt;script src=&#39;//evil&#39;&gt;&amp;&quot;\\u{202e}"
        );
    }
}
