//! A name as a text spells it, and as the server looks it up.
//!
//! `NextVal`, `"nextval"` and `nextval` are one function, `"NextVal"` is another. The server folds
//! what is not quoted, takes doubled quotes for one, and cuts a name after 63 bytes; whoever compares
//! names must do the same, or a spelling gets past it.
//!
//! Letters outside ASCII are not folded: the server folds them in single-byte encodings alone.

/// How many bytes of a name the server keeps.
const LONGEST: usize = 63;

/// A name as it is written, with its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::statement) struct Name<'a> {
    /// With its quotes, if it has any.
    pub(in crate::statement) text: &'a str,
}

impl<'a> Name<'a> {
    pub(in crate::statement) const fn new(text: &'a str) -> Self {
        Self { text }
    }

    pub(in crate::statement) fn is_quoted(self) -> bool {
        self.text.starts_with('"')
    }

    /// The name that the server looks up.
    pub(in crate::statement) fn key(self) -> Key {
        let mut key = Key::EMPTY;
        if let Some(quoted) = self.text.strip_prefix('"') {
            let inner = quoted.strip_suffix('"').unwrap_or(quoted);
            let mut is_second = false;
            for byte in inner.bytes() {
                // Of two quotes, one is meant.
                is_second = byte == b'"' && !is_second;
                key.push_unless(is_second, byte);
            }
        } else {
            key.extend(self.text.as_bytes());
            key.bytes.make_ascii_lowercase();
        }
        key.cut_whole_letters();
        key
    }
}

/// A name as the server looks it up: folded, unquoted and cut. It never allocates.
#[derive(Clone, Copy)]
pub(in crate::statement) struct Key {
    /// One byte more than a name has, to see whether a letter was cut in two.
    bytes: [u8; LONGEST + 1],
    length: usize,
}

impl Key {
    const EMPTY: Self = Self {
        bytes: [0; LONGEST + 1],
        length: 0,
    };

    pub(in crate::statement) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn push_unless(&mut self, is_skipped: bool, byte: u8) {
        if is_skipped {
            return;
        }
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length = self.length.saturating_add(1);
        }
    }

    fn extend(&mut self, text: &[u8]) {
        let length = text.len().min(self.bytes.len());
        let (place, text) = (self.bytes.get_mut(..length), text.get(..length));
        if let (Some(place), Some(text)) = (place, text) {
            place.copy_from_slice(text);
            self.length = length;
        }
    }

    /// Keeps 63 bytes, or fewer where the last letter would be cut in two.
    fn cut_whole_letters(&mut self) {
        if self.length <= LONGEST {
            return;
        }
        let continues = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xC0 == 0x80);
        self.length = LONGEST;
        while self.length > 0 && continues(self.bytes.get(self.length)) {
            self.length = self.length.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[track_caller]
    fn check(text: &str, key: &str) {
        assert_eq!(Name::new(text).key().as_bytes(), key.as_bytes(), "{text}");
    }

    #[test]
    fn a_name_is_folded_unless_it_is_quoted() {
        check("NextVal", "nextval");
        check("\"NextVal\"", "NextVal");
        check("\"a\"\"b\"", "a\"b");
        check("\"a\"\"\"", "a\"");
        check("Été", "Été");
        check("a$1", "a$1");
    }

    #[test]
    fn a_long_name_is_cut_where_the_server_cuts_it() {
        let (long, cut) = ("a".repeat(70), "a".repeat(63));
        check(&long, &cut);
        check(&format!("\"{long}\""), &cut);
        let letters = format!("{}é", "a".repeat(62));
        check(&letters, &cut[..62]);
        check(
            &format!("{}é", "a".repeat(61)),
            &format!("{}é", "a".repeat(61)),
        );
    }
}
