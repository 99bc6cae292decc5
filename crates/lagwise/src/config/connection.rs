//! Connection strings as libpq takes them: a URL or `key=value` pairs, one host or several, a named
//! service.
//!
//! What stands in the text goes before what its service says, and that before the environment
//! (`PGHOST`, `PGPASSWORD` and so on); a password that is nowhere else is looked for in the password
//! file. What would weaken a connection if it were ignored is refused. No message repeats the text:
//! it may hold a password. Which of several hosts is the primary is found by asking them.
//!
//! See "Connection Strings" in the PostgreSQL manual, chapter "libpq".

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr as _;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::postgres::PgConnectOptions;

use super::service;

/// One server that a connection string names.
#[derive(Clone)]
pub(super) struct Target {
    /// What people call it: its host, and its port where that is not the usual one.
    pub(super) name: String,
    pub(super) options: PgConnectOptions,
}

/// The settings of a connection, by libpq's names.
type Settings = BTreeMap<String, String>;

/// The servers of a connection string, in its order; at least one.
pub(super) fn targets(text: &str) -> Result<Vec<Target>, String> {
    let mut settings = if is_url(text) {
        from_url(text)?
    } else {
        from_pairs(text)?
    };
    let service = settings
        .remove("service")
        .or_else(|| variable("PGSERVICE").filter(|_| !settings.contains_key("host")));
    if let Some(service) = service {
        for (key, value) in service::settings(&service)? {
            settings.entry(key).or_insert(value);
        }
    }
    for key in settings.keys() {
        check(key)?;
    }
    hosts(&settings)?
        .into_iter()
        .map(|host| target(&settings, host))
        .collect()
}

fn is_url(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| text.starts_with(scheme))
}

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// `postgres://user:password@host:port,host:port/database?key=value`.
fn from_url(text: &str) -> Result<Settings, String> {
    let rest = SCHEMES
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .unwrap_or_default();
    let beyond = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(beyond);
    // Of such a text it is not certain where the password ends.
    if tail.contains('@') || authority.matches('@').count() > 1 || tail.contains('#') {
        return Err(
            "a `/`, `?`, `#` or `@` in its user or password is written %2F, %3F, %23, %40"
                .to_owned(),
        );
    }
    let mut settings = Settings::new();
    let hosts = match authority.rsplit_once('@') {
        Some((user, hosts)) => {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            put(&mut settings, "user", user)?;
            put(&mut settings, "password", password)?;
            hosts
        }
        None => authority,
    };
    let (names, ports): (Vec<&str>, Vec<&str>) = hosts.split(',').map(host_and_port).unzip();
    if hosts.split(',').any(has_bare_colons) {
        return Err("an address with colons is written in brackets, as [::1]:5432".to_owned());
    }
    if names.iter().any(|name| !name.is_empty()) {
        put(&mut settings, "host", &names.join(","))?;
    }
    if ports.iter().any(|port| !port.is_empty()) {
        put(&mut settings, "port", &ports.join(","))?;
    }
    let (database, query) = tail.split_once('?').unwrap_or((tail, ""));
    put(&mut settings, "dbname", database.trim_start_matches('/'))?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .ok_or("a parameter behind its `?` has no `=`")?;
        put(&mut settings, alias(key), value)?;
    }
    Ok(settings)
}

/// What the driver, or an older libpq, calls otherwise.
fn alias(key: &str) -> &str {
    match key {
        "ssl-mode" => "sslmode",
        "ssl-root-cert" | "ssl-ca" => "sslrootcert",
        "ssl-cert" => "sslcert",
        "ssl-key" => "sslkey",
        key => key,
    }
}

/// An address in brackets has colons of its own.
fn host_and_port(text: &str) -> (&str, &str) {
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.trim_start_matches(':'));
    }
    text.rsplit_once(':').unwrap_or((text, ""))
}

fn has_bare_colons(text: &str) -> bool {
    !text.starts_with('[') && text.matches(':').count() > 1
}

