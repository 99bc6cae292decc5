//! A run on 80 columns: guarantees by faults, the figures, and each breach with its history.
//!
//! It only shows what the verdict says; a cell counts the breaches whose operation began in the phase.

use std::fmt;

use crate::checker::{Breach, Guarantee};
use crate::history::Entry;
use crate::run::{Phase, Record};

/// What the columns are.
const LEGEND: &str = "
ryw: own writes  mr: monotonic reads  wfr: writes follow reads  frk: one history
los: nothing lost  sil: losses are told  hng: no end  old: staleness  off: share";

/// How many breaches are told in full.
const TOLD: usize = 5;

/// How many operations of the session on the key are shown before the one that breaks a promise.
const BEFORE: usize = 4;

/// A record, for people.
#[derive(Debug)]
pub struct Report<'a>(pub &'a Record);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, f)
    }
}

fn write(record: &Record, text: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(text, "{:<31}{:>6}", "fault", "ops")?;
    for guarantee in Guarantee::ALL {
        write!(text, "{:>4}", guarantee.short())?;
    }
    writeln!(text, "{:>6}", "off%")?;
    for phase in &record.phases {
        row(record, phase, text)?;
    }
    writeln!(text, "{LEGEND}")?;
    figures(record, text)?;
    for breach in record.verdict.breaches.iter().take(TOLD) {
        tell(record, breach, text)?;
    }
    let untold = record.verdict.breaches.len().saturating_sub(TOLD);
    if untold > 0 {
        writeln!(text, "... and {untold} breaches more")?;
    }
    Ok(())
}

fn row(record: &Record, phase: &Phase, text: &mut fmt::Formatter<'_>) -> fmt::Result {
    let within = |entry: &Entry| entry.began >= phase.from && entry.began < phase.until;
    let operations = record.entries.iter().filter(|entry| within(entry)).count();
    write!(text, "{:<31.31}{operations:>6}", phase.name)?;
    for guarantee in Guarantee::ALL {
        let here = |breach: &&Breach| breach.guarantee == guarantee && within(&breach.entry);
        let count = record.verdict.breaches.iter().filter(here).count();
        write!(text, "{count:>4}")?;
    }
    match record.share(phase) {
        Some(share) => writeln!(text, "{share:>6}"),
        None => writeln!(text, "{:>6}", "-"),
    }
}

fn figures(record: &Record, text: &mut fmt::Formatter<'_>) -> fmt::Result {
    let verdict = &record.verdict;
    let share = (verdict.off_primary * 100).checked_div(verdict.reads);
    let healthy = record.healthy_share();
    let figures = [
        ("operations", verdict.operations.to_string()),
        ("writes acknowledged", verdict.writes.to_string()),
        ("reads answered", verdict.reads.to_string()),
        ("reads off the primary, %", or_dash(share)),
        ("... in the healthy phase", or_dash(healthy)),
        ("refused", verdict.failed.to_string()),
        ("writes of unknown outcome", verdict.unknown.to_string()),
        (
            "writes the failover lost",
            verdict.lost_by_cluster.to_string(),
        ),
        ("reads that missed those", verdict.missed_lost.to_string()),
        (
            "reads back to the primary",
            verdict.back_to_primary.to_string(),
        ),
        (
            "longest operation, s",
            format!("{:.3}", verdict.longest.as_secs_f64()),
        ),
        ("breaches", verdict.breaches.len().to_string()),
        ("seed", record.plan.seed.to_string()),
    ];
    writeln!(text)?;
    for (name, figure) in figures {
        writeln!(text, "{name:<30}{figure:>6}")?;
    }
    Ok(())
}

fn or_dash(share: Option<usize>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| share.to_string())
}

/// A breach, and what its session did with the key before it.
fn tell(record: &Record, breach: &Breach, text: &mut fmt::Formatter<'_>) -> fmt::Result {
    let last = &breach.entry;
    writeln!(text)?;
    writeln!(
        text,
        "{:?}, session {}: {}",
        breach.guarantee, last.session, breach.what
    )?;
    let same = |entry: &&Entry| {
        entry.session == last.session && entry.key == last.key && entry.order <= last.order
    };
    let thread: Vec<&Entry> = record.entries.iter().filter(same).collect();
    let from = thread.len().saturating_sub(BEFORE + 1);
    for entry in &thread[from..] {
        writeln!(text, "{entry}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::checker::Verdict;
    use crate::history::{Ending, Op, Outcome};
    use crate::plan::Plan;
    use crate::service::Service;

    /// As wide as an entry gets in a run of minutes.
    fn entry() -> Entry {
        Entry {
            session: 16,
            order: 12_345,
            op: Op::Write,
            key: 6,
            version: 12_345,
            nonce: "16-12345".to_owned(),
            began: Duration::from_secs(1_000),
            ended: Duration::from_secs(1_005),
            outcome: Outcome::Ok,
            node: "replica-2".to_owned(),
            instance: 2,
            staleness: None,
            lost: true,
        }
    }

    #[test]
    fn a_report_fits_80_columns_and_shows_what_led_to_a_breach() {
        let breach = |guarantee| Breach {
            guarantee,
            entry: entry(),
            what: "it knew version 12345 and then wrote 12344".to_owned(),
        };
        let verdict = Verdict {
            breaches: Guarantee::ALL.map(breach).to_vec(),
            ..Verdict::default()
        };
        let record = Record {
            plan: Plan::new(Service::Naive, PathBuf::new()),
            phases: vec![Phase {
                name: "restart primary+freeze server 1".to_owned(),
                from: Duration::ZERO,
                until: Duration::from_secs(2_000),
            }],
            entries: vec![entry()],
            ending: Ending::default(),
            verdict,
        };
        let text = Report(&record).to_string();
        let wide = |line: &&str| line.chars().count() > 80;
        assert_eq!(text.lines().find(wide), None, "no line is wider");
        let thread = "s16 write k6 v12345 Ok 16-12345 on replica-2 by i2 lost";
        assert!(text.contains(thread), "the operation is told\n{text}");
        assert!(
            text.contains("... and 4 breaches more"),
            "the rest is counted\n{text}"
        );
        let row = "freeze server 1     1   1   1   1   1   1   1   1   1   1     -";
        assert!(text.contains(row), "each is in its column\n{text}");
    }
}
