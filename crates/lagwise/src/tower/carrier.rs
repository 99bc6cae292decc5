//! What a request brings: tokens, and how much time it has.
//!
//! Everything here was sent by somebody who may not wish us well. A token that is given twice, or
//! that has a character no token has, is none; nothing is repeated in an error or a log.

use std::time::Duration;

use http::Extensions;
use http::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderName};

use super::layer::Cookies;
use crate::backend::Backend;
use crate::router::Router;
use crate::session::Session;
use crate::token::{Token, TokenFault};

/// How long whoever sent a request goes on waiting for its answer. Put into a request's extensions,
/// it bounds what the session's reads wait for. The `grpc-timeout` of a gRPC request counts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a time is left and nothing else")]
pub struct TimeLeft(pub Duration);

/// The session of a router that a request is in already.
pub(super) fn session_in<DB: Backend>(
    extensions: &Extensions,
    router: &Router<DB>,
) -> Option<Session<DB>> {
    let session = extensions.get::<Session<DB>>()?;
    (session.router().id() == router.id()).then(|| session.clone())
}

/// Whether a message is of gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b'-')))
}

/// The tokens in a request's cookies and header.
pub(super) fn tokens(
    headers: &HeaderMap,
    cookies: Option<&Cookies>,
    header: Option<&HeaderName>,
) -> [Option<Result<Token, TokenFault>>; 3] {
    let cookie = |name: &str| only(values(headers, name));
    [
        cookies.and_then(|cookies| cookie(&cookies.written)),
        cookies.and_then(|cookies| cookie(&cookies.seen)),
        header.and_then(|name| only(headers.get_all(name).iter().map(|value| value.as_bytes()))),
    ]
}

/// The token in the only value there is; of several nobody can tell which one is meant.
pub(super) fn only<'h>(
    mut values: impl Iterator<Item = &'h [u8]>,
) -> Option<Result<Token, TokenFault>> {
    let value = values.next()?;
    let text = std::str::from_utf8(value).ok();
    Some(match (text, values.next()) {
        (Some(text), None) => text.parse(),
        _ => Err(TokenFault::Malformed),
    })
}

/// The values of a cookie (RFC 6265, section 5.4: pairs with semicolons between them).
fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
        .filter_map(move |pair| {
            pair.trim_ascii()
                .strip_prefix(name.as_bytes())?
                .strip_prefix(b"=")
        })
}

/// What a gRPC client says of how long it waits: up to eight digits and a unit ("gRPC over HTTP2",
/// section "Requests").
pub(super) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn found(headers: &HeaderMap) -> [Option<Result<String, TokenFault>>; 3] {
        let cookies = Cookies::named("s");
        let header = HeaderName::from_static("x-lagwise");
        tokens(headers, Some(&cookies), Some(&header))
            .map(|token| token.map(|token| token.map(|token| token.to_string())))
    }

    #[test]
    fn a_token_is_found_in_each_place() {
        let ok = |text: &str| Some(Ok(text.to_owned()));
        let headers = with("cookie", &["a=1; s=abc;s-seen=def", "b=2"]);
        assert_eq!(found(&headers), [ok("abc"), ok("def"), None]);
        assert_eq!(found(&with("x-lagwise", &["ghi"])), [None, None, ok("ghi")]);
        assert_eq!(
            found(&with("cookie", &["ss=abc; S=abc; s"])),
            [None, None, None]
        );
    }

    #[test]
    fn what_is_given_twice_or_is_no_text_of_a_token_is_malformed() {
        let bad = Some(Err(TokenFault::Malformed));
        for cookie in ["s=a; s=a", "s=", "s=a%0d%0a", "s=\"a\"", "s=a b", "s=é"] {
            assert_eq!(found(&with("cookie", &[cookie]))[0], bad, "{cookie}");
        }
        assert_eq!(
            found(&with("cookie", &["s=a", "s=a"]))[0],
            bad,
            "in two headers"
        );
        assert_eq!(found(&with("x-lagwise", &["a", "a"]))[2], bad);
        assert_eq!(found(&with("x-lagwise", &["a, b"]))[2], bad);
    }

    #[test]
    fn a_grpc_timeout_is_read_in_every_unit_and_garbage_in_none() {
        let timeout = |text| grpc_timeout(&with("grpc-timeout", &[text]));
        assert_eq!(timeout("20m"), Some(Duration::from_millis(20)));
        assert_eq!(
            timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        assert_eq!(timeout("3S"), Some(Duration::from_secs(3)));
        for text in ["", "m", "1", "123456789m", "-1S", "1.5S", "1é"] {
            assert_eq!(timeout(text), None, "{text}");
        }
    }
}
