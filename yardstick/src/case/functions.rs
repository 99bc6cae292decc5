//! What single functions take, as Criterion has measured them in the run before this one.
//!
//! It leaves its estimates in files, and whoever runs it removes those of earlier runs. Measuring is the
//! business of `benches`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Result;
use crate::figure::{Figure, Unit};

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    confidence_interval: Interval,
    point_estimate: f64,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// The figures of all benchmarks below a folder.
pub(super) fn read(folder: &Path) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for found in benchmarks(folder)? {
        let benchmark: Benchmark = parsed(&found.join("benchmark.json"))?;
        let Estimates { median } = parsed(&found.join("estimates.json"))?;
        let bounds = median.confidence_interval;
        let rounds = [
            bounds.lower_bound,
            median.point_estimate,
            bounds.upper_bound,
        ];
        let name = format!("function/{}", benchmark.full_id);
        figures.push(Figure::of(name, Unit::Ns, &rounds));
    }
    figures.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(figures)
}

fn parsed<T: for<'a> Deserialize<'a>>(file: &Path) -> Result<T> {
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}

/// The folders of the last run of each benchmark.
fn benchmarks(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.ends_with("new") && path.join("estimates.json").is_file() {
                found.push(path);
            } else if path.is_dir() {
                open.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_criterion_left_is_read() {
        let folder = std::env::temp_dir().join(format!("lagwise-criterion-{}", std::process::id()));
        let new = folder.join("select/8/new");
        fs::create_dir_all(&new).unwrap();
        fs::write(
            new.join("benchmark.json"),
            r#"{"group_id":"select","full_id":"select/8"}"#,
        )
        .unwrap();
        let median = r#"{"median":{"confidence_interval":{"lower_bound":40.0,"upper_bound":44.0},"point_estimate":41.5}}"#;
        fs::write(new.join("estimates.json"), median).unwrap();
        let figures = read(&folder).unwrap();
        assert_eq!(figures.len(), 1);
        assert_eq!(
            (figures[0].name.as_str(), figures[0].value),
            ("function/select/8", 41.5)
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
