//! Laws of what is known of statements: a verdict rests on the catalog that holds, and no refusal is
//! slept through.

use std::sync::Arc;

use lagwise_core::{Catalog, CatalogObject, Classification, Verdict, classify};
use loom::future::block_on;
use loom::thread;

use crate::backend::Backend;
use crate::statements::{Settings, Statements};
use crate::sync::stock;
use crate::{end_of, in_every_order};

/// Once a catalog was taken in, no text is judged by the one before, also where a thread had begun to
/// judge it.
pub fn no_verdict_outlives_its_catalog() {
    in_every_order(|| {
        let statements = statements();
        assert!(statements.take_in(catalog(false)));
        let judging = Arc::clone(&statements);
        let judging = thread::spawn(move || judging.verdict::<Judge>(TEXT));
        assert!(statements.take_in(catalog(true)));
        assert_eq!(statements.verdict::<Judge>(TEXT), Verdict::Write, "at once");
        end_of(judging);
        assert_eq!(statements.verdict::<Judge>(TEXT), Verdict::Write, "later");
    });
}

/// Who waits for a refusal hears of it, and finds that it was learned.
pub fn no_refusal_is_slept_through() {
    in_every_order(|| {
        let statements = statements();
        assert!(statements.take_in(catalog(false)));
        let refused = Arc::clone(&statements);
        let refused = thread::spawn(move || refused.learn_refusal(TEXT));
        block_on(statements.refusal());
        assert_eq!(statements.verdict::<Judge>(TEXT), Verdict::Write);
        assert!(end_of(refused), "worth a warning");
    });
}

const TEXT: &str = "select f()";

fn statements() -> Arc<Statements> {
    // A line of each memory that comes and goes.
    stock(8 * 8);
    Arc::new(Statements::new(Settings::default()))
}

/// A database with one function, which writes or only reads.
fn catalog(writes: bool) -> Vec<CatalogObject> {
    vec![CatalogObject::Function {
        schema: "public".to_owned(),
        name: "f".to_owned(),
        writes,
        attribute: false,
    }]
}

struct Judge;

impl Backend for Judge {
    fn classify<'a>(sql: &'a str, catalog: &Catalog) -> Classification<'a> {
        classify(sql, catalog)
    }
}
