//! Positions in the write-ahead log.
//!
//! An LSN is a 64-bit byte position that PostgreSQL prints as two hexadecimal numbers. Its text
//! does not sort and is padded from version 19 on, so it is parsed once and compared as a number.
//! What a position means (inserted, flushed, replayed) is the business of whoever asked for it.

use core::fmt;
use core::num::ParseIntError;
use core::str::FromStr;

use thiserror::Error;

/// A position in a write-ahead log, in bytes since its beginning.
///
/// Comparable only between positions of one system and one timeline.
///
/// ```
/// use lagwise_core::Lsn;
///
/// let old: Lsn = "0/807D2A0".parse()?;
/// let padded: Lsn = "0/0807D2A0".parse()?;
/// assert_eq!(old, padded);
/// assert_eq!(old.to_string(), "0/807D2A0");
/// # Ok::<(), lagwise_core::ParseLsnError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// The position `bytes` after the beginning of the log.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes since the beginning of the log.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Bytes from `earlier` to this position; zero if it is not after it.
    #[must_use]
    pub const fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Takes the header of an empty page off an *insert* position.
    ///
    /// At the start of a page or segment `pg_current_wal_insert_lsn()` points behind the page's
    /// header, where the next record will begin. No record ends there, so a replica that has
    /// replayed everything stands at the page's first byte, and would look behind for as long as
    /// nothing is written. No record ends inside a header, which makes this exact.
    /// (`XLogRecPtrToBytePos` and `SizeOfXLogShortPHD`, `SizeOfXLogLongPHD` in PostgreSQL's
    /// `xlog.c` and `xlog_internal.h`.)
    #[must_use]
    pub const fn without_page_header(self, wal: WalGeometry) -> Self {
        if self.0 % wal.segment_bytes == LONG_PAGE_HEADER {
            Self(self.0 - LONG_PAGE_HEADER)
        } else if self.0 % wal.page_bytes == SHORT_PAGE_HEADER {
            Self(self.0 - SHORT_PAGE_HEADER)
        } else {
            self
        }
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, ParseLsnError> {
        let (high, low) = text.split_once('/').ok_or(ParseLsnError::Slash)?;
        let high = half(high)?;
        let low = half(low)?;
        Ok(Self(u64::from(high) << 32 | u64::from(low)))
    }
}

/// Why a text is not an LSN.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseLsnError {
    /// A half is not a hexadecimal number.
    #[error("one half of the LSN is not a hexadecimal number")]
    Digits(#[source] ParseIntError),
    /// A half has no digit, or more than eight.
    #[error("one half of the LSN has {0} digits, where 1 to 8 are allowed")]
    Length(usize),
    /// There is no `/`.
    #[error("an LSN is two hexadecimal numbers with a '/' between them, such as 16/B374D848")]
    Slash,
}

/// The sizes that decide where a write-ahead log has page headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalGeometry {
    segment_bytes: u64,
    page_bytes: u64,
}

impl WalGeometry {
    /// The geometry of a server, from its settings `wal_segment_size` and `wal_block_size`.
    ///
    /// # Errors
    /// If the page is not larger than its header, or the segment is not a multiple of the page.
    pub const fn new(segment_bytes: u64, page_bytes: u64) -> Result<Self, WalGeometryError> {
        let whole_pages = page_bytes > LONG_PAGE_HEADER
            && segment_bytes >= page_bytes
            && segment_bytes.is_multiple_of(page_bytes);
        if whole_pages {
            Ok(Self {
                segment_bytes,
                page_bytes,
            })
        } else {
            Err(WalGeometryError {
                segment_bytes,
                page_bytes,
            })
        }
    }
}

impl Default for WalGeometry {
    /// What PostgreSQL is built with: segments of 16 MiB, pages of 8 KiB.
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            page_bytes: 8 << 10,
        }
    }
}

/// Sizes that no write-ahead log has.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a log with segments of {segment_bytes} bytes cannot have pages of {page_bytes} bytes")]
pub struct WalGeometryError {
    segment_bytes: u64,
    page_bytes: u64,
}

/// One half of a printed LSN. `from_str_radix` alone would take a sign.
fn half(digits: &str) -> Result<u32, ParseLsnError> {
    if !(1..=8).contains(&digits.len()) {
        return Err(ParseLsnError::Length(digits.len()));
    }
    if digits.starts_with('+') {
        return u32::from_str_radix("+", 16).map_err(ParseLsnError::Digits);
    }
    u32::from_str_radix(digits, 16).map_err(ParseLsnError::Digits)
}

/// `SizeOfXLogShortPHD`: the header of an ordinary page.
const SHORT_PAGE_HEADER: u64 = 24;

/// `SizeOfXLogLongPHD`: the header of a segment's first page.
const LONG_PAGE_HEADER: u64 = 40;

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_printed_forms_are_read() {
        for (text, value) in [
            ("0/0", 0),
            ("0/807D2A0", 0x0807_D2A0),
            ("0/0807D2A0", 0x0807_D2A0),
            ("16/B374D848", 0x16_B374_D848),
            ("ffffffff/ffffffff", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Lsn::new(value)), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_lsn_is_refused() {
        for text in [
            "",
            "/",
            "0",
            "0/",
            "/0",
            "0/0/0",
            "g/0",
            "0/-1",
            "+1/0",
            "0/+1",
            "0/123456789",
            " 0/0",
            "0/é",
        ] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?} was read as an LSN");
        }
    }

    #[test]
    fn order_is_by_number_and_not_by_text() {
        let lower: Lsn = "0/9".parse().unwrap();
        let higher: Lsn = "0/10".parse().unwrap();
        assert!(lower < higher);
        assert_eq!(higher.bytes_since(lower), 7);
        assert_eq!(lower.bytes_since(higher), 0);
    }

    #[test]
    fn an_insert_position_behind_a_page_header_is_the_page_start() {
        let wal = WalGeometry::default();
        for (insert, reachable) in [
            ("0/9000028", "0/9000000"),
            ("0/214D0018", "0/214D0000"),
            ("0/214D0020", "0/214D0020"),
            ("0/9000018", "0/9000000"),
            ("0/9002028", "0/9002028"),
        ] {
            let insert: Lsn = insert.parse().unwrap();
            assert_eq!(
                insert.without_page_header(wal).to_string(),
                reachable,
                "{insert}"
            );
        }
    }

    #[test]
    fn a_log_is_made_of_whole_pages() {
        assert!(WalGeometry::new(1 << 20, 8192).is_ok());
        for (segment, page) in [
            (0, 8192),
            (8192, 0),
            (100, 8192),
            (16 << 20, 40),
            (8192 * 3 + 1, 8192),
        ] {
            assert!(WalGeometry::new(segment, page).is_err(), "{segment} {page}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(value: u64) {
            prop_assert_eq!(Lsn::new(value).to_string().parse(), Ok(Lsn::new(value)));
        }

        #[test]
        fn removing_headers_keeps_the_order(low in 0..u64::MAX - 64, step in 0..64_u64) {
            let wal = WalGeometry::default();
            let below = Lsn::new(low).without_page_header(wal);
            let above = Lsn::new(low + step).without_page_header(wal);
            // Positions inside a header do not occur.
            prop_assume!(low % 8192 == 0 || low % 8192 >= 40);
            prop_assume!((low + step) % 8192 >= 40 || (low + step) % 8192 == 0);
            prop_assert!(below <= above);
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in ".{0,24}") {
            drop(text.parse::<Lsn>());
        }
    }
}
