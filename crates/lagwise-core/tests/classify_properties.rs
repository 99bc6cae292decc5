//! What holds for every text, tried on random ones and on mutations of real statements.

use std::io::Read;
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use lagwise_core::{Catalog, Verdict, classify};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof};
use proptest::sample::{Index, select};
use proptest::{prop_assume, proptest};
use serde_json::Value;

static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut text = String::new();
    let bytes: &[u8] = include_bytes!("corpus/pg_statements_dev.jsonl.gz");
    GzDecoder::new(bytes)
        .read_to_string(&mut text)
        .expect("the corpus unpacks");
    let sql = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a line is an object");
        row["sql"].as_str().unwrap_or_default().to_owned()
    };
    text.lines()
        .map(sql)
        .filter(|sql| sql.len() < 2_000)
        .collect()
});

fn statement() -> impl Strategy<Value = String> {
    any::<Index>().prop_map(|index| index.get(&TEXTS).clone())
}

fn verdict(sql: &str) -> Verdict {
    let found = classify(sql, &Catalog::built_in());
    assert!(found.at <= sql.len());
    assert!(found.because.to_string().len() < 600);
    found.verdict
}

/// A piece of SQL that is one token, or one that no gap may be cut into.
/// Words that decide something, or that stand around those.
const WORDS: &str = "select values table with recursive insert into update delete from only for share \
    no key as on distinct explain analyze copy to stdout begin commit set t a f \
    lower nextval pg_backend_pid pg_stat_activity operator over by materialized \
    pg_catalog pg_temp";

fn token() -> impl Strategy<Value = &'static str> {
    let others = [
        "\"Quoted\"",
        "\"nextval\"",
        "'text'",
        "e'\\''",
        "$$ ; delete $$",
        "$a$ $$ $a$",
        "1",
        "1.5",
        "$1",
        "(",
        ")",
        "(",
        ")",
        ",",
        ".",
        ";",
        "+",
        "::",
        "[",
        "]",
        "*",
    ];
    select(WORDS.split(' ').chain(others).collect::<Vec<_>>())
}

/// White space and comments, at least one byte that keeps two tokens apart.
fn gap() -> impl Strategy<Value = &'static str> {
    select(vec![
        " ",
        "\t",
        "\r",
        "\x0c",
        "  ",
        "/**/",
        " /* ; delete from t */ ",
        "/* /* */ for update */",
        "-- ; begin\r",
        " /* ' $$ \" */ ",
        " -- '\r ",
    ])
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        verdict(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_text_of_sql_letters_makes_it_panic(sql in "[ \n'\"$/*;()a-f.,\\\\EeUu&xé+-]{0,80}") {
        verdict(&sql);
    }

    #[test]
    fn a_damaged_statement_gets_some_verdict(
        sql in statement(), at in any::<Index>(), flip in any::<u8>(), cut in any::<Index>()
    ) {
        prop_assume!(!sql.is_empty());
        let mut bytes = sql.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        verdict(&String::from_utf8_lossy(&bytes));
        bytes.truncate(cut.index(bytes.len()));
        verdict(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn gaps_between_tokens_decide_nothing(
        pieces in prop::collection::vec((token(), gap()), 0..40)
    ) {
        let plain: Vec<&str> = pieces.iter().map(|(token, _)| *token).collect();
        let spaced: String = pieces.iter().flat_map(|(token, gap)| [*token, *gap]).collect();
        let plain = plain.join(" ");
        prop_assert_eq!(verdict(&plain), verdict(&spaced), "{:?} {:?}", plain, spaced);
    }

    #[test]
    fn the_case_of_words_decides_nothing(
        pieces in prop::collection::vec((token(), any::<bool>()), 0..40)
    ) {
        let case = |(token, upper): &(&str, bool)| {
            let is_word = token.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if *upper && is_word { token.to_ascii_uppercase() } else { (*token).to_owned() }
        };
        let plain: Vec<&str> = pieces.iter().map(|(token, _)| *token).collect();
        let mixed: Vec<String> = pieces.iter().map(case).collect();
        let (plain, mixed) = (plain.join(" "), mixed.join(" "));
        prop_assert_eq!(verdict(&plain), verdict(&mixed), "{:?}", mixed);
    }

    #[test]
    fn a_comment_around_a_statement_decides_nothing(sql in statement()) {
        let wrapped = format!("/* a /* ; */ */\n--'\n{sql}\n--;\n/*$$*/");
        prop_assert_eq!(verdict(&wrapped), verdict(&sql), "{}", sql);
    }

    #[test]
    fn a_write_behind_a_read_is_seen(
        sql in prop_oneof![
            statement(),
            prop::collection::vec(token(), 0..20).prop_map(|tokens| tokens.join(" ")),
            "[ '\"$/*;()a-c\\\\Ee-]{0,30}".prop_map(|tail| format!("select {tail}")),
            Just(String::from("select 'a\\'")),
        ]
    ) {
        if verdict(&sql) != Verdict::Read {
            return Ok(());
        }
        let more = format!("{sql}\n; delete from t");
        prop_assert!(verdict(&more) != Verdict::Read, "{}", more);
    }
}