/// An empty value is as good as none.
fn put(settings: &mut Settings, key: &str, encoded: &str) -> Result<(), String> {
    if encoded.is_empty() {
        return Ok(());
    }
    let value = percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_not_utf8| "an escape such as %E4 in it is no UTF-8".to_owned())?;
    settings.insert(key.to_owned(), value.into_owned());
    Ok(())
}

/// `host=db-1,db-2 dbname=app password='it''s'`, where `\` takes the next character as it is.
fn from_pairs(text: &str) -> Result<Settings, String> {
    let mut settings = Settings::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, behind) = rest.split_once('=').ok_or(NEITHER)?;
        let key = key.trim_end();
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if key.is_empty() || !key.chars().all(is_word) {
            return Err(NEITHER.to_owned());
        }
        let (value, behind) = value(behind.trim_start())?;
        if !value.is_empty() {
            settings.insert(key.to_owned(), value);
        }
        rest = behind.trim_start();
    }
    if settings.is_empty() {
        return Err(NEITHER.to_owned());
    }
    Ok(settings)
}

const NEITHER: &str = "it is neither a URL nor `key=value` pairs";

/// A value, and what stands behind it.
fn value(text: &str) -> Result<(String, &str), String> {
    let (quoted, text) = text
        .strip_prefix('\'')
        .map_or((false, text), |rest| (true, rest));
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            letter if letter.is_whitespace() && !quoted => return Ok((value, &text[at..])),
            letter => value.push(letter),
        }
    }
    if quoted {
        Err("a quote in it has no end".to_owned())
    } else {
        Ok((value, ""))
    }
}

/// Whether a setting is honored, or may be passed over.
fn check(key: &str) -> Result<(), String> {
    if HONORED.contains(&key) || PASSED_OVER.contains(&key) {
        return Ok(());
    }
    Err(match key {
        "passfile" => "`passfile` cannot be set here: set the variable PGPASSFILE".to_owned(),
        key => format!(
            "`{}` is not known, or cannot be honored: leave it out",
            key.escape_debug()
        ),
    })
}

