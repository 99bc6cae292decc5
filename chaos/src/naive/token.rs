//! The naive token: a timeline, a position, and the time of the last write, in plain decimals.
//!
//! Unsigned: whoever changes it fools only the model. How it is compared is the reader's business.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

/// The cookie's name.
pub(super) const COOKIE_NAME: &str = "__Host-naive";

/// The header's name.
pub(super) const HEADER_NAME: &str = "x-lagwise";

/// What a session knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Token {
    /// The timeline of the position; zero for none.
    pub(super) timeline: i64,
    /// The position in the log.
    pub(super) position: i64,
    /// When the session last wrote, on the servers' clock, in milliseconds.
    pub(super) wrote: i64,
}

impl Token {
    /// The token of a request; one without a position if there is none that can be read.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let in_cookies = headers.get_all(COOKIE).iter().filter_map(|value| {
            let pairs = value.to_str().ok()?.split(';');
            pairs
                .filter_map(|pair| pair.trim().split_once('='))
                .find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
        });
        let alone = headers
            .get(HEADER_NAME)
            .and_then(|value| value.to_str().ok());
        let mut token = Self::default();
        for found in in_cookies.chain(alone).filter_map(Self::parse) {
            token.raise(found);
        }
        token
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(str::parse);
        Some(Self {
            timeline: numbers.next()?.ok()?,
            position: numbers.next()?.ok()?,
            wrote: numbers.next()?.ok()?,
        })
    }

    /// Takes in another: a later timeline replaces, the same one raises, an earlier one says nothing.
    pub(super) fn raise(&mut self, other: Self) {
        self.wrote = self.wrote.max(other.wrote);
        if other.timeline > self.timeline {
            (self.timeline, self.position) = (other.timeline, other.position);
        } else if other.timeline == self.timeline {
            self.position = self.position.max(other.position);
        }
    }

    pub(super) fn text(self) -> String {
        format!("{}.{}.{}", self.timeline, self.position, self.wrote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(timeline: i64, position: i64) -> Token {
        Token {
            timeline,
            position,
            wrote: 0,
        }
    }

    #[test]
    fn a_later_timeline_replaces_and_an_earlier_one_says_nothing() {
        let raised = |by| {
            let mut held = token(2, 50);
            held.raise(by);
            held
        };
        assert_eq!(raised(token(2, 60)), token(2, 60), "forward");
        assert_eq!(raised(token(2, 40)), token(2, 50), "never back");
        assert_eq!(raised(token(3, 10)), token(3, 10), "a later timeline");
        assert_eq!(raised(token(1, 90)), token(2, 50), "an earlier one");
    }

    #[test]
    fn a_request_carries_it_in_either_way_and_junk_is_none() {
        let of = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.append(name, value.parse().unwrap());
            Token::of(&headers)
        };
        assert_eq!(
            of("cookie", "a=b; __Host-naive=2.50.0"),
            token(2, 50),
            "a cookie"
        );
        assert_eq!(of("x-lagwise", "2.50.0"), token(2, 50), "the header");
        assert_eq!(of("x-lagwise", "2.fifty.0"), Token::default(), "junk");
    }
}
