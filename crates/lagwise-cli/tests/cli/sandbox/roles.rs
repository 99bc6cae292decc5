//! Failover, switchover, and two primaries at once.

use super::held::Held;
use crate::Outcome;

const MAKE: &str = "create table notes (id int)";
const NOTES: &str = "select count(*) from notes";
const ADD: &str = "insert into notes values (1)";

fn role(held: &Held, name: &str) -> Outcome<String> {
    Ok(held.standing(name)?["role"]
        .as_str()
        .unwrap_or("unknown")
        .to_owned())
}

#[tokio::test]
async fn after_a_failover_writes_go_on_and_the_old_primary_comes_back_as_a_replica() -> Outcome {
    let held = Held::start("over", &["--replicas", "2"])?;
    held.execute("primary", MAKE).await?;
    held.shows("replica-1", NOTES, 0).await?;
    held.shows("replica-2", NOTES, 0).await?;
    held.tell("kill primary")?;
    assert!(held.execute("primary", ADD).await.is_err());
    let standing = held.standing("primary")?;
    assert_eq!(
        (&standing["running"], &standing["role"]),
        (&false.into(), &().into())
    );
    assert_eq!(
        role(&held, "replica-1")?,
        "replica",
        "nobody is promoted unasked"
    );
    let said = held.tell("promote replica-1")?;
    assert!(said.contains("replica-2 follows replica-1"), "{said}");
    held.execute("replica-1", ADD).await?;
    held.shows("replica-2", NOTES, 1).await?;

    let said = held.tell("start primary")?;
    assert!(
        said.contains("as a replica and streams from replica-1"),
        "{said}"
    );
    held.shows("primary", NOTES, 1).await?;
    assert_eq!(role(&held, "primary")?, "replica");
    let env = held.tell("env")?;
    let expected = format!("export LAGWISE_PRIMARY={}\n", held.url("replica-1")?);
    assert!(env.starts_with(&expected), "{env}");
    assert_eq!(held.standing("replica-1")?["timeline"], 2);
    held.end().await
}

#[tokio::test]
async fn a_switchover_loses_nothing_and_the_roles_are_exchanged() -> Outcome {
    let held = Held::start("switch", &["--replicas", "2"])?;
    held.execute("primary", MAKE).await?;
    held.shows("replica-1", NOTES, 0).await?;
    // What has not been replayed is not lost either.
    held.tell("pause replica-1")?;
    held.execute("primary", ADD).await?;
    held.tell("promote replica-1")?;
    assert_eq!(held.count("replica-1", NOTES).await?, 1);
    held.execute("replica-1", ADD).await?;
    for replica in ["primary", "replica-2"] {
        held.shows(replica, NOTES, 2).await?;
        assert_eq!(role(&held, replica)?, "replica");
    }
    held.tell("promote primary")?;
    held.execute("primary", ADD).await?;
    held.shows("replica-1", NOTES, 3).await?;
    held.end().await
}

#[tokio::test]
async fn a_switchover_that_would_lose_writes_or_hang_is_refused() -> Outcome {
    let held = Held::start("refsw", &["--replicas", "2"])?;
    held.execute("primary", MAKE).await?;
    held.tell("cut replica-1")?;
    let refused = held.refused("promote replica-1")?;
    assert!(refused.contains("writes would be lost"), "{refused}");
    held.tell("heal replica-1")?;
    held.tell("freeze replica-2")?;
    assert!(
        held.refused("promote replica-1")?
            .contains("replica-2 is frozen")
    );
    held.tell("freeze primary")?;
    assert!(
        held.refused("promote replica-1")?
            .contains("primary is frozen")
    );
    held.tell("thaw primary")?;
    assert_eq!(role(&held, "primary")?, "primary", "nothing has changed");
    // One that could not be told follows as soon as it can.
    let said = held.tell("promote replica-1 --leave-primary")?;
    assert!(
        said.contains("replica-2 follows it when it is thawed"),
        "{said}"
    );
    let said = held.tell("thaw replica-2")?;
    assert!(said.contains("replica-2 follows replica-1"), "{said}");
    held.execute("replica-1", ADD).await?;
    held.shows("replica-2", NOTES, 1).await?;
    held.end().await
}

#[tokio::test]
async fn a_primary_that_is_left_makes_two_and_loses_its_writes_when_it_returns() -> Outcome {
    let held = Held::start("split", &["--replicas", "2"])?;
    held.execute("primary", MAKE).await?;
    held.shows("replica-1", NOTES, 0).await?;
    held.shows("replica-2", NOTES, 0).await?;
    let said = held.tell("promote replica-1 --leave-primary --no-follow")?;
    assert!(said.contains("primary is one too"), "{said}");
    held.execute("replica-1", ADD).await?;
    held.execute("primary", "insert into notes values (2), (3)")
        .await?;
    held.shows("replica-2", NOTES, 2).await?;
    assert_eq!(held.standing("replica-2")?["follows"], "primary");
    let primaries = [role(&held, "primary")?, role(&held, "replica-1")?];
    assert_eq!(primaries, ["primary", "primary"]);

    held.tell("kill primary")?;
    let said = held.tell("start primary --as-primary")?;
    assert!(said.contains("second primary beside replica-1"), "{said}");
    held.execute("primary", ADD).await?;
    held.tell("kill primary")?;
    held.tell("start primary")?;
    held.shows("primary", NOTES, 1).await?;
    assert_eq!(role(&held, "primary")?, "replica");
    held.end().await
}

