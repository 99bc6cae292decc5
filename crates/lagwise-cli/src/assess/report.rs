//! What is told of a workload, the same in text, in JSON and on a page.
//!
//! The sentences are made here, so that no form says more than another. Every number in them is a sum of
//! what was counted; what was assumed to get a share from it is listed with it.

use std::time::Duration;

use serde::Serialize;

use crate::format::short;

use super::sample::Sample;
use super::workload::{Apart, Fate, Judged, Share, Sum, Transactions, Workload, ratio, to_float};

/// Fewer calls say little of what a service does.
const FEW: i64 = 1_000;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Host, port and database.
    pub(super) server: String,
    pub(super) window: Window,
    pub(super) share: Shares,
    pub(super) moves: Part,
    pub(super) stays: Part,
    pub(super) hidden: Part,
    pub(super) apart: Part,
    /// Of what moves, the reads that transactions may hold on the primary.
    pub(super) held_calls: i64,
    pub(super) transactions: Begun,
    pub(super) movable: Vec<Statement>,
    pub(super) staying: Vec<Statement>,
    /// What keeps statements on the primary.
    pub(super) reasons: Vec<Reason>,
    pub(super) headline: String,
    pub(super) verdict: Vec<String>,
    pub(super) assumptions: Vec<String>,
    pub(super) caveats: Vec<String>,
}

