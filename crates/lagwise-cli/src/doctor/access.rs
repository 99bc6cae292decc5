//! Whether nodes can be reached, by whom, and what they let one see.

use sqlx::postgres::PgDatabaseError;

use super::cluster::Cluster;
use super::examine::{Examined, Found, Refusal};
use super::finding::{Finding, Severity};
use crate::format::short;
use crate::trouble::Trouble;

pub(super) fn findings(cluster: &Cluster) -> Vec<Finding> {
    let refused = cluster.nodes.iter().filter_map(|node| match &node.outcome {
        Ok(_) => None,
        Err(refusal) => Some(unreachable(node, refusal).on(node.node.name())),
    });
    let mut findings: Vec<Finding> = refused.collect();
    for (name, found) in cluster.found() {
        let found = [blind(found), superuser(found), readable(found)];
        findings.extend(found.into_iter().flatten().map(|finding| finding.on(name)));
    }
    findings
}

fn unreachable(node: &Examined, refusal: &Refusal) -> Finding {
    let error = match refusal {
        Refusal::Late(patience) => {
            let what = format!("it has not answered within {}", short(*patience));
            return down(what, node);
        }
        Refusal::Error(error) => error,
    };
    if is_cold(error) {
        return Finding::new(Severity::Problem, "hot_standby", "hot_standby is off")
            .because("a standby that takes no connections serves no reads, and its lag is unknown")
            .mend(
                "ALTER SYSTEM has nobody to ask: set hot_standby = on in postgresql.conf, restart",
            );
    }
    if let Some(parameter) = refused_parameter(error) {
        let what = format!("a pooler in between refuses the startup parameter {parameter}");
        return Finding::new(Severity::Problem, "pooler", what)
            .because("neither the driver nor the monitor can connect")
            .mend("in pgbouncer.ini: ignore_startup_parameters = extra_float_digits,options");
    }
    match Trouble::of_error(error) {
        Trouble::Down(words) => down(words, node),
        Trouble::Refused(words) => Finding::new(Severity::Unseen, "refused", words)
            .because("of this node nothing could be looked at")
            .mend("check user, password and database of its URL, and its pg_hba.conf"),
    }
}

fn down(what: String, node: &Examined) -> Finding {
    let options = node.node.options();
    let (host, port) = (options.get_host(), options.get_port());
    Finding::new(Severity::Problem, "unreachable", what)
        .because("a node that nobody reaches serves nobody")
        .mend(format!(
            "start the server; check that {host}:{port} is its address, and firewalls"
        ))
}

/// "Hot standby mode is disabled."
fn is_cold(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else {
        return false;
    };
    let server = database.try_downcast_ref::<PgDatabaseError>();
    server.is_some_and(|error| {
        let detail = error.detail().unwrap_or_default();
        error.code() == "57P03" && detail.contains("Hot standby mode is disabled")
    })
}

/// "unsupported startup parameter: options", in the words of `PgBouncer`.
fn refused_parameter(error: &sqlx::Error) -> Option<String> {
    let sqlx::Error::Database(database) = error else {
        return None;
    };
    let (_, parameter) = database
        .message()
        .split_once("unsupported startup parameter")?;
    Some(parameter.trim_start_matches([':', ' ']).to_owned())
}

fn blind(found: &Found) -> Option<Finding> {
    let state = &found.seen.state;
    (!state.sees_stats).then(|| {
        let what = format!("the role {} may not see statistics of others", state.role);
        Finding::new(Severity::Note, "privileges", what)
            .because(
                "everything is proved without; but a stream that is open and silent, the timeline \
                 that a replica follows and who streams from here stay unseen",
            )
            .mend("on the primary:")
            .command(format!("GRANT pg_monitor TO {};", quoted(&state.role)))
    })
}

fn superuser(found: &Found) -> Option<Finding> {
    let state = &found.seen.state;
    (state.superuser && state.remote).then(|| {
        let what = format!("{} is a superuser, and comes over a network", state.role);
        Finding::new(Severity::Note, "superuser", what)
            .because("whoever finds a way into the service is the owner of all databases")
            .mend("give the service a role of its own, such as this one, made on the primary:")
            .command("CREATE ROLE app LOGIN;")
            .command("GRANT pg_monitor TO app;")
    })
}

fn readable(found: &Found) -> Option<Finding> {
    let state = &found.seen.state;
    (state.remote && !state.encrypted).then(|| {
        Finding::new(Severity::Warning, "tls", "the connection is not encrypted")
            .because("rows and what is needed to log in can be read on the way")
            .mend("add ?sslmode=verify-full&sslrootcert=FILE to the node's URL")
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::cluster::tests::well;

    fn topics(cluster: &Cluster) -> Vec<(&'static str, Severity)> {
        crate::doctor::cluster::tests::topics(&findings(cluster))
    }

    #[test]
    fn who_comes_over_a_network_is_encrypted_and_no_superuser() {
        let mut cluster = Cluster::of(vec![well(false)]);
        assert_eq!(topics(&cluster), []);
        let state = &mut cluster.node_mut(0).seen.state;
        (state.remote, state.superuser, state.encrypted) = (true, true, false);
        let both = [("superuser", Severity::Note), ("tls", Severity::Warning)];
        assert_eq!(topics(&cluster), both);
        cluster.node_mut(0).seen.state.encrypted = true;
        assert_eq!(topics(&cluster), both[..1]);
        cluster.node_mut(0).seen.state.remote = false;
        assert_eq!(
            topics(&cluster),
            [],
            "on this machine it is a matter of taste"
        );
    }

    #[test]
    fn a_role_is_granted_by_its_quoted_name() {
        let mut cluster = Cluster::of(vec![well(false)]);
        let state = &mut cluster.node_mut(0).seen.state;
        (state.sees_stats, state.role) = (false, "a\"b".to_owned());
        let commands = findings(&cluster).remove(0).commands;
        assert_eq!(commands, ["GRANT pg_monitor TO \"a\"\"b\";"]);
    }
}
