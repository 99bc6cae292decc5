//! Nobody owns the primary by what his requests carry: neither with garbage nor with good tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lagwise::{Budget, PgRouter, PgSession, Role, Token};
use lagwise_tests::checker::REGISTERS;
use lagwise_tests::cluster::{router, settle, start};
use lagwise_tests::counters::Counters;
use lagwise_tests::observe::{each_poll, until};
use lagwise_tests::{Outcome, fail};
use tokio::task::JoinSet;

use crate::tokens::{instance, keyed, write};

/// What clients send that was never signed by anybody, or not like this.
fn garbage(good: &Token) -> Vec<Token> {
    let good = good.as_str();
    let changed = |at: usize, letter: &str| {
        let mut text = good.to_owned();
        text.replace_range(at..=at, letter);
        text
    };
    let texts = [
        "A".to_owned(),
        "A".repeat(256),
        good[..good.len() - 1].to_owned(),
        good[..4].to_owned(),
        format!("{good}A"),
        format!("{good}{good}"),
        // The version, the key, the flags, the cluster, the position, the signature.
        changed(0, "z"),
        changed(2, "-"),
        changed(5, "_"),
        changed(9, "9"),
        changed(36, "Z"),
        changed(good.len() - 3, "-"),
    ];
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

#[derive(Clone, Debug, Default)]
struct Tally {
    on_primary: Arc<AtomicU32>,
    on_replicas: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
    at_once: Arc<AtomicU32>,
    most_at_once: Arc<AtomicU32>,
}

impl Tally {
    /// Reads once, holds the connection for a while, and notes where it led.
    async fn read(&self, session: PgSession, hold: Duration) -> Outcome {
        let node = match session.read().await {
            Ok(node) => node,
            Err(error) if error.is_overloaded() => {
                self.refused.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if node.route().role == Role::Replica {
            self.on_replicas.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        self.on_primary.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(hold).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    /// Has all sessions read at once.
    async fn read_all(&self, sessions: Vec<PgSession>, hold: Duration) -> Outcome {
        let mut reads = JoinSet::new();
        for session in sessions {
            let tally = self.clone();
            reads.spawn(async move { tally.read(session, hold).await });
        }
        while let Some(read) = reads.join_next().await {
            read??;
        }
        Ok(())
    }

    fn counts(&self) -> (u32, u32, u32) {
        let count = |count: &AtomicU32| count.load(Ordering::SeqCst);
        (
            count(&self.on_replicas),
            count(&self.on_primary),
            count(&self.refused),
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_replicas_are_well_no_token_moves_reads_to_the_primary() -> Outcome {
    let counters = Counters::install();
    let cluster = start(2, REGISTERS).await?;
    let db = instance(&cluster).await?;
    let session = db.session();
    write(&session, 0).await?;
    let token = session.token().await?;
    cluster.wait_caught_up().await?;
    each_poll(&db, "r1", 2, |_| {}).await?;
    each_poll(&db, "r2", 2, |_| {}).await?;
    let bad = garbage(&token);
    assert!(bad.len() >= 10, "they can all be carried");
    let accepted = || counters.sum("lagwise_tokens_received_total", &[("outcome", "accepted")]);
    let before = accepted();
    for bad in &bad {
        assert!(db.session().merge(bad).is_err());
    }
    assert_eq!(accepted(), before, "none of them counts");
    let attackers = (0..200_usize).map(|number| match number % 2 {
        0 => db.resume(&token),
        _ => db.resume(&bad[number % bad.len()]),
    });
    let honest = (0..200).map(|_| db.session());
    let (attack, peace) = (Tally::default(), Tally::default());
    let attackers: Vec<PgSession> = attackers.collect();
    let (attacked, served) = tokio::join!(
        attack.read_all(attackers, Duration::ZERO),
        peace.read_all(honest.collect(), Duration::ZERO)
    );
    attacked?;
    served?;
    assert_eq!(peace.counts(), (200, 0, 0), "honest reads go on as ever");
    assert_eq!(
        attack.counts(),
        (200, 0, 0),
        "replicas have what the token names"
    );
    Ok(())
}

/// A router that allows four fallback reads at once, and few to wait.
async fn tight(cluster: &lagwise_testkit::Cluster) -> Outcome<PgRouter> {
    let budget = Budget::new()
        .concurrent(4)
        .queue_for(Duration::from_millis(30));
    let policy = |policy: &mut lagwise::Policy| {
        policy.max_lag = Duration::from_secs(60);
        policy.max_waiting = 16;
    };
    let router = router(cluster).policy(policy).budget(budget);
    settle(keyed(router.wait(Duration::from_millis(400)))?, 2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_replicas_stand_still_replayed_tokens_stay_within_the_budget_and_few_wait() -> Outcome
{
    let counters = Counters::install();
    let cluster = start(2, REGISTERS).await?;
    let db = tight(&cluster).await?;
    for replica in cluster.replicas() {
        replica.freeze_replay()?;
    }
    let session = db.session();
    write(&session, 0).await?;
    let token = session.token().await?;
    let skipped = || counters.sum("lagwise_waits_skipped_total", &[]);
    let before = skipped();
    let (attack, peace) = (Tally::default(), Tally::default());
    let attackers = (0..200).map(|_| db.resume(&token)).collect();
    let honest = (0..200).map(|_| db.session()).collect();
    let write_on = async {
        for _ in 0..20 {
            write(&db.session(), 1).await?;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    let (attacked, served, written) = tokio::join!(
        attack.read_all(attackers, Duration::from_millis(40)),
        peace.read_all(honest, Duration::ZERO),
        write_on
    );
    attacked?;
    served?;
    written?;
    assert_eq!(
        peace.counts(),
        (200, 0, 0),
        "who wrote nothing reads on replicas"
    );
    let most = attack.most_at_once.load(Ordering::SeqCst);
    let (on_replicas, on_primary, refused) = attack.counts();
    assert!((1..=4).contains(&most), "{most} fallback reads at once");
    assert_eq!(on_replicas, 0, "no replica has it");
    assert_eq!(on_primary + refused, 200);
    assert!(
        refused > 100,
        "{on_primary} were served, and {refused} refused"
    );
    assert!(
        skipped() - before >= 200 - 16 - 40,
        "{} did not wait",
        skipped() - before
    );

    every_place_is_given_back(&cluster, &db, &token).await
}

/// When replicas have it again, the token leads to them, and as many reads may wait as before.
async fn every_place_is_given_back(
    cluster: &lagwise_testkit::Cluster,
    db: &PgRouter,
    token: &Token,
) -> Outcome {
    for replica in cluster.replicas() {
        replica.thaw_replay()?;
    }
    until(
        "the token leads to replicas again",
        Duration::from_secs(10),
        async || Ok(db.resume(token).read().await?.route().role == Role::Replica),
    )
    .await?;
    let after = Tally::default();
    after
        .read_all((0..50).map(|_| db.resume(token)).collect(), Duration::ZERO)
        .await?;
    match after.counts() {
        (50, 0, 0) => Ok(()),
        counts => fail(format!("{counts:?}")),
    }
}