/// What was counted for how long.
#[derive(Debug, Serialize)]
pub(super) struct Window {
    /// When the statistics were reset.
    pub(super) since: Option<String>,
    pub(super) seconds: Option<f64>,
    /// Whether it was watched for that long, or is all since the reset.
    pub(super) watched: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Shares {
    /// Of the calls of statements.
    pub(super) calls: Share,
    /// Of all execution time.
    pub(super) time: Share,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Part {
    pub(super) calls: i64,
    pub(super) seconds: f64,
    pub(super) share_of_time: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Begun {
    /// Transactions that may write; null where the server does not count them.
    pub(super) begun: Option<i64>,
    pub(super) read_only: i64,
    pub(super) assumed_reads_in_each: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) calls: i64,
    pub(super) seconds: f64,
    pub(super) share_of_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) because: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Reason {
    pub(super) because: String,
    pub(super) calls: i64,
    pub(super) seconds: f64,
    pub(super) share_of_time: f64,
}

impl Report {
    pub(super) fn new(server: &str, sample: &Sample, workload: &Workload, top: usize) -> Self {
        let all = workload.all();
        let part = |sum: Sum| Part {
            calls: sum.calls,
            seconds: sum.seconds,
            share_of_time: ratio(sum.seconds, all.seconds),
        };
        let Transactions {
            begun,
            read_only,
            reads_in_each,
        } = workload.transactions;
        let share = Shares {
            calls: workload.calls(),
            time: workload.time(),
        };
        Self {
            server: server.to_owned(),
            window: Window {
                since: sample.reset.clone(),
                seconds: sample.seconds,
                watched: sample.watched,
            },
            share,
            moves: part(workload.moves()),
            stays: part(workload.sum(|fate| matches!(fate, Fate::Stays(_)))),
            hidden: part(workload.hidden()),
            apart: part(workload.apart()),
            held_calls: workload.held(),
            transactions: Begun {
                begun,
                read_only,
                assumed_reads_in_each: reads_in_each,
            },
            movable: list(workload, top, |fate| *fate == Fate::Moves),
            staying: list(workload, top, |fate| matches!(fate, Fate::Stays(_))),
            reasons: reasons(workload, top),
            headline: headline(share, all.calls),
            verdict: verdict(share, all.calls),
            assumptions: assumptions(workload),
            caveats: caveats(sample, workload),
        }
    }

    /// One line.
    pub(super) fn as_json(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }

    /// What was looked at, and for how long.
    pub(super) fn scope(&self) -> String {
        let Window {
            since,
            seconds,
            watched,
        } = &self.window;
        let long = seconds.map(|seconds| short(duration(seconds)));
        let window = match (watched, since, long) {
            (true, _, Some(long)) => format!("watched for {long}"),
            (false, Some(since), Some(long)) => format!("since {since} ({long})"),
            _ => "since the statistics were reset".to_owned(),
        };
        format!("{}, {window}", self.server)
    }
}

fn list(workload: &Workload, top: usize, which: impl Fn(&Fate) -> bool) -> Vec<Statement> {
    let all = workload.all().seconds;
    let statement = |judged: &Judged| Statement {
        text: judged.text.clone(),
        calls: judged.calls,
        seconds: judged.seconds,
        share_of_time: ratio(judged.seconds, all),
        because: match &judged.fate {
            Fate::Stays(because) => Some(because.clone()),
            Fate::Moves | Fate::Apart(_) | Fate::Hidden => None,
        },
    };
    let found = workload.statements.iter().filter(|it| which(&it.fate));
    found.take(top).map(statement).collect()
}

fn reasons(workload: &Workload, top: usize) -> Vec<Reason> {
    let all = workload.all().seconds;
    let mut reasons: Vec<Reason> = Vec::new();
    for judged in &workload.statements {
        let Fate::Stays(because) = &judged.fate else {
            continue;
        };
        let found = reasons
            .iter_mut()
            .find(|reason| reason.because.eq_ignore_ascii_case(because));
        if let Some(reason) = found {
            reason.calls += judged.calls;
            reason.seconds += judged.seconds;
        } else {
            reasons.push(Reason {
                because: because.clone(),
                calls: judged.calls,
                seconds: judged.seconds,
                share_of_time: 0.0,
            });
        }
    }
    for reason in &mut reasons {
        reason.share_of_time = ratio(reason.seconds, all);
    }
    reasons.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    reasons.truncate(top);
    reasons
}

fn headline(share: Shares, calls: i64) -> String {
    if calls == 0 {
        return "Nothing was counted, so nothing can be said.".to_owned();
    }
    format!(
        "{} of execution time and {} of calls could move to replicas.",
        range(share.time),
        range(share.calls)
    )
}

/// What that means, in words and in what would be left to do.
fn verdict(share: Shares, calls: i64) -> Vec<String> {
    if calls == 0 {
        return Vec::new();
    }
    let time = share.time;
    let help = if time.least >= 0.5 {
        "Replicas would help much: at least half of the primary's work could leave it."
    } else if time.most < 0.1 {
        "Replicas would help little: nearly all of the work has to stay on the primary."
    } else if time.least < 0.1 {
        "Whether replicas would help depends on what is not known: see the range."
    } else {
        "Replicas would help some: a part of the primary's work could leave it."
    };
    let kept = Share {
        least: 1.0 - time.most,
        most: 1.0 - time.least,
    };
    let half = Share {
        least: time.least / 2.0,
        most: time.most / 2.0,
    };
    let left = format!(
        "With one replica, the primary would keep {} of the execution time that it spends now, and the \
         replica would take {}; of two, each would take {}.",
        range(kept),
        range(time),
        range(half)
    );
    vec![help.to_owned(), left]
}

fn assumptions(workload: &Workload) -> Vec<String> {
    let Transactions {
        begun,
        read_only,
        reads_in_each,
    } = workload.transactions;
    let mut assumed = vec![
        "A read costs a replica what it costs the primary; replicas replay as fast as the primary writes."
            .to_owned(),
        "Every read is made in a session, and one that follows a write finds a replica that has it."
            .to_owned(),
    ];
    match begun {
        None => assumed.push(
            "Any read may be in a transaction that keeps it on the primary: the server does not count \
             BEGIN (pg_stat_statements.track_utility is off)."
                .to_owned(),
        ),
        Some(0) => assumed.push("No transaction was begun that could hold reads on the primary.".to_owned()),
        Some(begun) => assumed.push(format!(
            "{} begun that may write. What is read there stays on the primary, and counts do \
             not tell how much that is: the lower figure takes it for up to {} in each (--reads-per-transaction), \
             of average cost, the higher one for none.",
            transactions(begun),
            reads(reads_in_each)
        )),
    }
    if read_only > 0 {
        let count = transactions(read_only);
        assumed.push(format!(
            "{count} begun READ ONLY: what is read there moves."
        ));
    }
    assumed
}

fn caveats(sample: &Sample, workload: &Workload) -> Vec<String> {
    let mut caveats = Vec::new();
    let (hidden, all) = (workload.hidden(), workload.all());
    let of_time = |seconds: f64| percent(ratio(seconds, all.seconds));
    if hidden.calls > 0 {
        caveats.push(format!(
            "The texts of {} of execution time are hidden from this role, and count as unknown: \
             `grant pg_read_all_stats to ..`.",
            of_time(hidden.seconds)
        ));
    }
    if let Some(evictions) = sample.evictions.filter(|&count| count > 0) {
        caveats.push(format!(
            "Rare statements are missing: entries were evicted {} times for want of room \
             (pg_stat_statements.max).",
            thousands(evictions)
        ));
    }
    if sample.elsewhere > 0.1 * all.seconds {
        caveats.push(format!(
            "Other databases of this server took {} more, which is not in here (--database NAME).",
            short(duration(sample.elsewhere))
        ));
    }
    let commits = workload.sum(|fate| *fate == Fate::Apart(Apart::Transaction));
    if commits.seconds > 0.05 * all.seconds {
        caveats.push(format!(
            "{} of execution time is that of COMMIT and its like, which stays on the primary.",
            of_time(commits.seconds)
        ));
    }
    if (1..FEW).contains(&all.calls) {
        caveats.push(format!(
            "Only {} calls were counted: too few to go by.",
            all.calls
        ));
    }
    caveats
}

fn transactions(count: i64) -> String {
    match count {
        1 => "1 transaction was".to_owned(),
        _ => format!("{} transactions were", thousands(count)),
    }
}

fn reads(count: u32) -> String {
    match count {
        1 => "one read".to_owned(),
        _ => format!("{count} reads"),
    }
}

/// `58 %`, or `33 % to 71 %` where it is not known better.
pub(super) fn range(share: Share) -> String {
    let (least, most) = (percent(share.least), percent(share.most));
    if least == most {
        most
    } else {
        format!("{least} to {most}")
    }
}

pub(super) fn percent(part: f64) -> String {
    match part * 100.0 {
        none if none <= 0.0 => "0 %".to_owned(),
        little if little < 1.0 => "<1 %".to_owned(),
        nearly if (99.0..100.0).contains(&nearly) => ">99 %".to_owned(),
        hundredths => format!("{hundredths:.0} %"),
    }
}

pub(super) fn thousands(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What a server says of time is never trusted to be a duration.
pub(super) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Seconds per call, as time.
pub(super) fn each(seconds: f64, calls: i64) -> String {
    let each = if calls > 0 {
        seconds / to_float(calls)
    } else {
        0.0
    };
    short(duration(each))
}

#[cfg(test)]
mod tests {
    use lagwise_core::Catalog;

    use super::{Report, Share, percent, range, thousands};
    use crate::assess::sample::{Counted, Key, Sample};
    use crate::assess::workload::Workload;

    fn report(sample: &Sample) -> Report {
        let workload = Workload::judge(sample, &Catalog::built_in(), 2);
        Report::new("db-1:5432/shop", sample, &workload, 10)
    }

    fn counted(text: &str, calls: i64) -> Sample {
        let mut sample = Sample::default();
        let (user, text, seconds) = (10, Some(text.to_owned()), 1.0);
        let counted = Counted {
            text,
            calls,
            seconds,
        };
        sample.add(Key { user, query: None }, counted);
        sample
    }

    #[test]
    fn what_the_counts_leave_out_is_said() {
        let mut sample = counted("select 1 from notes", 5_000);
        assert_eq!(report(&sample).caveats, [""; 0]);
        sample.evictions = Some(3);
        sample.elsewhere = 90.0;
        sample.counts_utility = Some(false);
        let report = report(&sample);
        let caveats = report.caveats.join("\n");
        assert!(caveats.contains("evicted 3 times"), "{caveats}");
        assert!(caveats.contains("took 1m 30s more"), "{caveats}");
        let assumed = report.assumptions.join("\n");
        assert!(assumed.contains("track_utility is off"), "{assumed}");
        assert_eq!(range(report.share.calls), "0 % to 100 %");
    }

    #[test]
    fn one_transaction_is_no_plural() {
        for (text, calls, expected) in [
            ("begin", 1, "1 transaction was begun that may write"),
            ("begin", 2_000, "2,000 transactions were begun that may"),
            ("begin read only", 1, "1 transaction was begun READ ONLY"),
        ] {
            let assumed = report(&counted(text, calls)).assumptions.join("\n");
            assert!(assumed.contains(expected), "{assumed}");
        }
    }

    #[test]
    fn the_verdict_is_as_sure_as_the_share() {
        let says = |text: &str, part: &str| {
            let verdict = report(&counted(text, 10)).verdict.join("\n");
            assert!(verdict.contains(part), "{text}: {verdict}");
        };
        says("select 1 from notes", "would help much");
        says("select 1 from notes", "the primary would keep 0 %");
        says("insert into notes values ($1)", "would help little");
        let nothing = report(&Sample::default());
        assert!(nothing.headline.contains("Nothing was counted") && nothing.verdict.is_empty());
    }

    #[test]
    fn what_is_not_nothing_and_not_all_is_not_shown_as_that() {
        for (part, expected) in [
            (0.0, "0 %"),
            (0.001, "<1 %"),
            (0.584, "58 %"),
            (0.996, ">99 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(part), expected);
        }
        let share = |least, most| range(Share { least, most });
        assert_eq!(share(0.5, 0.5), "50 %");
        assert_eq!(share(0.333, 0.714), "33 % to 71 %");
    }

    #[test]
    fn large_numbers_are_cut_into_threes() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), expected);
        }
    }
}
