//! Named services: what a connection string leaves to a file.
//!
//! `service=shop` means the section `[shop]` of the user's file, or else of the system's. Where those
//! are is as libpq has it: `PGSERVICEFILE` or `~/.pg_service.conf`, and `pg_service.conf` in
//! `PGSYSCONFDIR`. See "The Connection Service File" in the PostgreSQL manual.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the service of this name says, by libpq's names of settings.
pub(super) fn settings(service: &str) -> Result<BTreeMap<String, String>, String> {
    let files: Vec<PathBuf> = files().collect();
    for file in &files {
        let Ok(text) = std::fs::read_to_string(file) else {
            continue;
        };
        if let Some(settings) = section(&text, service)? {
            return Ok(settings);
        }
    }
    let files: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    Err(format!(
        "the service {service:?} is in none of {}: add a section [{service}], or set PGSERVICEFILE",
        files.join(", ")
    ))
}

fn files() -> impl Iterator<Item = PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let own = folder("PGSERVICEFILE").or_else(|| Some(folder("HOME")?.join(".pg_service.conf")));
    let system = folder("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".into());
    own.into_iter().chain([system.join("pg_service.conf")])
}

/// The pairs below `[service]`, if the text has such a line.
fn section(text: &str, service: &str) -> Result<Option<BTreeMap<String, String>>, String> {
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            if found.is_some() {
                break;
            }
            found = (name == service).then(BTreeMap::new);
        } else if let Some(settings) = &mut found {
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| format!("a line of the service {service:?} is no `key=value`"))?;
            settings.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::section;

    const FILE: &str =
        "# ours\n[other]\nhost=db-9\n\n[shop]\nhost=db-1,db-2\nport = 5433\n[last]\nuser=x\n";

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let shop = section(FILE, "shop")
            .expect("it is well")
            .expect("it is there");
        let pairs: Vec<(&str, &str)> = shop
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(pairs, [("host", "db-1,db-2"), ("port", "5433")]);
        assert_eq!(section(FILE, "none").expect("it is well"), None);
    }

    #[test]
    fn a_line_that_is_no_pair_is_refused_without_being_shown() {
        let refusal = section("[shop]\ns3cret\n", "shop").expect_err("it is no pair");
        assert!(
            refusal.contains("shop") && !refusal.contains("s3cret"),
            "{refusal}"
        );
    }
}
