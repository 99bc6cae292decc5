//! How findings are printed, and durations and amounts as people write and read them.
//!
//! Numbers for programs are base units, without rounding; numbers for people are short. What is
//! unknown is said to be.

use std::time::Duration;

use clap::ValueEnum;

/// What to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    #[value(alias = "jsonl")]
    Json,
}

/// A duration of the command line: `750ms`, `2s`, `1m30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "write a number and its unit, such as 750ms or 2s".to_owned())
}

/// An amount of bytes of the command line: `512`, `64kB`, `16MB`, `1GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = UNITS
        .iter()
        .find(|(names, _)| {
            names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(unit.trim()))
        })
        .map(|(_, factor)| *factor);
    let number: Option<u64> = number.parse().ok();
    number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .ok_or_else(|| {
            "write a number of bytes, or one with kB, MB, GB or TB, such as 16MB".to_owned()
        })
}

/// As PostgreSQL has it: each is 1024 of the one before.
const UNITS: [(&[&str], u64); 5] = [
    (&["", "B"], 1),
    (&["kB", "KiB", "K"], 1 << 10),
    (&["MB", "MiB", "M"], 1 << 20),
    (&["GB", "GiB", "G"], 1 << 30),
    (&["TB", "TiB", "T"], 1 << 40),
];

/// Three digits and a unit: `0.4ms`, `12ms`, `1.25s`, `3m 5s`, `2h 3m`, `4d 1h`.
pub(crate) fn short(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.as_secs_f64() * 1e3);
    match seconds {
        0 if millis < 0.0005 => "0ms".to_owned(),
        0 if millis < 1.0 => format!("{millis:.2}ms"),
        0 if millis < 10.0 => format!("{millis:.1}ms"),
        0 => format!("{:.0}ms", millis.floor()),
        1..10 => format!("{:.2}s", (duration.as_secs_f64() * 1e2).floor() / 1e2),
        10..60 => format!("{:.1}s", (duration.as_secs_f64() * 1e1).floor() / 1e1),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// [`short`], and never less than the duration: for the most that something can be.
pub(crate) fn short_most(duration: Duration) -> String {
    let digit = match duration.as_secs() {
        0 if duration < Duration::from_millis(1) => Duration::from_micros(10),
        0 if duration < Duration::from_millis(10) => Duration::from_micros(100),
        0 => Duration::from_millis(1),
        1..10 => Duration::from_millis(10),
        10..60 => Duration::from_millis(100),
        60..3600 => Duration::from_secs(1),
        3600..86_400 => Duration::from_secs(60),
        _ => Duration::from_secs(3600),
    };
    let digit = digit.as_nanos();
    let nanos = duration.as_nanos().div_ceil(digit).saturating_mul(digit);
    short(Duration::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ))
}

/// Bytes with a unit, as `pg_size_pretty` chooses it: `0 B`, `312 B`, `24 kB`, `1.5 MB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(crate) fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    let mut units = ["kB", "MB", "GB"].into_iter();
    if bytes < 10 << 10 {
        return format!("{bytes} B");
    }
    amount /= 1024.0;
    let mut unit = units.next().unwrap_or("kB");
    while amount >= 1000.0 {
        let Some(next) = units.next() else { break };
        amount /= 1024.0;
        unit = next;
    }
    if amount < 10.0 {
        format!("{amount:.1} {unit}")
    } else {
        format!("{amount:.0} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_and_never_rounded_up_over_a_limit() {
        for (millis, expected) in [
            (0.0, "0ms"),
            (0.4, "0.40ms"),
            (1.5, "1.5ms"),
            (999.9, "999ms"),
            (1_259.0, "1.25s"),
            (59_990.0, "59.9s"),
            (185_000.0, "3m 5s"),
            (7_380_000.0, "2h 3m"),
            (349_200_000.0, "4d 1h"),
        ] {
            assert_eq!(short(Duration::from_secs_f64(millis / 1e3)), expected);
        }
    }

    #[test]
    fn the_most_of_a_duration_is_rounded_up() {
        for (micros, expected) in [
            (0, "0ms"),
            (401, "0.41ms"),
            (1_510, "1.6ms"),
            (12_001, "13ms"),
            (12_000, "12ms"),
            (1_251_000, "1.26s"),
            (59_990_000, "1m 0s"),
            (185_000_001, "3m 6s"),
        ] {
            assert_eq!(short_most(Duration::from_micros(micros)), expected);
        }
    }

    #[test]
    fn amounts_are_read_and_shown_in_units_of_1024() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("16MB"), Ok(16 << 20));
        assert_eq!(bytes("1gib"), Ok(1 << 30));
        assert!(bytes("a lot").is_err() && bytes("99999999999TB").is_err());
        assert_eq!(size(0), "0 B");
        assert_eq!(size(10 << 10), "10 kB");
        assert_eq!(size(16 << 20), "16 MB");
        assert_eq!(size(3 << 29), "1.5 GB");
    }
}