#[tokio::test]
async fn an_old_primary_that_is_not_rewound_keeps_its_rows_and_does_not_stream() -> Outcome {
    let held = Held::start("apart", &["--replicas", "1"])?;
    held.execute("primary", MAKE).await?;
    held.shows("replica-1", NOTES, 0).await?;
    held.tell("cut replica-1")?;
    held.execute("primary", ADD).await?;
    held.tell("kill primary")?;
    held.tell("heal replica-1")?;
    held.tell("promote replica-1")?;
    held.tell("start primary --no-rewind")?;
    held.shows("primary", NOTES, 1).await?;
    held.execute("replica-1", "insert into notes values (2), (3)")
        .await?;
    let standing = held.standing("primary")?;
    assert_eq!(
        (&standing["role"], &standing["streaming"]),
        (&"replica".into(), &false.into())
    );
    assert_eq!(
        held.count("primary", NOTES).await?,
        1,
        "it has what nobody else has"
    );
    held.tell("kill primary")?;
    held.tell("start primary")?;
    held.shows("primary", NOTES, 2).await?;
    held.tell("kill primary")?;
    assert!(
        held.refused("start primary --no-rewind")?
            .contains("lost no role")
    );
    held.end().await
}

#[tokio::test]
async fn a_replica_that_has_more_than_the_new_primary_is_rewound() -> Outcome {
    let held = Held::start("more", &["--replicas", "2"])?;
    held.execute("primary", MAKE).await?;
    held.shows("replica-1", NOTES, 0).await?;
    held.tell("cut replica-1")?;
    held.execute("primary", ADD).await?;
    held.shows("replica-2", NOTES, 1).await?;
    held.tell("kill primary")?;
    let said = held.tell("promote replica-1")?;
    assert!(said.contains("replica-2 follows replica-1"), "{said}");
    held.shows("replica-2", NOTES, 0).await?;
    held.execute("replica-1", ADD).await?;
    held.shows("replica-2", NOTES, 1).await?;
    held.end().await
}

#[tokio::test]
async fn a_replica_that_was_down_follows_whoever_is_primary_when_it_returns() -> Outcome {
    let held = Held::start("down", &["--replicas", "2"])?;
    held.execute("primary", MAKE).await?;
    held.shows("replica-1", NOTES, 0).await?;
    held.tell("kill replica-2")?;
    let said = held.tell("promote replica-1")?;
    assert!(
        said.contains("replica-2 follows it when it is started"),
        "{said}"
    );
    held.execute("replica-1", ADD).await?;
    held.tell("kill replica-1")?;
    assert!(
        held.refused("start replica-2")?
            .contains("replica-1 is down")
    );
    let said = held.tell("start replica-1")?;
    assert!(
        said.contains("runs as the primary; primary streams from it"),
        "{said}"
    );
    held.tell("start replica-2")?;
    assert_eq!(held.standing("replica-2")?["follows"], "replica-1");
    held.shows("replica-2", NOTES, 1).await?;
    held.end().await
}

/// Promotes `replica-1` while `replica-2` has rows more, and this befell it before and after that.
async fn ahead(name: &str, orders: [&str; 3]) -> Outcome {
    let held = Held::start(name, &["--replicas", "2"])?;
    let [early, late, after] = orders;
    let tell = |order: &str| match order {
        "" => Ok(String::new()),
        order => held.tell(order),
    };
    held.execute("primary", MAKE).await?;
    held.shows("replica-1", NOTES, 0).await?;
    held.tell("cut replica-1")?;
    tell(early)?;
    held.execute("primary", ADD).await?;
    let written = "pg_current_wal_flush_lsn() - '0/0'";
    let written = held
        .count("primary", &format!("select ({written})::bigint"))
        .await?;
    let received = format!("select (pg_last_wal_receive_lsn() - '0/0' >= {written})::int::bigint");
    held.shows("replica-2", &received, 1).await?;
    tell(late)?;
    held.tell("kill primary")?;
    let mut said = held.tell("promote replica-1")?;
    if !after.is_empty() {
        said = held.tell(after)?;
    }
    assert!(said.contains("replica-2 follows replica-1"), "{said}");
    held.shows("replica-2", NOTES, 0).await?;
    held.execute("replica-1", "insert into notes values (2), (3)")
        .await?;
    held.shows("replica-2", NOTES, 2).await?;
    assert_eq!(held.standing("replica-2")?["streaming"], true);
    held.end().await
}

#[tokio::test]
async fn a_replica_that_has_more_and_was_not_seen_to_is_rewound() -> Outcome {
    // What it hung with was not known when the other was promoted.
    ahead("hung", ["", "freeze replica-2", "thaw replica-2"]).await?;
    // What it has not replayed, a rewind does not see.
    ahead("paused", ["pause replica-2", "", ""]).await
}
