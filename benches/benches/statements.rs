//! What routing by text costs: a statement seen for the first time, and one seen before.
//!
//! Beside the first stands what a general SQL parser does with the same text, without its protection
//! of the stack and without a verdict: what somebody pays who parses in order to route.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lagwise_benches::statements::{ORDINARY, read_of};
use lagwise_core::{Catalog, Verdict, Verdicts, classify};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// As many different statements as a service of medium size sends.
const STATEMENTS: usize = 256;

const SEED: u64 = 0x5eed;

fn miss(criterion: &mut Criterion) {
    let catalog = Catalog::built_in();
    let dialect = PostgreSqlDialect {};
    let mut group = criterion.benchmark_group("statement");
    for (name, sql) in ORDINARY {
        let bytes = u64::try_from(sql.len()).expect("a length fits");
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(BenchmarkId::new("classify", name), |bencher| {
            bencher.iter(|| classify(black_box(sql), &catalog).verdict);
        });
        Parser::parse_sql(&dialect, sql).expect("the parser knows every statement");
        group.bench_function(BenchmarkId::new("sqlparser", name), |bencher| {
            bencher.iter(|| Parser::parse_sql(&dialect, black_box(sql)));
        });
    }
    group.finish();
}

/// Verdicts for that many statements of that length, and the statements in random order.
fn remembered(statements: usize, bytes: usize) -> (Verdicts, Vec<String>) {
    let verdicts = Verdicts::new(SEED);
    let mut texts: Vec<String> = (0..statements)
        .map(|number| read_of(bytes, number))
        .collect();
    for text in &texts {
        verdicts.put(text, Verdict::Read);
    }
    texts.retain(|text| verdicts.get(text).is_some());
    assert!(
        texts.len() * 10 >= statements * 9,
        "{} of {statements} statements are remembered",
        texts.len()
    );
    shuffle(&mut texts);
    (verdicts, texts)
}

fn shuffle(texts: &mut [String]) {
    let mut state = SEED;
    for end in (1..texts.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bound = u64::try_from(end + 1).expect("a length fits");
        let at = usize::try_from(state % bound).expect("it is less than a length");
        texts.swap(end, at);
    }
}

fn ask_until(done: &AtomicBool, verdicts: &Verdicts, texts: &[String]) {
    let mut texts = texts.iter().rev().cycle();
    while !done.load(Ordering::Relaxed) {
        black_box(texts.next().map(|text| verdicts.get(text)));
    }
}

fn hit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("statement_hit");
    for bytes in [48, 330, 1024] {
        let (verdicts, texts) = remembered(1, bytes);
        let text = texts.first().expect("one is remembered");
        assert_eq!(text.len(), bytes, "{text}");
        group.bench_function(BenchmarkId::new("one", bytes), |bencher| {
            bencher.iter(|| verdicts.get(black_box(text)));
        });
    }
    let (verdicts, texts) = remembered(STATEMENTS, 330);
    let mut next = texts.iter().cycle();
    group.bench_function("random of 256", |bencher| {
        bencher.iter(|| next.next().map(|text| verdicts.get(black_box(text))));
    });
    group.bench_function("random of 256, beside another thread", |bencher| {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| ask_until(&done, &verdicts, &texts));
            bencher.iter(|| next.next().map(|text| verdicts.get(black_box(text))));
            done.store(true, Ordering::Relaxed);
        });
    });
    group.finish();
}

criterion_group! {
    name = statements;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(30)
        .without_plots();
    targets = miss, hit
}
criterion_main!(statements);