const HONORED: [&str; 12] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Roles are asked for all the time; time limits and keepalive are the router's own.
const PASSED_OVER: [&str; 11] = [
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "statement-cache-capacity",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// A host and its port, as far as they are said.
type Host = (Option<String>, Option<String>);

/// Each host with its port: one port is for all of them.
fn hosts(settings: &Settings) -> Result<Vec<Host>, String> {
    let list = |keys: &[&str], unless_given: &str| -> Vec<String> {
        let given = keys.iter().find_map(|key| settings.get(*key)).cloned();
        let value = given.or_else(|| variable(unless_given)).unwrap_or_default();
        value.split(',').map(|one| one.trim().to_owned()).collect()
    };
    let hosts = list(&["hostaddr", "host"], "PGHOST");
    let ports = list(&["port"], "PGPORT");
    if ports.len() != 1 && ports.len() != hosts.len() {
        return Err(format!(
            "it names {} hosts and {} ports: name one port, or one for each host",
            hosts.len(),
            ports.len()
        ));
    }
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let port_of = |at: usize| ports.get(at).or_else(|| ports.first()).and_then(given);
    Ok(hosts
        .iter()
        .enumerate()
        .map(|(at, host)| (given(host), port_of(at)))
        .collect())
}

/// The driver takes it from here, with what the environment and the password file say.
fn target(settings: &Settings, (host, port): Host) -> Result<Target, String> {
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut url = "postgres://?".to_owned();
    let mut add = |key: &str, value: &str| {
        // Writing to a string does not fail.
        write!(url, "{key}={}&", escaped(value)).ok();
    };
    if let Some(host) = &host {
        add("host", host);
    }
    if let Some(port) = port {
        let number: u16 = port
            .parse()
            .map_err(|_no_number| "its port is no number from 0 to 65535".to_owned())?;
        add("port", &number.to_string());
    }
    for key in [
        "dbname",
        "user",
        "password",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "application_name",
    ] {
        if let Some(value) = settings.get(key) {
            add(key, value);
        }
    }
    if let Some(mode) = settings.get("sslmode") {
        if !SSL_MODES.contains(&mode.as_str()) {
            return Err(format!("its sslmode is none of {}", SSL_MODES.join(", ")));
        }
        add("sslmode", mode);
    }
    if let Some(options) = settings.get("options") {
        add("options", options);
    }
    // What the driver says may repeat a part of the text.
    let options = PgConnectOptions::from_str(&url)
        .map_err(|_unshown| "its host, port or a parameter is not valid".to_owned())?;
    Ok(Target {
        name: name(&options),
        options,
    })
}

const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// The host as a person calls it; of a socket, its folder.
fn name(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => options.get_host().to_owned(),
    };
    match options.get_port() {
        5432 => host,
        port => format!("{host}:{port}"),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Host, port and database of each server.
    fn read(text: &str) -> Vec<(String, u16, String)> {
        let targets = targets(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        let parts = |target: Target| {
            let options = target.options;
            let database = options.get_database().unwrap_or("").to_owned();
            let host = options.get_socket().map_or_else(
                || options.get_host().to_owned(),
                |folder| folder.display().to_string(),
            );
            (host, options.get_port(), database)
        };
        targets.into_iter().map(parts).collect()
    }

    #[test]
    fn the_forms_that_libpq_takes_are_read() {
        let one = |host: &str, port, database: &str| (host.to_owned(), port, database.to_owned());
        for (text, expected) in [
            (
                "postgres://app:x@db-1/shop",
                vec![one("db-1", 5432, "shop")],
            ),
            (
                "postgresql://app@db-1:5433,db-2:5434/shop?target_session_attrs=any",
                vec![one("db-1", 5433, "shop"), one("db-2", 5434, "shop")],
            ),
            (
                "postgres://app@[::1]:5433,db-2/shop",
                vec![one("::1", 5433, "shop"), one("db-2", 5432, "shop")],
            ),
            (
                "host=db-1,db-2 port=6000 dbname=shop user=app",
                vec![one("db-1", 6000, "shop"), one("db-2", 6000, "shop")],
            ),
            (
                "host = 'db-1'  dbname='it\\'s' user=app password = 'a b'",
                vec![one("db-1", 5432, "it's")],
            ),
            (
                "postgres://app@/shop?host=%2Fvar%2Frun&port=5433",
                vec![one("/var/run", 5433, "shop")],
            ),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_server_is_called_by_its_host_and_an_unusual_port() {
        let names = |text| -> Vec<String> {
            let targets = targets(text).expect("it is one");
            targets.into_iter().map(|target| target.name).collect()
        };
        assert_eq!(
            names("postgres://app:s3cret@db-1,db-2:5433/shop"),
            ["db-1", "db-2:5433"]
        );
    }

    #[test]
    fn what_cannot_be_honored_is_refused_without_the_text() {
        for (text, part) in [
            ("postgres://app:12/s3cret@db-1/shop", "%2F"),
            ("postgres://app:12?s3cret@db-1/shop", "%3F"),
            ("postgres://app:12#s3cret@db-1/shop", "%23"),
            ("postgres://app:s3@cret@db-1/shop", "%40"),
            ("postgres://app:s3cret@db-1:port/shop", "port"),
            ("postgres://app:s3cret@db-1:5432:1/shop", "brackets"),
            (
                "postgres://app:s3cret@db-1/shop?sslmode=s3cret",
                "verify-full",
            ),
            (
                "postgres://app:s3cret@db-1/shop?channel_binding=require",
                "channel_binding",
            ),
            ("postgres://app:s3cret@db-1/shop?flag", "no `=`"),
            (
                "postgres://app:s3cret@a:1,b:2,c:3/shop?port=1,2",
                "3 hosts and 2 ports",
            ),
            ("host=a password='s3cret", "no end"),
            ("host=a passfile=s3cret", "PGPASSFILE"),
            ("mysql://app:s3cret@db-1/shop", "neither"),
            ("s3cret", "neither"),
            ("", "neither"),
        ] {
            let refusal = targets(text).map(|_| ()).expect_err(text);
            assert!(refusal.contains(part), "{text}: {refusal}");
            assert!(!refusal.contains("s3cret"), "{refusal}");
        }
    }
}
