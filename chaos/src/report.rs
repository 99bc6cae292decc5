//! A run on 120 columns: guarantees and times by faults, the figures, and each breach with its history.
//!
//! It only shows what the verdict and the times say; a cell counts what ended in the phase, since a
//! fault is met by what was under way when it began.

use std::fmt;
use std::time::Duration;

use crate::checker::{Breach, Guarantee};
use crate::history::{Entry, Failover, Outcome};
use crate::run::{Phase, Record};
use crate::times::Times;

mod json;

pub use self::json::json;

/// What the columns are.
const LEGEND: &str = "
ryw: own writes  mr: monotonic reads  wfr: writes follow reads  frk: one history, nothing to an old primary
los: nothing lost  sil: losses are told  hng: no end  old: staleness  off: share  off%: reads off the primary
noticed: from the fault till an instance had the node out, or the new primary (from when that took writes)
well: from the end of the fault till the node was back, or from the new primary's first moment to a write
in milliseconds over all instances: least, median, most; -: nothing to notice, never: not by all in time";

/// How many breaches are told in full.
const TOLD: usize = 5;

/// How wide the column of faults is.
const NAME: usize = 30;

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
    let (noticed, well) = ("noticed, ms", "well again, ms");
    writeln!(text, "{:81}{noticed:^19}{well:^19}", "")?;
    write!(text, "{:<30}{:>6}{:>6}", "fault", "ops", "err")?;
    for guarantee in Guarantee::ALL {
        write!(text, "{:>4}", guarantee.short())?;
    }
    write!(text, "{:>5}", "off%")?;
    for figure in ["min", "med", "max", "min", "med", "max"] {
        write!(text, "{figure:>6}")?;
    }
    writeln!(text)?;
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
    let counts = Counts::of(record, phase);
    // A pair may be longer than its column; what was wrong has to be readable all the same.
    if phase.name.chars().count() > NAME {
        writeln!(text, "{}", phase.name)?;
        write!(text, "{:<NAME$}", "")?;
    } else {
        write!(text, "{:<NAME$}", phase.name)?;
    }
    write!(text, "{:>6}{:>6}", counts.operations, counts.errors)?;
    for count in counts.breaches {
        write!(text, "{count:>4}")?;
    }
    write!(text, "{:>5}", or_dash(record.share(phase)))?;
    for times in record.times(phase) {
        cells(&times, text)?;
    }
    writeln!(text)
}

/// The least, the median and the most of some times.
fn cells(times: &Times, text: &mut fmt::Formatter<'_>) -> fmt::Result {
    let figures = times.figures().map(|figures| figures.map(millis));
    let [least, median, most] = figures.unwrap_or_else(|| ["-", "-", "-"].map(ToOwned::to_owned));
    let most = match times.missing {
        0 => most,
        _ => "never".to_owned(),
    };
    write!(text, "{least:>6}{median:>6}{most:>6}")
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// What can be counted of a phase.
struct Counts {
    operations: usize,
    errors: usize,
    /// In the order of [`Guarantee::ALL`].
    breaches: [usize; Guarantee::ALL.len()],
}

impl Counts {
    fn of(record: &Record, phase: &Phase) -> Self {
        let within = |entry: &Entry| entry.ended >= phase.from && entry.ended < phase.until;
        let entries = || record.entries.iter().filter(|entry| within(entry));
        let failed = |entry: &&Entry| entry.outcome != Outcome::Ok;
        Self {
            operations: entries().count(),
            errors: entries().filter(failed).count(),
            breaches: Guarantee::ALL.map(|guarantee| {
                let here =
                    |breach: &&Breach| breach.guarantee == guarantee && within(&breach.entry);
                record.verdict.breaches.iter().filter(here).count()
            }),
        }
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
            "writes the failovers lost",
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

/// A breach, and what its session did with the key before it, and around a change of the primary.
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
    let before = |failover: &&Failover| failover.killed <= last.ended;
    if let Some(failover) = record.ending.failovers.iter().rev().find(before) {
        writeln!(text, "{failover}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::checker::Verdict;
    use crate::history::{Ending, Op};
    use crate::plan::Plan;
    use crate::service::Service;
    use crate::watch::Views;

    struct Shown(Times);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            cells(&self.0, f)
        }
    }

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

    fn phase(name: &str) -> Phase {
        Phase {
            name: name.to_owned(),
            from: Duration::ZERO,
            until: Duration::from_secs(2_000),
            injuries: Vec::new(),
        }
    }

    #[test]
    fn a_report_fits_120_columns_and_shows_what_led_to_a_breach() {
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
            phases: vec![
                phase("restart-primary"),
                phase("freeze-server 1 + restart-primary"),
            ],
            views: Views::default(),
            entries: vec![entry()],
            ending: Ending::default(),
            verdict,
        };
        let text = Report(&record).to_string();
        let wide = |line: &&str| line.chars().count() > 120;
        assert_eq!(text.lines().find(wide), None, "no line is wider");
        let thread = "s16 write k6 v12345 Ok 16-12345 on replica-2 by i2 lost";
        assert!(text.contains(thread), "the operation is told\n{text}");
        assert!(
            text.contains("... and 4 breaches more"),
            "the rest is counted\n{text}"
        );
        let cells = "     1     0   1   1   1   1   1   1   1   1   1    -     -     -     -";
        let row = format!("restart-primary               {cells}");
        assert!(text.contains(&row), "each is in its column\n{text}");
        let row = format!("freeze-server 1 + restart-primary\n{:30}{cells}", "");
        assert!(text.contains(&row), "a long name has a line\n{text}");
    }

    #[test]
    fn whoever_did_not_notice_is_told() {
        let millis = Duration::from_millis;
        let shown = |missing| {
            let times = Times {
                taken: vec![millis(5), millis(90), millis(1200)],
                missing,
            };
            Shown(times).to_string()
        };
        assert_eq!(shown(0), "     5    90  1200");
        assert_eq!(shown(1), "     5    90 never");
    }
}
