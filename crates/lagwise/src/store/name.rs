//! What a key is called in a store.
//!
//! A key is the application's text, and may be long or odd. Its name is short and plain, so that no
//! key takes much room, breaks a protocol, or is taken for another one.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Longer than most ids and addresses.
const LONGEST: usize = 64;

/// The name of a key: the key itself where that is short and plain, otherwise a hash of it. Different
/// keys have different names.
pub(super) fn name(key: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:@".contains(byte);
    if !key.is_empty() && key.len() <= LONGEST && key.as_bytes().iter().all(plain) {
        return key.to_owned();
    }
    // A plain key has no such mark.
    format!("#{}", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_key_is_its_own_name() {
        for key in ["42", "user:42", "a.b-c_d@example.org"] {
            assert_eq!(name(key), key);
        }
    }

    #[test]
    fn whatever_the_key_its_name_is_short_and_plain_and_its_own() {
        let long = "a".repeat(1_000_000);
        let longer = format!("{long}a");
        let hashed = name("a b");
        let keys = [
            "",
            "a b",
            "a\r\nDEL x",
            "ключ",
            "#",
            "*",
            "\0",
            &long,
            &longer,
            &hashed,
        ];
        let names: std::collections::BTreeSet<String> = keys.into_iter().map(name).collect();
        assert_eq!(names.len(), keys.len(), "two keys have one name");
        for name in names {
            assert!(name.len() == 44 && name.starts_with('#'), "{name}");
            assert!(name.is_ascii() && !name.contains(char::is_whitespace));
        }
    }
}
