//! With the catalog of a real server, names mean what they mean there.

use std::process::Command;

use lagwise_testkit::Cluster;

use crate::Outcome;
use crate::binary::{lagwise, run_aside};

const OBJECTS: &str = "
    create table kept (id int);
    create unlogged table unkept (id int);
    create view over_kept as select id from kept;
    create view over_unkept as select id from unkept;
    create function touches(n int) returns int language sql volatile as 'select n';
    create function doubles(n int) returns int language sql immutable as 'select 2 * n';
    create view over_touches as select touches(id) from kept;
";

const STATEMENTS: [(&str, &str); 7] = [
    ("select id from kept", "read"),
    ("select id from unkept", "write"),
    ("select id from over_kept", "read"),
    ("select id from over_unkept", "write"),
    ("select touches(1)", "write"),
    ("select doubles(1)", "read"),
    ("select * from public.over_touches", "write"),
];

fn explain(url: &str, options: &[&str]) -> Command {
    let mut command = lagwise();
    command.args(["explain", "--format", "json", "--url", url]);
    command.args(options);
    command
}

#[tokio::test]
async fn a_servers_functions_views_and_unlogged_tables_are_known() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    cluster.primary().execute(OBJECTS).await?;
    cluster.wait_caught_up().await?;
    let statements = STATEMENTS.map(|(statement, _)| statement);
    let expected = STATEMENTS.map(|(_, verdict)| verdict);
    for node in cluster.nodes() {
        let run = run_aside(explain(&node.url(), &statements)).await?;
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
        assert_eq!(run.verdicts()?, expected, "asked {}: {run:?}", node.name());
    }

    let overridden = ["--reads", "touches", "--writes", "kept"];
    let both = ["select touches(1)", "select id from kept"];
    let options = [&overridden[..], &both].concat();
    let run = run_aside(explain(&cluster.primary().url(), &options)).await?;
    assert_eq!(
        run.verdicts()?,
        ["read", "write"],
        "overrides have the last word"
    );
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn of_several_servers_the_primary_is_asked_and_else_one_that_is_there() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    cluster.primary().execute(OBJECTS).await?;
    cluster.wait_caught_up().await?;
    let host = |node: &lagwise_testkit::Node| node.client_wire().address().to_string();
    // The first is nobody's, the second a replica, the third the primary.
    let (replica, primary) = (host(cluster.replica(0)), host(cluster.primary()));
    let all = format!("postgres://postgres@127.0.0.1:1,{replica},{primary}/postgres");
    let found = run_aside(explain(&all, &["select touches(1)", "select doubles(1)"])).await?;
    assert_eq!(found.verdicts()?, ["write", "read"], "{found:?}");
    // A function that only the primary knows of yet tells who was asked.
    cluster.replica(0).freeze_replay()?;
    let new = "create function news(n int) returns int language sql immutable as 'select n'";
    cluster.primary().execute(new).await?;
    let found = run_aside(explain(&all, &["select news(1)"])).await?;
    assert_eq!(
        found.verdicts()?,
        ["read"],
        "the primary was asked: {found:?}"
    );
    cluster.replica(0).thaw_replay()?;
    cluster.primary().kill().await?;
    let found = run_aside(explain(&all, &["select doubles(1)"])).await?;
    assert_eq!(
        found.verdicts()?,
        ["read"],
        "the replica was asked: {found:?}"
    );
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn nodes_of_a_file_or_the_environment_are_asked_only_where_that_is_wanted() -> Outcome {
    let cluster = Cluster::builder().replicas(0).start().await?;
    cluster.primary().execute(OBJECTS).await?;
    let url = cluster.primary().url();
    let file = std::env::temp_dir().join(format!("lagwise-explain-{}.toml", std::process::id()));
    std::fs::write(&file, format!("[primary]\nurl = \"{url}\"\n"))?;
    let explains = |options: &[&str]| {
        let mut command = lagwise();
        command
            .args(["explain", "--format", "json", "select doubles(1)"])
            .args(options);
        command.env("LAGWISE_PRIMARY", &url);
        command
    };
    let name = file.to_str().ok_or("the folder is UTF-8")?;
    for (options, verdict) in [
        (&[][..], "write"),
        (&["--catalog"], "read"),
        (&["--config", name], "read"),
    ] {
        let run = run_aside(explains(options)).await?;
        assert_eq!(run.verdicts()?, [verdict], "{options:?}: {run:?}");
    }
    std::fs::remove_file(&file)?;
    let mut nothing = explains(&["--catalog"]);
    nothing.env_remove("LAGWISE_PRIMARY");
    let run = run_aside(nothing).await?;
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
    assert!(run.err.contains("LAGWISE_CONFIG"), "{run:?}");
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_without_the_password() -> Outcome {
    let cluster = Cluster::builder().replicas(0).start().await?;
    let (address, password) = (cluster.primary().client_wire().address(), "s3cr3t");
    let url = format!("postgres://postgres:{password}@{address}/no-such-database");
    let run = run_aside(explain(&url, &["select 1"])).await?;
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{run:?}");
    assert!(
        run.err.contains(&format!("{address}/no-such-database")),
        "{run:?}"
    );
    assert!(!run.err.contains(password), "{run:?}");
    Ok(cluster.shutdown().await?)
}
