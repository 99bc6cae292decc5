//! Each fault is in force when its command returns, and gone after its opposite.

use std::time::Duration;

use rustix::process::Signal;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::held::{Held, node};
use crate::Outcome;

const MAKE: &str = "create table notes (id int)";
const NOTES: &str = "select count(*) from notes";

fn add(id: u32) -> String {
    format!("insert into notes values ({id})")
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

#[tokio::test]
async fn applications_write_on_the_primary_and_read_it_on_every_replica() -> Outcome {
    let held = Held::start("rw", &["--replicas", "2"])?;
    let names = ["primary", "replica-1", "replica-2"];
    let nodes = held.said["nodes"].as_array().ok_or("nodes")?;
    assert_eq!(
        nodes.iter().map(|node| &node["name"]).collect::<Vec<_>>(),
        names
    );
    for (name, role) in names.into_iter().zip(["primary", "replica", "replica"]) {
        let node = node(&held.said, name)?;
        assert_eq!(
            (&node["role"], &node["running"]),
            (&role.into(), &true.into()),
            "{node}"
        );
        assert_eq!(node["timeline"], 1, "{node}");
    }
    held.execute("primary", MAKE).await?;
    held.execute("primary", &add(1)).await?;
    for replica in ["replica-1", "replica-2"] {
        held.shows(replica, NOTES, 1).await?;
        let refused = held.execute(replica, &add(2)).await.unwrap_err();
        assert!(refused.to_string().contains("read-only"), "{refused}");
    }
    let env = &held.said["env"];
    assert_eq!(env["LAGWISE_PRIMARY"], held.url("primary")?);
    assert_eq!(env["DATABASE_URL"], held.url("primary")?);
    let replicas = format!("{},{}", held.url("replica-1")?, held.url("replica-2")?);
    assert_eq!(env["LAGWISE_REPLICAS"], replicas);
    held.end().await
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_database_are_refused_and_the_superuser_is_not() -> Outcome {
    let held = Held::start("auth", &["--replicas", "1"])?;
    for name in ["primary", "replica-1"] {
        let url = held.url(name)?;
        let wrong = url.replace("app:app@", "app:wrong@");
        let refused = PgConnection::connect(&wrong).await.unwrap_err();
        assert_eq!(sqlstate(&refused).as_deref(), Some("28P01"), "{refused}");
        let none = url.replace("app:app@", "app@");
        assert!(
            PgConnection::connect(&none).await.is_err(),
            "a password has to be shown"
        );
        let elsewhere = format!("{url}s");
        let refused = PgConnection::connect(&elsewhere).await.unwrap_err();
        assert_eq!(sqlstate(&refused).as_deref(), Some("3D000"), "{refused}");

        let admin = node(&held.said, name)?["admin_url"].clone();
        let mut admin = PgConnection::connect(admin.as_str().ok_or("a URL")?).await?;
        let query = "select rolsuper from pg_roles where rolname = current_user";
        assert!(
            sqlx::query_scalar::<_, bool>(query)
                .fetch_one(&mut admin)
                .await?
        );
        let mut app = PgConnection::connect(&url).await?;
        assert!(
            !sqlx::query_scalar::<_, bool>(query)
                .fetch_one(&mut app)
                .await?
        );
    }
    held.end().await
}

#[tokio::test]
async fn a_delayed_replica_receives_a_commit_and_shows_it_only_later() -> Outcome {
    let held = Held::start("delay", &["--replicas", "2"])?;
    held.execute("primary", MAKE).await?;
    held.shows("replica-1", NOTES, 0).await?;
    held.tell("delay replica-1 1h")?;
    assert_eq!(held.standing("replica-1")?["faults"]["delay_ms"], 3_600_000);
    held.execute("primary", &add(1)).await?;
    let behind = "select (pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn())::int::bigint";
    held.shows("replica-1", behind, 1).await?;
    held.shows("replica-2", NOTES, 1).await?;
    assert_eq!(held.count("replica-1", NOTES).await?, 0);
    held.tell("delay replica-1 0")?;
    held.shows("replica-1", NOTES, 1).await?;
    assert_eq!(held.standing("replica-1")?["faults"]["delay_ms"], 0);
    held.end().await
}

#[tokio::test]
async fn a_paused_replica_receives_and_a_cut_one_does_not() -> Outcome {
    let held = Held::start("pause", &["--replicas", "2"])?;
    held.execute("primary", MAKE).await?;
    held.shows("replica-1", NOTES, 0).await?;
    held.shows("replica-2", NOTES, 0).await?;
    held.tell("pause replica-1")?;
    held.tell("cut replica-2")?;
    let receiving = "select count(*) from pg_stat_wal_receiver";
    assert_eq!(held.count("replica-1", receiving).await?, 1);
    assert_eq!(
        held.count("replica-2", receiving).await?,
        0,
        "it holds at once"
    );
    held.execute("primary", &add(1)).await?;
    let behind = "select (pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn())::int::bigint";
    held.shows("replica-1", behind, 1).await?;
    assert_eq!(held.count("replica-2", behind).await?, 0);
    for name in ["replica-1", "replica-2"] {
        assert_eq!(held.count(name, NOTES).await?, 0, "{name}");
    }
    let table = held.tell("status")?;
    let line = |name: &str| {
        table
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or("")
    };
    assert!(line("replica-1").contains(" paused "), "{table}");
    assert!(line("replica-2").contains(" cut "), "{table}");
    held.tell("resume replica-1")?;
    assert!(
        held.tell("heal replica-2")?
            .contains("streams from primary")
    );
    assert_eq!(
        held.count("replica-2", receiving).await?,
        1,
        "heal waits for that"
    );
    held.shows("replica-1", NOTES, 1).await?;
    held.shows("replica-2", NOTES, 1).await?;
    held.end().await
}

#[tokio::test]
async fn a_frozen_server_answers_nothing_and_its_state_is_unknown() -> Outcome {
    let held = Held::start("freeze", &["--replicas", "1"])?;
    let url = held.url("replica-1")?;
    held.tell("freeze replica-1")?;
    let connect = PgConnection::connect(&url);
    let hung = tokio::time::timeout(Duration::from_millis(300), connect).await;
    assert!(hung.is_err(), "it accepts and says nothing");
    let standing = held.standing("replica-1")?;
    assert_eq!(standing["faults"]["frozen"], true);
    assert_eq!(
        (&standing["running"], &standing["role"]),
        (&true.into(), &().into())
    );
    assert!(held.refused("pause replica-1")?.contains("thaw it first"));
    held.tell("thaw replica-1")?;
    held.execute("primary", MAKE).await?;
    held.shows("replica-1", NOTES, 0).await?;
    held.tell("freeze replica-1")?;
    // What hangs is removed as well.
    held.end().await
}

#[tokio::test]
async fn clients_that_are_cut_off_are_refused_while_the_node_streams() -> Outcome {
    let held = Held::start("clients", &["--replicas", "1"])?;
    held.tell("cut replica-1 --clients")?;
    assert!(held.count("replica-1", "select 1::bigint").await.is_err());
    let standing = held.standing("replica-1")?;
    assert_eq!(standing["faults"]["clients_cut"], true);
    assert_eq!(
        (&standing["faults"]["cut"], &standing["streaming"]),
        (&false.into(), &true.into())
    );
    held.tell("heal replica-1")?;
    held.shows("replica-1", "select 1::bigint", 1).await?;
    held.end().await
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_the_way_out() -> Outcome {
    let held = Held::start("refuse", &["--replicas", "1"])?;
    let unknown = held.refused("pause replica-9")?;
    assert!(
        unknown.contains("there are primary, replica-1"),
        "{unknown}"
    );
    assert!(
        held.refused("pause primary")?
            .contains("only a replica replays")
    );
    assert!(
        held.refused("delay primary 1s")?
            .contains("only a replica replays")
    );
    assert!(
        held.refused("cut primary")?
            .contains("cut primary --clients")
    );
    assert!(
        held.refused("promote primary")?
            .contains("a primary already")
    );
    assert!(
        held.refused("start replica-1 --as-primary")?
            .contains("promote it")
    );
    held.tell("kill replica-1")?;
    assert!(
        held.refused("promote replica-1")?
            .contains("start it first")
    );
    assert!(held.refused("freeze replica-1")?.contains("start it first"));
    let json = held.run("promote replica-1 --format json")?;
    let answer: serde_json::Value = serde_json::from_str(&json.out)?;
    assert_eq!(
        (json.code, &answer["ok"]),
        (Some(1), &false.into()),
        "{json:?}"
    );
    assert!(
        answer["error"]
            .as_str()
            .is_some_and(|error| error.contains("down")),
        "{json:?}"
    );
    for usage in [
        "delay replica-1 soon",
        "delay replica-1 2",
        "pause",
        "dance replica-1",
        "--replicas 1 status",
    ] {
        assert_eq!(held.run(usage)?.code, Some(2), "{usage}");
    }
    assert_eq!(
        held.standing("replica-1")?["running"],
        false,
        "nothing has changed"
    );
    held.end().await
}

#[tokio::test]
async fn a_signal_from_elsewhere_ends_it_like_an_interrupt() -> Outcome {
    for signal in [Signal::TERM, Signal::HUP] {
        let mut held = Held::start("term", &["--replicas", "0"])?;
        assert_eq!(held.said["env"]["LAGWISE_REPLICAS"], "");
        held.signal(signal)?;
        assert_eq!(held.ended().await?.code(), Some(0));
        assert!(!held.dir.exists());
    }
    Ok(())
}
