//! Puts a token on a response, and keeps caches from giving it to others.
//!
//! A shared cache that stores a response with a token hands one user's session to all. So whoever
//! carries one is marked as private. A response that its handler has marked as public is not given
//! one only because it was read.

use std::time::Duration;

use http::header::{CACHE_CONTROL, Entry, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, VARY};

use crate::token::Token;

/// Puts a token into a header or metadata key.
pub(super) fn put_header(headers: &mut HeaderMap, name: &HeaderName, token: &Token) {
    if let Ok(mut value) = HeaderValue::from_str(token.as_str()) {
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
}

/// Sets a cookie that only this host gets back, over TLS, and that scripts do not see.
pub(super) fn put_cookie(headers: &mut HeaderMap, name: &str, token: &Token, keep: Duration) {
    let text = format!(
        "{name}={token}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Lax",
        keep.as_secs()
    );
    if let Ok(mut value) = HeaderValue::try_from(text) {
        value.set_sensitive(true);
        headers.append(SET_COOKIE, value);
    }
}

/// Whether shared caches may store a response, by its own word.
pub(super) fn is_public(headers: &HeaderMap) -> bool {
    directives(headers).any(|directive| is_shared(&directive))
}

/// Keeps shared caches from storing a response, and others from taking it for theirs.
pub(super) fn make_private(headers: &mut HeaderMap, depends_on: &[&str]) {
    let kept: Vec<String> = directives(headers)
        .filter(|directive| !is_shared(directive))
        .collect();
    let is_private = |directive: &String| directive == "private" || directive == "no-store";
    let closed = kept.iter().any(is_private);
    let text = kept
        .into_iter()
        .chain((!closed).then(|| "private".to_owned()))
        .collect::<Vec<String>>()
        .join(", ");
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(CACHE_CONTROL, value);
    }
    // A cache that is told by these (RFC 9213) would not look at the other.
    for targeted in ["cdn-cache-control", "surrogate-control"] {
        drop_header(headers, &HeaderName::from_static(targeted));
    }
    let varies = names(headers);
    if varies.iter().any(|name| name == "*") {
        return;
    }
    for name in depends_on {
        if let (false, Ok(value)) = (varies.iter().any(|known| known == name), name.parse()) {
            headers.append(VARY, value);
        }
    }
}

fn is_shared(directive: &str) -> bool {
    directive == "public" || directive.starts_with("s-maxage")
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = String> {
    listed(headers, CACHE_CONTROL)
}

fn names(headers: &HeaderMap) -> Vec<String> {
    listed(headers, VARY).collect()
}

/// The members of a header that is a list, in lower case.
fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|member| member.trim().to_ascii_lowercase())
        .filter(|member| !member.is_empty())
}

/// Takes out what a handler passed on from another service: the session has it, and says it itself.
pub(super) fn drop_header(headers: &mut HeaderMap, name: &HeaderName) {
    if let Entry::Occupied(passed_on) = headers.entry(name.clone()) {
        passed_on.remove_entry_mult();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_private(cache_control: &[&'static str], vary: &[&'static str]) -> (String, String) {
        let mut headers = HeaderMap::new();
        for value in cache_control {
            headers.append(CACHE_CONTROL, value.parse().unwrap());
        }
        for value in vary {
            headers.append(VARY, value.parse().unwrap());
        }
        make_private(&mut headers, &["cookie", "x-lagwise"]);
        let join = |name| listed(&headers, name).collect::<Vec<_>>().join(", ");
        (join(CACHE_CONTROL), join(VARY))
    }

    #[test]
    fn a_response_with_a_token_is_stored_by_nobody_but_its_receiver() {
        let varies = "cookie, x-lagwise".to_owned();
        let cases = [
            (&[][..], "private"),
            (&["public, max-age=60"], "max-age=60, private"),
            (&["S-MaxAge=5", "max-age=1"], "max-age=1, private"),
            (&["no-store"], "no-store"),
            (&["Private, max-age=3"], "private, max-age=3"),
        ];
        for (given, becomes) in cases {
            assert_eq!(
                made_private(given, &[]),
                (becomes.to_owned(), varies.clone())
            );
        }
        assert_eq!(made_private(&[], &["*"]).1, "*");
        assert_eq!(
            made_private(&[], &["Accept, Cookie"]).1,
            "accept, cookie, x-lagwise"
        );
    }

    #[test]
    fn a_cookie_has_every_attribute_that_its_prefix_asks_for() {
        let mut headers = HeaderMap::new();
        headers.insert(SET_COOKIE, "theirs=1".parse().unwrap());
        let token: Token = "abc".parse().unwrap();
        put_cookie(
            &mut headers,
            "__Host-lagwise",
            &token,
            Duration::from_secs(300),
        );
        let set: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(set[0], "theirs=1", "the handler's own stays");
        assert_eq!(
            set[1],
            "__Host-lagwise=abc; Path=/; Max-Age=300; Secure; HttpOnly; SameSite=Lax"
        );
        assert!(
            set[1].is_sensitive(),
            "not in the debug output of a request log"
        );
    }
}
