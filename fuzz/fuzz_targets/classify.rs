//! Looks for a text that the classifier gets wrong, without knowing what would be right.
//!
//! The router trusts a verdict with the application's data, and every byte of a text may come from
//! outside. So any bytes are classified, and laws are checked that hold whatever they mean: nothing
//! panics, a reason points into the text, comments do not steer, a write that follows is seen, and
//! knowing of more dangers never makes a text safer.
//!
//! What a verdict ought to be for a text that somebody thought of, the tests of the core say.
#![no_main]

use lagwise_core::{Catalog, CatalogObject, Overrides, RelationKind, Verdict, classify};
use libfuzzer_sys::fuzz_target;

/// More objects than this do not reach other code, and cost time.
const MOST_NAMES: usize = 8;

fuzz_target!(|bytes: &[u8]| check(&String::from_utf8_lossy(bytes)));

fn check(text: &str) {
    let built_in = Catalog::built_in();
    let names: Vec<&str> = names(text).take(MOST_NAMES).collect();
    let dangers = Catalog::new(
        names.iter().copied().enumerate().map(danger),
        &Overrides::default(),
    );
    let known = Catalog::new(
        names.iter().copied().enumerate().map(known),
        &Overrides::default(),
    );
    let overridden = Catalog::new([], &overrides(&names));
    for catalog in [&built_in, &dangers, &known, &overridden] {
        check_with(text, catalog);
    }
    let safe = |catalog| classify(text, catalog).verdict == Verdict::Read;
    assert!(
        safe(&built_in) || !safe(&dangers),
        "a catalog with nothing but dangers in it makes the text a read"
    );
}

/// The laws that hold with any catalog.
fn check_with(text: &str, catalog: &Catalog) {
    let found = classify(text, catalog);
    assert!(
        text.is_char_boundary(found.at),
        "the reason is at byte {} of {}, which is not in the text or inside a character",
        found.at,
        text.len()
    );
    assert!(
        !found.because.to_string().is_empty(),
        "a verdict comes with its reason"
    );
    let commented = format!("/* x */{text}");
    let verdict = classify(&commented, catalog).verdict;
    assert_eq!(
        verdict, found.verdict,
        "a comment in front steers the verdict"
    );
    let followed = format!("{text}\n;delete from t");
    assert!(
        found.verdict != Verdict::Read || classify(&followed, catalog).verdict != Verdict::Read,
        "a read that a `delete` follows is still a read"
    );
}

/// The words of a text that could be names, without repetitions side by side.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let in_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    text.split(move |letter| !in_name(letter))
        .filter(|word| word.starts_with(|letter: char| !letter.is_ascii_digit()))
}

/// An object that no replica may be asked for, of a kind that changes from name to name.
fn danger((number, name): (usize, &str)) -> CatalogObject {
    let (schema, name) = ("public".to_owned(), name.to_owned());
    match number % 4 {
        0 => CatalogObject::Function {
            schema,
            name,
            writes: true,
            attribute: number % 8 == 0,
        },
        1 => CatalogObject::Relation {
            schema,
            name,
            kind: RelationKind::Unlogged,
        },
        2 => CatalogObject::Type { schema, name },
        _ => CatalogObject::View {
            schema,
            name,
            definition: "select nextval('numbers')".to_owned(),
        },
    }
}

/// An object that may be harmless; views stand for one another, also in circles.
fn known((number, name): (usize, &str)) -> CatalogObject {
    let (schema, name) = ("public".to_owned(), name.to_owned());
    if number % 2 == 0 {
        CatalogObject::Function {
            schema,
            name,
            writes: number % 4 == 0,
            attribute: true,
        }
    } else {
        let definition = format!("select * from {name}, {schema}.{name}");
        CatalogObject::View {
            schema,
            name,
            definition,
        }
    }
}

/// What an application might say of these names; one that is refused is left out.
fn overrides(names: &[&str]) -> Overrides {
    let mut overrides = Overrides::default();
    for (number, name) in names.iter().enumerate() {
        let outcome = if number % 2 == 0 {
            overrides.reads(name)
        } else {
            overrides.writes(name)
        };
        drop(outcome);
    }
    overrides
}
