//! A list of names inside the binary, to be searched without building anything first.
//!
//! There are thousands of them, and a program that asks for none should not pay for them: the list
//! is text, sorted by bytes, and where each name starts in it is worked out by the compiler.

/// Names in the order of their bytes. [`names`] makes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    text: &'static [u8],
    starts: &'static [usize],
}

/// The names in a sorted text, one or more blanks apart.
macro_rules! names {
    ($text:expr $(,)?) => {{
        const TEXT: &[u8] = $text.as_bytes();
        const STARTS: [usize; $crate::statement::classify::names::count(TEXT)] =
            $crate::statement::classify::names::starts(TEXT);
        $crate::statement::classify::names::Names::new(TEXT, &STARTS)
    }};
}
pub(super) use names;

impl Names {
    pub(super) const fn new(text: &'static [u8], starts: &'static [usize]) -> Self {
        Self { text, starts }
    }

    /// Whether a name is among them, by binary search.
    pub(super) fn contains(self, name: &[u8]) -> bool {
        let place = self.starts.partition_point(|start| self.at(*start) < name);
        let start = self.starts.get(place);
        start.is_some_and(|start| self.at(*start) == name)
    }

    fn at(self, start: usize) -> &'static [u8] {
        let rest = self.text.get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| is_blank(*byte));
        rest.get(..length.unwrap_or(rest.len())).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn iter(self) -> impl Iterator<Item = &'static str> {
        let name = move |start: &usize| core::str::from_utf8(self.at(*start)).unwrap();
        self.starts.iter().map(name)
    }
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

pub(super) const fn starts<const COUNT: usize>(text: &[u8]) -> [usize; COUNT] {
    let mut starts = [0; COUNT];
    let (mut at, mut count) = (0, 0);
    while at < text.len() {
        if is_start(text, at) {
            starts[count] = at;
            count += 1;
        }
        at += 1;
    }
    starts
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
