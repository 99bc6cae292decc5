//! Remembers the verdicts on texts, so that each text is looked through once.
//!
//! The table has a fixed size and holds no text: a word is the upper 62 bits of a keyed hash and a
//! verdict of 2 bits. A flood of generated texts evicts others and costs nothing else; a hit reads
//! eight words of one line and takes no lock.
//!
//! A text is taken for another one with a chance of 2⁻⁶² for each word that it is compared with,
//! and nobody can aim for it without knowing the key.

use alloc::boxed::Box;
use core::fmt;

use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};

use super::Verdict;
use crate::sync::{AtomicU64, Ordering};

/// A bounded, concurrent memory of verdicts by text.
///
/// ```
/// use lagwise_core::{Verdict, Verdicts};
///
/// let seen = Verdicts::new(0x5EED);
/// assert_eq!(seen.get("select 1"), None);
/// seen.put("select 1", Verdict::Read);
/// assert_eq!(seen.get("select 1"), Some(Verdict::Read));
/// ```
pub struct Verdicts {
    key: RapidSecrets,
    lines: Box<[Line]>,
}

/// One cache line of the machine.
#[repr(align(64))]
#[derive(Default)]
struct Line([AtomicU64; WORDS]);

const LINES: usize = 512;
const WORDS: usize = 8;

/// How often an insertion is tried. What is not inserted is looked through again, no more.
const ROUNDS: usize = 8;

/// The bits of a word that hold the verdict; 0 is an empty word.
const VERDICT: u64 = 0b11;

impl Verdicts {
    /// An empty memory. The seed should be random, and different in every process.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            key: RapidSecrets::seed(seed),
            lines: (0..LINES).map(|_| Line::default()).collect(),
        }
    }

    /// The verdict on a text, if it is remembered.
    #[must_use]
    pub fn get(&self, sql: &str) -> Option<Verdict> {
        let hash = self.hash(sql);
        self.line(hash).iter().find_map(|word| {
            // Relaxed: a word is all there is to a verdict, so no other memory goes with it.
            let word = word.load(Ordering::Relaxed);
            ((word ^ hash) & !VERDICT == 0)
                .then(|| decode(word))
                .flatten()
        })
    }

    /// Remembers the verdict on a text, in the place of its last one, of none, or of some other
    /// text's.
    pub fn put(&self, sql: &str, verdict: Verdict) {
        let _new = self.insert(sql, verdict);
    }

    /// [`Verdicts::put`] that says whether the text was unknown. Of several threads that insert a
    /// text at once, one hears that it was, as long as its line has room.
    #[must_use]
    pub fn insert(&self, sql: &str, verdict: Verdict) -> bool {
        let hash = self.hash(sql);
        let word = hash & !VERDICT | encode(verdict);
        let line = self.line(hash);
        // A round is lost only to another thread that put something into the same line.
        for _ in 0..ROUNDS {
            let held = |word: &AtomicU64| word.load(Ordering::Relaxed);
            let of_this_text = |word: u64| (word ^ hash) & !VERDICT == 0 && word & VERDICT != 0;
            if let Some(known) = line.iter().find(|word| of_this_text(held(word))) {
                known.store(word, Ordering::Relaxed);
                return false;
            }
            let empty = line.iter().position(|word| held(word) & VERDICT == 0);
            let at = empty.unwrap_or_else(|| victim(hash));
            let Some(place) = line.get(at) else { break };
            // A place that was empty is taken as such: by now another text may stand there, which
            // must not give way while there is room.
            let before = if empty.is_some() { 0 } else { held(place) };
            let placed = !of_this_text(before)
                && place
                    .compare_exchange(before, word, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok();
            if !placed {
                continue;
            }
            // Who took an earlier place, after it was looked for here, was first. That place was seen
            // to be taken, so what it holds is seen as well.
            let first = line[..at].iter().any(|word| of_this_text(held(word)));
            if empty.is_some() && first {
                place
                    .compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed)
                    .ok();
                return false;
            }
            break;
        }
        true
    }

    fn hash(&self, sql: &str) -> u64 {
        rapidhash_v3_inline::<true, false, true>(sql.as_bytes(), &self.key)
    }

    fn line(&self, hash: u64) -> &[AtomicU64] {
        // The top bits choose the line. There are as many lines as they can say.
        usize::try_from(hash >> (u64::BITS - LINES.trailing_zeros()))
            .ok()
            .and_then(|index| self.lines.get(index))
            .map_or(&[], |line| &line.0)
    }
}

impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.lines.iter().flat_map(|line| &line.0);
        let held = held.filter(|word| word.load(Ordering::Relaxed) & VERDICT != 0);
        f.debug_struct("Verdicts")
            .field("held", &held.count())
            .finish_non_exhaustive()
    }
}

/// Which word of a full line gives way: one that the new text's hash chooses, so that no text stays
/// or goes because of where it stands.
fn victim(hash: u64) -> usize {
    usize::try_from(hash >> 2 & 0b111).unwrap_or_default()
}

const fn encode(verdict: Verdict) -> u64 {
    match verdict {
        Verdict::Read => 1,
        Verdict::Write => 2,
        Verdict::Session => 3,
    }
}

const fn decode(word: u64) -> Option<Verdict> {
    match word & VERDICT {
        1 => Some(Verdict::Read),
        2 => Some(Verdict::Write),
        3 => Some(Verdict::Session),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    fn text(number: usize) -> String {
        format!("select {number}")
    }

    #[test]
    fn the_last_verdict_on_a_text_is_remembered() {
        let seen = Verdicts::new(1);
        for verdict in [Verdict::Read, Verdict::Write, Verdict::Session] {
            assert_eq!(seen.insert("select f()", verdict), verdict == Verdict::Read);
            assert_eq!(seen.get("select f()"), Some(verdict));
            assert_eq!(seen.get("select f() "), None, "another text");
        }
    }

    #[test]
    fn a_flood_of_texts_evicts_but_is_never_mistaken() {
        let seen = Verdicts::new(2);
        for number in 0..100_000 {
            let verdict = if number % 2 == 0 {
                Verdict::Read
            } else {
                Verdict::Write
            };
            seen.put(&text(number), verdict);
            assert_eq!(seen.get(&text(number)), Some(verdict));
        }
        let kept = (0..100_000).filter(|number| {
            let verdict = seen.get(&text(*number));
            assert_ne!(verdict, Some(Verdict::Session), "nobody said so");
            assert!(verdict.is_none() || (verdict == Some(Verdict::Read)) == (number % 2 == 0));
            verdict.is_some()
        });
        let kept = kept.count();
        assert!(
            (LINES * WORDS * 9 / 10..=LINES * WORDS).contains(&kept),
            "{kept}"
        );
    }

    #[test]
    fn of_many_threads_one_is_told_that_a_text_is_new() {
        let seen = Arc::new(Verdicts::new(3));
        let count = |seen: Arc<Verdicts>| {
            let new = |number: &usize| seen.insert(&text(*number), Verdict::Read);
            (0..500).filter(new).count()
        };
        let threads = [(); 4].map(|()| {
            let seen = Arc::clone(&seen);
            thread::spawn(move || count(seen))
        });
        let new: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert_eq!(new, 500, "each text was new once");
        assert!((0..500).all(|number| seen.get(&text(number)).is_some()));
    }

    #[test]
    fn another_seed_places_texts_elsewhere() {
        let (one, two) = (Verdicts::new(4), Verdicts::new(5));
        assert_ne!(one.hash("select 1"), two.hash("select 1"));
    }

    #[test]
    fn what_is_shown_of_it_is_short() {
        let seen = Verdicts::new(6);
        seen.put("select 'secret'", Verdict::Read);
        assert_eq!(format!("{seen:?}"), "Verdicts { held: 1, .. }");
    }
}
