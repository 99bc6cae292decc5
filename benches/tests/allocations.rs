//! What routing must not cost on any machine: a statement seen before takes no memory, and neither does
//! the decision where it goes.
//!
//! An allocation counts where it is made, so this is a law that can be tested; how long something
//! takes is measured by the benches.

use std::hint::black_box;

use allocation_counter::measure;
use lagwise_benches::decision::{Before, Decisions, POINT};
use lagwise_benches::statements::{JOINS, ORDINARY, REPORT, read_of};
use lagwise_core::{Verdict, Verdicts};

#[test]
fn a_statement_seen_before_allocates_nothing() {
    let verdicts = Verdicts::new(7);
    let mut remembered = 0;
    for (name, sql) in ORDINARY {
        verdicts.put(sql, Verdict::Read);
        // Two texts may want one place.
        if verdicts.get(sql).is_none() {
            continue;
        }
        remembered += 1;
        let counted = measure(|| {
            black_box(verdicts.get(black_box(sql)));
        });
        assert_eq!(counted.count_total, 0, "{name}: {counted:?}");
    }
    assert!(
        remembered > ORDINARY.len() / 2,
        "only {remembered} are remembered"
    );
}

#[test]
fn a_statement_not_seen_before_is_looked_for_without_allocating() {
    let verdicts = Verdicts::new(7);
    let counted = measure(|| {
        black_box(verdicts.get(black_box(JOINS)));
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[test]
fn a_decision_allocates_nothing_however_many_replicas_there_are() {
    for replicas in [8, 256] {
        for before in [Before::Nothing, Before::Wrote, Before::Read] {
            let mut decisions = Decisions::among(replicas, before);
            let counted = measure(|| {
                let decided = (0..100).all(|_| decisions.decide(black_box(POINT)).is_some());
                assert!(decided, "a replica serves");
            });
            assert_eq!(
                counted.count_total, 0,
                "{replicas}, {before:?}: {counted:?}"
            );
        }
    }
}

#[test]
fn a_selection_allocates_nothing() {
    for replicas in [1, 2, 8, 256] {
        let mut decisions = Decisions::among(replicas, Before::Wrote);
        let floor = decisions.floor();
        let counted = measure(|| {
            assert!(decisions.select(black_box(floor)).is_some());
        });
        assert_eq!(counted.count_total, 0, "{replicas}: {counted:?}");
    }
}

#[test]
fn what_is_counted_are_allocations() {
    let counted = measure(|| {
        black_box(String::from(black_box(REPORT)));
    });
    assert_eq!(counted.count_total, 1, "the text was copied once");
}

#[test]
fn statements_have_the_lengths_that_figures_are_given_for() {
    for bytes in [48, 330, 1024] {
        assert_eq!(read_of(bytes, 255).len(), bytes);
    }
    assert!((300..360).contains(&JOINS.len()), "{}", JOINS.len());
    assert!((790..1000).contains(&REPORT.len()), "{}", REPORT.len());
}
