//! What a session carries from one instance to the next: cookies by name, or the last token header.
//!
//! Like a browser's jar, it lets a cookie replace one of its name and end by `Max-Age`. Unlike one, it
//! sends `Secure` cookies over plain HTTP, since a test has no certificates.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use clap::ValueEnum;

/// The header that carries a token.
const TOKEN: &str = "x-lagwise";

/// How a session's token travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Carrier {
    /// In cookies only.
    Cookie,
    /// In the header only.
    Header,
}

#[derive(Debug)]
struct Cookie {
    value: String,
    until: Option<Duration>,
}

/// What one session carries.
#[derive(Debug)]
pub struct Jar {
    carrier: Carrier,
    cookies: BTreeMap<String, Cookie>,
    token: Option<HeaderValue>,
}

impl Jar {
    /// An empty one.
    #[must_use]
    pub const fn new(carrier: Carrier) -> Self {
        Self {
            carrier,
            cookies: BTreeMap::new(),
            token: None,
        }
    }

    /// Takes in what a response sets.
    pub fn take(&mut self, now: Duration, headers: &HeaderMap) {
        if let Some(token) = headers.get(TOKEN).filter(|token| !token.is_empty()) {
            self.token = Some(token.clone());
        }
        for set in headers.get_all(SET_COOKIE) {
            if let Ok(text) = set.to_str() {
                self.set(now, text);
            }
        }
    }

    fn set(&mut self, now: Duration, text: &str) {
        let mut parts = text.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let age = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let is_age = name.trim().eq_ignore_ascii_case("max-age");
            value.trim().parse::<i64>().ok().filter(|_| is_age)
        });
        let age = age.map(|seconds| u64::try_from(seconds).unwrap_or(0));
        if age == Some(0) {
            self.cookies.remove(name.trim());
            return;
        }
        let cookie = Cookie {
            value: value.trim().to_owned(),
            until: age.map(|seconds| now + Duration::from_secs(seconds)),
        };
        self.cookies.insert(name.trim().to_owned(), cookie);
    }

    /// Adds to a request what the session carries.
    pub fn give(&self, now: Duration, headers: &mut HeaderMap) {
        match self.carrier {
            Carrier::Header => {
                headers.extend(
                    self.token
                        .clone()
                        .map(|token| (axum::http::HeaderName::from_static(TOKEN), token)),
                );
            }
            Carrier::Cookie => {
                let lives = |cookie: &Cookie| cookie.until.is_none_or(|until| now < until);
                let pairs: Vec<String> = self
                    .cookies
                    .iter()
                    .filter(|(_, cookie)| lives(cookie))
                    .map(|(name, cookie)| format!("{name}={}", cookie.value))
                    .collect();
                let all = HeaderValue::from_str(&pairs.join("; ")).ok();
                let all = all.filter(|_| !pairs.is_empty());
                headers.extend(all.map(|all| (COOKIE, all)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(cookies: &[&str], token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(SET_COOKIE, cookie.parse().unwrap());
        }
        headers.append(TOKEN, token.parse().unwrap());
        headers
    }

    fn sent(jar: &Jar, now: u64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        jar.give(Duration::from_secs(now), &mut headers);
        headers
    }

    #[test]
    fn a_cookie_replaces_its_name_and_ends_by_its_age() {
        let mut jar = Jar::new(Carrier::Cookie);
        jar.take(
            Duration::ZERO,
            &response(&["a=1; Secure", "b=2; Max-Age=9"], "t"),
        );
        jar.take(Duration::ZERO, &response(&["a=3; HttpOnly"], "t"));
        assert_eq!(sent(&jar, 8)[COOKIE], "a=3; b=2", "both live");
        assert_eq!(sent(&jar, 9)[COOKIE], "a=3", "one has ended");
        jar.take(Duration::ZERO, &response(&["a=; Max-Age=0"], "t"));
        assert!(
            sent(&jar, 9).is_empty(),
            "one was deleted, and no header is sent"
        );
    }

    #[test]
    fn a_header_session_carries_the_last_token_that_is_not_empty() {
        let mut jar = Jar::new(Carrier::Header);
        jar.take(Duration::ZERO, &response(&["a=1"], "old"));
        jar.take(Duration::ZERO, &response(&[], "new"));
        jar.take(Duration::ZERO, &response(&[], ""));
        let sent = sent(&jar, 0);
        assert_eq!(sent[TOKEN], "new", "the last");
        assert!(!sent.contains_key(COOKIE), "no cookie");
    }
}
