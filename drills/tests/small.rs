//! The smallest form of two drills: the tool works, everybody is measured, and lagwise's laws hold.
//!
//! Speeds are not judged here: tests run beside each other on busy machines.

use std::time::Duration;

use lagwise_drills::Result;
use lagwise_drills::contender::Which;
use lagwise_drills::drill::Drill;
use lagwise_drills::report::{Figure, Format, Table, Target};

/// Two columns: lagwise, and what people write by hand.
async fn compare(drill: Drill) -> Result<Table> {
    let length = Duration::from_millis(1_500);
    drill.compare(&[Which::Lagwise, Which::Pools], length).await
}

fn count(table: &Table, who: usize, label: &str) -> usize {
    match table.columns[who].1.figure(label) {
        Some(Figure::Count(count)) => *count,
        other => panic!("`{label}` is {other:?}"),
    }
}

#[track_caller]
fn keeps_its_laws(table: &Table, laws: usize) {
    let told = table.show(Format::Text).expect("a table can be shown");
    let judged = table.verdicts().filter(|it| it.kind == Target::Law);
    assert_eq!(judged.count(), laws, "each law is judged once\n{told}");
    assert!(!table.breaks_a_law(), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_replica_costs_no_deadline_with_lagwise_and_many_without() -> Result {
    let table = compare(Drill::HungReplica).await?;
    keeps_its_laws(&table, 1);
    let (reads, cut) = ("reads", "reads that took their whole deadline");
    assert!(count(&table, 0, reads) > 50, "enough to judge by");
    assert!(count(&table, 1, cut) > 0, "the fault was one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_brain_takes_no_write_from_lagwise_once_it_is_noticed() -> Result {
    let table = compare(Drill::SplitBrain).await?;
    keeps_its_laws(&table, 2);
    let (old, new) = (
        "writes to the old primary after the promotion",
        "writes to the new primary",
    );
    assert!(count(&table, 0, new) > 50, "enough to judge by");
    assert!(count(&table, 1, old) > 50, "the old primary took writes");
    assert_eq!(count(&table, 1, new), 0, "a pool knows no other");
    Ok(())
}
