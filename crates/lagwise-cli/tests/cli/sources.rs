//! Nodes are named by flags, the environment, a file or a service, and passwords are found where libpq
//! finds them; neither is ever shown.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use lagwise_testkit::{Cluster, Node};

use crate::Outcome;
use crate::binary::{Run, lagwise, run_aside};

const PASSWORD: &str = "s3cret";

/// A cluster whose role `app` has to show its password.
async fn guarded() -> Outcome<Cluster> {
    let cluster = Cluster::builder()
        .replicas(1)
        .hba("local all app scram-sha-256");
    let cluster = cluster.start().await?;
    let role = format!("create role app login password '{PASSWORD}'");
    cluster.primary().execute(&role).await?;
    cluster.wait_caught_up().await?;
    Ok(cluster)
}

fn host(node: &Node) -> String {
    node.client_wire().address().to_string()
}

fn hosts(cluster: &Cluster) -> String {
    let hosts: Vec<String> = cluster.nodes().iter().map(host).collect();
    hosts.join(",")
}

/// Without a password.
fn url(hosts: &str) -> String {
    format!("postgres://app@{hosts}/postgres")
}

fn check() -> Command {
    let mut command = lagwise();
    command.arg("check");
    command
}

async fn is_well(command: Command, what: &str) -> Outcome {
    let run = run_aside(command).await?;
    assert_eq!(
        (run.code, run.err.as_str()),
        (Some(0), ""),
        "{what}: {run:?}"
    );
    assert!(
        run.out.contains("1 of 1 replicas in rotation"),
        "{what}: {run:?}"
    );
    is_silent(&run);
    Ok(())
}

fn is_silent(run: &Run) {
    for said in [&run.out, &run.err] {
        assert!(!said.contains(PASSWORD), "{run:?}");
    }
}

/// A file in the cluster's folder, which goes with it, that nobody else may read.
fn file(cluster: &Cluster, name: &str, text: &str) -> Outcome<PathBuf> {
    let path = cluster.folder().join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

#[tokio::test]
async fn a_password_is_found_where_libpq_finds_it() -> Outcome {
    let cluster = guarded().await?;
    let all = url(&hosts(&cluster));

    let mut without = check();
    without.args(["--url", &all]);
    let run = run_aside(without).await?;
    assert_eq!(run.code, Some(3), "nobody is let in: {run:?}");

    let mut variable = check();
    variable.args(["--url", &all]).env("PGPASSWORD", PASSWORD);
    is_well(variable, "PGPASSWORD").await?;

    let lines = cluster.nodes().iter().map(|node| {
        let address = node.client_wire().address();
        format!(
            "{}:{}:postgres:app:{PASSWORD}\n",
            address.ip(),
            address.port()
        )
    });
    let passfile = file(&cluster, "pgpass", &lines.collect::<String>())?;
    let mut pgpass = check();
    pgpass.args(["--url", &all]).env("PGPASSFILE", passfile);
    is_well(pgpass, "PGPASSFILE").await?;

    let ports: Vec<String> = cluster
        .nodes()
        .iter()
        .map(|node| node.client_wire().address().port().to_string())
        .collect();
    let service = format!(
        "[other]\nhost=nowhere\n[shop]\nhost=127.0.0.1,127.0.0.1\nport={}\nuser=app\ndbname=postgres\npassword={PASSWORD}\n",
        ports.join(",")
    );
    let services = file(&cluster, "services", &service)?;
    let mut named = check();
    named
        .args(["--url", "service=shop"])
        .env("PGSERVICEFILE", &services);
    is_well(named, "a service").await?;
    let mut missing = check();
    missing
        .args(["--url", "service=shop2"])
        .env("PGSERVICEFILE", &services);
    let run = run_aside(missing).await?;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(format!("{run:?}").contains("shop2"), "{run:?}");
    is_silent(&run);
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn nodes_are_named_by_flags_or_the_environment_or_a_file() -> Outcome {
    let cluster = guarded().await?;
    let of = |node: &Node| url(&host(node));
    let (primary, replica) = (of(cluster.primary()), of(cluster.replica(0)));
    let with_password = || {
        let mut command = check();
        command.env("PGPASSWORD", PASSWORD);
        command
    };

    let mut flags = with_password();
    flags.args([
        "--primary",
        &primary,
        "--replica",
        &format!("near={replica}"),
    ]);
    is_well(flags, "flags").await?;

    let mut environment = with_password();
    environment
        .env("LAGWISE_PRIMARY", &primary)
        .env("LAGWISE_REPLICAS", &replica);
    is_well(environment, "the environment").await?;

    let text = format!("[primary]\nurl = '{primary}'\n[[replica]]\nurl = '{replica}'\n");
    let config = file(&cluster, "lagwise.toml", &text)?;
    let mut from_file = with_password();
    from_file.arg("--config").arg(&config);
    is_well(from_file, "a file").await?;

    // What is said aloud goes before what stands in the environment.
    let mut both = with_password();
    both.env("LAGWISE_PRIMARY", url("127.0.0.1:1"))
        .env("LAGWISE_REPLICAS", url("127.0.0.1:2"))
        .args(["--primary", &primary, "--replica", &replica]);
    is_well(both, "flags before the environment").await?;
    let mut both = with_password();
    both.env("LAGWISE_PRIMARY", url("127.0.0.1:1"))
        .arg("--config")
        .arg(&config);
    is_well(both, "a file before the environment").await?;

    // Nodes of two clusters could meet.
    let mut primary_alone = with_password();
    primary_alone
        .env("LAGWISE_REPLICAS", &replica)
        .args(["--primary", &primary]);
    let run = run_aside(primary_alone).await?;
    assert!(run.out.contains("0 of 0 replicas"), "{run:?}");

    let run = run_aside(check()).await?;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(format!("{run:?}").contains("--primary URL"), "{run:?}");
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn a_password_in_an_address_or_a_file_is_never_shown() -> Outcome {
    let cluster = guarded().await?;
    let host = host(cluster.primary());
    let bad = |text: &str| text.replace("HOST", &host);
    let broken = "[primary]\nurl = 'postgres://app:s3cret@HOST/postgres\n";
    let broken = file(&cluster, "broken.toml", &bad(broken))?;
    for address in [
        "postgres://app:s3cret@HOST:/postgres?sslmode=no",
        "postgres://app:s3cret/@HOST/postgres",
        "postgres://nobody:s3cret@HOST/postgres",
        "postgres://app:s3cret2@HOST/postgres",
        "postgres://app:s3cret@127.0.0.1:1/postgres",
        "host=127.0.0.1 password=s3cret user=",
        "password='s3cret",
    ] {
        for command in ["check", "watch", "explain"] {
            let mut runs = lagwise();
            runs.arg(command);
            match command {
                "explain" => runs.args(["--url", &bad(address), "select 1"]),
                "watch" => runs.args(["--once", "--primary", &bad(address)]),
                _ => runs.args(["--timeout", "3s", "--primary", &bad(address)]),
            };
            is_silent(&run_aside(runs).await?);
        }
    }
    let mut runs = check();
    runs.arg("--config").arg(broken);
    let run = run_aside(runs).await?;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(
        format!("{run:?}").contains("broken.toml: line 2"),
        "{run:?}"
    );
    is_silent(&run);
    Ok(cluster.shutdown().await?)
}
