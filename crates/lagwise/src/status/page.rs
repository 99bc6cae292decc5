//! The page, put together from its parts, and what a browser may do with it.
//!
//! Markup, style and program are files of their own, to be read as such; they are sent as one, so that
//! the page works under every prefix and where nothing else can be reached. The policy names the two
//! parts by their hashes: nothing that slips into the page from elsewhere would run.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// What is sent.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) html: String,
    pub(super) policy: String,
}

impl Page {
    /// Put together once.
    pub(super) fn get() -> &'static Self {
        static PAGE: OnceLock<Page> = OnceLock::new();
        PAGE.get_or_init(Self::assemble)
    }

    fn assemble() -> Self {
        let script = SCRIPTS.concat();
        let html = MARKUP
            .replace("/* style */", STYLE)
            .replace("/* script */", &script);
        let policy = format!(
            "default-src 'none'; connect-src 'self'; img-src data:; script-src '{}'; style-src '{}'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(&script),
            hash(STYLE),
        );
        Self { html, policy }
    }
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

const MARKUP: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");

/// In this order: each uses those before it.
const SCRIPTS: [&str; 6] = [
    include_str!("page/format.js"),
    include_str!("page/store.js"),
    include_str!("page/charts.js"),
    include_str!("page/nodes.js"),
    include_str!("page/timeline.js"),
    include_str!("page/main.js"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands between two marks, which browsers hash for themselves.
    fn between<'a>(html: &'a str, open: &str, close: &str) -> &'a str {
        let (_, rest) = html.split_once(open).expect("it opens");
        rest.split_once(close).expect("it closes").0
    }

    #[test]
    fn the_policy_allows_exactly_the_script_and_the_style_of_the_page() {
        let page = Page::get();
        for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
            let hash = hash(between(&page.html, open, close));
            assert!(page.policy.contains(&hash), "{open}");
            assert_eq!(page.html.matches(open).count(), 1, "{open}");
        }
        assert!(!page.policy.contains("unsafe"), "{}", page.policy);
    }

    #[test]
    fn the_page_names_no_other_place_and_has_no_handlers_in_its_markup() {
        let page = Page::get();
        for elsewhere in [
            "http:", "https:", "src=", "@import", " onclick", " onload", " style=",
        ] {
            // The one name that drawings in a page have is no address to fetch.
            let html = page.html.replace("http://www.w3.org/2000/svg", "");
            assert!(!html.contains(elsewhere), "{elsewhere}");
        }
    }
}
