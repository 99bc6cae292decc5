//! Laws of the memory of verdicts: it may forget, and is never mistaken.

use std::sync::Arc;

use lagwise_core::{Verdict, Verdicts};
use loom::thread;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};

use crate::sync::stock;
use crate::{SEED, end_of, in_every_order};

/// Of two that insert a text at once, one hears that it is new, also while another text comes into the
/// same line.
pub fn one_thread_is_told_that_a_text_is_new() {
    let [text, other, ..] = neighbors();
    in_every_order(move || {
        let seen = memory(&[]);
        let threads = [(); 2].map(|()| {
            let seen = Arc::clone(&seen);
            let text = text.clone();
            thread::spawn(move || seen.insert(&text, Verdict::Read))
        });
        let other_is_new = seen.insert(&other, Verdict::Write);
        let told = threads.map(end_of).into_iter().filter(|new| *new).count();
        assert_eq!(told, 1, "told that a text is new");
        assert!(other_is_new, "the other was new too");
        assert_eq!(seen.get(&text), Some(Verdict::Read));
        assert_eq!(seen.get(&other), Some(Verdict::Write));
    });
}

/// The same where a place before theirs is freed and taken meanwhile.
pub fn one_thread_is_told_also_where_another_retreats() {
    let [first, second, ..] = neighbors();
    in_every_order(move || {
        let seen = memory(&[]);
        let insert = |order: [&String; 2]| {
            let (seen, order) = (Arc::clone(&seen), order.map(String::clone));
            thread::spawn(move || order.map(|text| seen.insert(&text, Verdict::Read)))
        };
        let (one, two) = (insert([&first, &second]), insert([&second, &first]));
        let ([first_here, second_here], [second_there, first_there]) = (end_of(one), end_of(two));
        assert!(first_here != first_there, "one was told of the first");
        assert!(second_here != second_there, "one was told of the second");
    });
}

/// Whatever is evicted meanwhile, a text's verdict is its own, or forgotten.
pub fn nobody_gets_the_verdict_on_another_text() {
    let texts = neighbors();
    let evicting = rivals();
    in_every_order(move || {
        let seen = memory(&texts);
        let [one, two] = evicting.clone();
        let writer = Arc::clone(&seen);
        let writer = thread::spawn(move || {
            writer.put(&one, Verdict::Write);
            writer.put(&two, Verdict::Session);
        });
        let [one, two] = &evicting;
        let own = [(one, Verdict::Write), (two, Verdict::Session)];
        for (text, own) in own {
            let verdict = seen.get(text);
            let is_own = verdict.is_none_or(|verdict| verdict == own);
            assert!(is_own, "{verdict:?}, not {own:?}");
        }
        end_of(writer);
        assert_eq!(seen.get(one), None, "it was evicted");
        assert_eq!(seen.get(two), Some(Verdict::Session));
    });
}

/// A verdict that was put after another, and by who knew of it, is the one that stays.
pub fn the_last_verdict_on_a_text_stays() {
    let [text, ..] = neighbors();
    in_every_order(move || {
        let seen = memory(&[]);
        seen.put(&text, Verdict::Read);
        let (reader, sql) = (Arc::clone(&seen), text.clone());
        let reader = thread::spawn(move || [reader.get(&sql), reader.get(&sql)]);
        seen.put(&text, Verdict::Write);
        assert_eq!(seen.get(&text), Some(Verdict::Write));
        let [earlier, later] = end_of(reader);
        let went_back = earlier == Some(Verdict::Write) && later == Some(Verdict::Read);
        assert!(!went_back && later.is_some(), "{earlier:?}, then {later:?}");
    });
}

/// A memory that holds these as reads.
fn memory(held: &[String]) -> Arc<Verdicts> {
    stock(8);
    let seen = Verdicts::new(SEED);
    for text in held {
        seen.put(text, Verdict::Read);
    }
    Arc::new(seen)
}

/// As many texts as a line holds, all of the same line.
pub(crate) fn neighbors() -> [String; 8] {
    let mut texts = of_one_line();
    std::array::from_fn(|_| texts.next().unwrap_or_default())
}

/// Two more of that line, which evict the same one.
fn rivals() -> [String; 2] {
    let mut rivals = of_one_line()
        .skip(8)
        .filter(|text| hash(text) >> 2 & 0b111 == 0);
    std::array::from_fn(|_| rivals.next().unwrap_or_default())
}

/// Texts that fall into the first of 512 lines.
fn of_one_line() -> impl Iterator<Item = String> {
    let texts = (0_u64..).map(|number| format!("select {number}"));
    texts.filter(|text| hash(text) >> 55 == 0)
}

fn hash(text: &str) -> u64 {
    rapidhash_v3_inline::<true, false, true>(text.as_bytes(), &RapidSecrets::seed(SEED))
}
