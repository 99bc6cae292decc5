//! A list of names inside the binary, to be searched without building anything first.
//!
//! There are thousands of them, and a program that asks for none should not pay for them: the list
//! is text, sorted by bytes, and where each name is in it is worked out by the compiler.

/// Names in the order of their bytes. [`names`] makes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    text: &'static [u8],
    /// Where each name begins and ends.
    spans: &'static [(usize, usize)],
    /// A bit for each letter, up to its last six bits, that a name begins with.
    initials: u64,
}

/// The names in a sorted text, one or more blanks apart.
macro_rules! names {
    ($text:expr $(,)?) => {{
        const TEXT: &[u8] = $text.as_bytes();
        const SPANS: [(usize, usize); $crate::statement::classify::names::count(TEXT)] =
            $crate::statement::classify::names::spans(TEXT);
        $crate::statement::classify::names::Names::new(TEXT, &SPANS)
    }};
}
pub(super) use names;

impl Names {
    pub(super) const fn new(text: &'static [u8], spans: &'static [(usize, usize)]) -> Self {
        let (mut initials, mut count) = (0, 0);
        while count < spans.len() {
            initials |= initial(text[spans[count].0]);
            count += 1;
        }
        Self {
            text,
            spans,
            initials,
        }
    }

    /// Whether a name is among them, by binary search. Most lists are short, and its first letter
    /// tells of most names that they are not.
    pub(super) fn contains(self, name: &[u8]) -> bool {
        let begins = |first: &u8| self.initials & initial(*first) != 0;
        name.first().is_some_and(begins)
            && self
                .spans
                .binary_search_by(|span| self.at(*span).cmp(name))
                .is_ok()
    }

    fn at(self, (start, end): (usize, usize)) -> &'static [u8] {
        self.text.get(start..end).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn iter(self) -> impl Iterator<Item = &'static str> {
        let name = move |span: &(usize, usize)| core::str::from_utf8(self.at(*span)).unwrap();
        self.spans.iter().map(name)
    }
}

const fn initial(letter: u8) -> u64 {
    1 << (letter & 0b11_1111)
}

const fn is_blank(byte: u8) -> bool {
    byte <= b' '
}

/// Whether a name starts at a place. The compiler calls it, so an error is one of compilation.
const fn is_start(text: &[u8], at: usize) -> bool {
    !is_blank(text[at]) && (at == 0 || is_blank(text[at - 1]))
}

pub(super) const fn count(text: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < text.len() {
        if is_start(text, at) {
            count += 1;
        }
        at += 1;
    }
    count
}

pub(super) const fn spans<const COUNT: usize>(text: &[u8]) -> [(usize, usize); COUNT] {
    let mut spans = [(0, 0); COUNT];
    let (mut at, mut count) = (0, 0);
    while at < text.len() {
        if is_start(text, at) {
            let mut end = at;
            while end < text.len() && !is_blank(text[end]) {
                end += 1;
            }
            spans[count] = (at, end);
            count += 1;
        }
        at += 1;
    }
    spans
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_name_of_a_list_is_found_and_no_other() {
        let names = names!("a ab abc\nb d_e  d_f zz\n");
        assert_eq!(names.iter().count(), 7);
        for name in names.iter() {
            assert!(names.contains(name.as_bytes()), "{name}");
        }
        for other in ["", "aa", "abcd", "c", "d_", "zzz", "a ab", " "] {
            assert!(!names.contains(other.as_bytes()), "{other:?}");
        }
        assert!(!names!("").contains(b"a"));
    }
}
