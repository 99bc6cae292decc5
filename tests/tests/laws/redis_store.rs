//! What Redis keeps of sessions is never less than was raised, or it is known that it may be.
//!
//! Each test has a Redis of its own. What the store believes of it is read off its answers, and off
//! what Redis holds, asked past the store.

use std::time::Duration;

use lagwise::{Claim, Recalled, RedisStore, SessionStore};
use lagwise_core::{Lsn, ReadFrom, ServerStart, SystemId, Timeline, WallTime};
use lagwise_testkit::RedisServer;
use lagwise_tests::cluster::PATIENCE;
use lagwise_tests::observe::until;
use lagwise_tests::{Outcome, fail};
use redis::aio::MultiplexedConnection;

/// Longer than any test.
const KEEP_FOR: Duration = Duration::from_secs(120);

/// A busy machine needs more than the store gives it by default.
const TIMEOUT: Duration = Duration::from_millis(400);

fn store(url: &str) -> Outcome<RedisStore> {
    Ok(RedisStore::new(url)?.keep_for(KEEP_FOR).timeout(TIMEOUT))
}

/// A client past the wire.
async fn ask(redis: &RedisServer) -> Outcome<MultiplexedConnection> {
    let url = format!("unix://{}", redis.socket().display());
    Ok(redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?)
}

/// Has the server look as if it had run for as long as sessions are kept.
pub(crate) async fn trusted(redis: &RedisServer, store: &RedisStore) -> Outcome {
    store.check().await?;
    let mut asks = ask(redis).await?;
    let marker: String = one(&mut asks, &["GET", "lagwise:since"]).await?;
    let mut words: Vec<&str> = marker.split(' ').collect();
    if let Some(since) = words.last_mut() {
        *since = "1";
    }
    one::<()>(&mut asks, &["SET", "lagwise:since", &words.join(" ")]).await?;
    let recalled = store.load("nobody").await?;
    assert_eq!(recalled, Recalled::Nothing, "the server is trusted now");
    Ok(())
}

/// The answer to one command.
async fn one<T: redis::FromRedisValue>(
    asks: &mut MultiplexedConnection,
    words: &[&str],
) -> Outcome<T> {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    Ok(command.query_async(asks).await?)
}

fn wrote(lsn: u64) -> Claim {
    let mut claim = Claim::new(
        SystemId::new(7),
        Timeline::new(1),
        WallTime::from_millis(1_000),
    );
    claim.lsn = Some(Lsn::new(lsn));
    claim
}

fn beyond(claim: Claim) -> Recalled {
    let mut claim = claim;
    claim.beyond = true;
    Recalled::Claim(claim)
}

/// A claim in which whatever there is to compare is often equal, often far apart.
fn any_claim(random: &mut fastrand::Rng) -> Claim {
    let mut number = |most: u64| match random.u8(..4) {
        0 | 1 => random.u64(..3).min(most),
        2 => random.u64(..=most),
        _ => most - random.u64(..3).min(most),
    };
    let system = 1 + number(u64::MAX) % 2;
    let timeline = u32::try_from(number(u64::from(u32::MAX))).unwrap_or(1);
    let issued = WallTime::from_millis(number((1 << 48) - 1));
    let mut claim = Claim::new(SystemId::new(system), Timeline::new(timeline), issued);
    let (lsn, until, started) = (number(u64::MAX), number((1 << 56) - 1), number(u64::MAX));
    let read_at = number((1 << 48) - 1);
    claim.lsn = random.bool().then(|| Lsn::new(lsn));
    claim.unsettled_until = random.bool().then(|| WallTime::from_millis(until));
    claim.beyond = random.u8(..4) == 0;
    claim.uncaptured = random.u8(..4) == 0;
    claim.read = match random.u8(..6) {
        0 => Some(ReadFrom::Several),
        1..=3 => Some(ReadFrom::Server(
            ServerStart::new(i64::from_be_bytes(started.to_be_bytes())),
            WallTime::from_millis(read_at),
        )),
        _ => None,
    };
    claim
}

#[tokio::test]
async fn redis_merges_claims_as_a_session_does() -> Outcome {
    let redis = RedisServer::start().await?;
    let store = store(&redis.url())?;
    let mut asks = ask(&redis).await?;
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for user in 0..400 {
        let key = format!("user:{user}");
        let mut merged: Option<Claim> = None;
        for turn in 0..random.usize(1..6) {
            let claim = any_claim(&mut random);
            let before = merged;
            merged = Some(merged.map_or(claim, |merged| merged.merge(claim)));
            store.raise(&key, &claim).await?;
            let kept: Vec<u8> = one(&mut asks, &["GET", &format!("lagwise:of:{key}")]).await?;
            assert_eq!(
                Claim::decode(&kept),
                merged,
                "seed {seed}, user {user}, turn {turn}: {before:?} and {claim:?}"
            );
        }
    }
    redis.shutdown().await?;
    Ok(())
}

/// Raises fifty positions, the greatest of them neither first nor last.
async fn raise_to(store: &RedisStore, instance: u64) -> Outcome {
    for turn in 0..50 {
        let lsn = turn * 37 % 50 * 100 + instance;
        store.raise("user:1", &wrote(lsn)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn raises_of_many_instances_at_once_leave_the_greatest() -> Outcome {
    let redis = RedisServer::start().await?;
    let mut instances = tokio::task::JoinSet::new();
    for instance in 1..=8_u64 {
        let store = store(&redis.url())?;
        instances.spawn(async move { raise_to(&store, instance).await });
    }
    while let Some(instance) = instances.join_next().await {
        instance??;
    }
    let store = store(&redis.url())?;
    trusted(&redis, &store).await?;
    let recalled = store.load("user:1").await?;
    assert_eq!(recalled, Recalled::Claim(wrote(4908)));
    Ok(())
}

#[tokio::test]
async fn a_server_is_not_believed_before_it_has_run_for_as_long_as_sessions_are_kept() -> Outcome {
    let redis = RedisServer::start().await?;
    let store = store(&redis.url())?;
    assert_eq!(store.load("user:1").await?, Recalled::Unknown);
    store.raise("user:1", &wrote(5)).await?;
    assert_eq!(store.load("user:1").await?, beyond(wrote(5)));
    trusted(&redis, &store).await?;
    assert_eq!(store.load("user:1").await?, Recalled::Claim(wrote(5)));
    Ok(())
}

#[tokio::test]
async fn what_a_restart_lost_is_not_nothing_to_any_instance() -> Outcome {
    let redis = RedisServer::start().await?;
    let (one, other) = (store(&redis.url())?, store(&redis.url())?);
    trusted(&redis, &one).await?;
    one.raise("user:1", &wrote(5)).await?;
    redis.kill().await?;
    redis.start_again().await?;
    assert_eq!(one.load("user:1").await?, Recalled::Unknown);
    assert_eq!(other.load("user:1").await?, Recalled::Unknown);
    Ok(())
}

#[tokio::test]
async fn what_an_older_copy_knows_is_not_all() -> Outcome {
    let redis = RedisServer::start().await?;
    let store = store(&redis.url())?;
    trusted(&redis, &store).await?;
    store.raise("user:1", &wrote(5)).await?;
    // It comes back with what it knew then, the marker of its former life included.
    one::<()>(&mut ask(&redis).await?, &["SAVE"]).await?;
    store.raise("user:1", &wrote(9)).await?;
    store.raise("user:2", &wrote(9)).await?;
    redis.kill().await?;
    redis.start_again().await?;
    // An instance that saw none of this.
    let other = self::store(&redis.url())?;
    assert_eq!(other.load("user:1").await?, beyond(wrote(5)));
    assert_eq!(other.load("user:2").await?, Recalled::Unknown);
    Ok(())
}

#[tokio::test]
async fn what_was_evicted_is_not_nothing() -> Outcome {
    let redis = RedisServer::start().await?;
    let store = store(&redis.url())?;
    trusted(&redis, &store).await?;
    store.raise("user:1", &wrote(5)).await?;
    let mut asks = ask(&redis).await?;
    one::<()>(
        &mut asks,
        &["CONFIG", "SET", "maxmemory-policy", "volatile-lru"],
    )
    .await?;
    one::<()>(&mut asks, &["CONFIG", "SET", "maxmemory", "1"]).await?;
    let gone = async || {
        // Any command that takes room evicts; this one is refused as well.
        drop(one::<()>(&mut ask(&redis).await?, &["SET", "other", "x"]).await);
        let keys: i64 = one(&mut ask(&redis).await?, &["EXISTS", "lagwise:of:user:1"]).await?;
        Ok(keys == 0)
    };
    until("the session is evicted", PATIENCE, gone).await?;
    one::<()>(&mut asks, &["CONFIG", "SET", "maxmemory", "0"]).await?;
    assert_eq!(store.load("user:1").await?, Recalled::Unknown);
    Ok(())
}

#[tokio::test]
async fn a_server_without_room_refuses_and_is_doubted() -> Outcome {
    let redis = RedisServer::start().await?;
    let (one_store, other) = (store(&redis.url())?, store(&redis.url())?);
    trusted(&redis, &one_store).await?;
    let mut asks = ask(&redis).await?;
    one::<()>(&mut asks, &["CONFIG", "SET", "maxmemory", "1"]).await?;
    let Err(refused) = one_store.raise("user:1", &wrote(5)).await else {
        return fail("there is no room");
    };
    let cause = std::error::Error::source(&refused).map(ToString::to_string);
    assert_eq!(cause.as_deref(), Some("Redis refused: OOM"));
    one::<()>(&mut asks, &["CONFIG", "SET", "maxmemory", "0"]).await?;
    assert_eq!(one_store.load("user:1").await?, Recalled::Unknown);
    assert_eq!(
        other.load("user:1").await?,
        Recalled::Unknown,
        "it was told"
    );
    Ok(())
}

#[tokio::test]
async fn what_one_instance_could_not_keep_all_instances_doubt_once_it_is_back() -> Outcome {
    let redis = RedisServer::start().await?;
    let one = store(&redis.url())?;
    let other = store(&format!("unix://{}", redis.socket().display()))?;
    trusted(&redis, &one).await?;
    redis.wire().cut();
    assert!(one.raise("user:1", &wrote(5)).await.is_err());
    assert!(one.load("user:1").await.is_err());
    redis.wire().heal();
    let back = async || Ok(one.load("user:2").await? == Recalled::Unknown);
    until("the instance is back, and in doubt", PATIENCE, back).await?;
    assert_eq!(other.load("user:1").await?, Recalled::Unknown);
    Ok(())
}

#[tokio::test]
async fn a_raise_that_was_dropped_halfway_may_be_missing() -> Outcome {
    let redis = RedisServer::start().await?;
    let store = store(&redis.url())?;
    trusted(&redis, &store).await?;
    redis.pause()?;
    let claim = wrote(5);
    let raise = tokio::time::timeout(Duration::from_millis(5), store.raise("user:1", &claim));
    assert!(raise.await.is_err(), "Redis hangs");
    redis.resume()?;
    assert_eq!(store.load("user:2").await?, Recalled::Unknown);
    Ok(())
}

#[tokio::test]
async fn an_instance_that_could_not_ask_does_not_believe_what_it_hears_next() -> Outcome {
    let redis = RedisServer::start().await?;
    let store = store(&redis.url())?;
    trusted(&redis, &store).await?;
    redis.wire().cut();
    redis.wire().heal();
    // Nothing failed, but the connection was lost, and with it maybe somebody's raise.
    assert_eq!(store.load("user:1").await?, Recalled::Unknown);
    Ok(())
}

#[tokio::test]
async fn an_instance_that_asked_in_vain_does_not_believe_what_it_hears_next() -> Outcome {
    let redis = RedisServer::start().await?;
    let store = store(&redis.url())?;
    trusted(&redis, &store).await?;
    redis.wire().blackhole();
    assert!(store.load("user:1").await.is_err(), "nobody answers");
    redis.wire().heal();
    let answered = async || {
        // Others may have had something to keep meanwhile.
        assert_eq!(store.load("user:1").await?, Recalled::Unknown);
        Ok(true)
    };
    until("Redis is asked again", PATIENCE, answered).await
}

#[tokio::test]
async fn a_redis_that_hangs_is_paid_for_by_few() -> Outcome {
    let redis = RedisServer::start().await?;
    let store = store(&redis.url())?;
    trusted(&redis, &store).await?;
    redis.wire().blackhole();
    let (mut slow, mut quick) = (0, 0);
    let began = lagwise::now();
    while quick < 50 {
        let asked = lagwise::now();
        assert!(store.load("user:1").await.is_err(), "Redis hangs");
        match lagwise::now().since(asked) {
            took if took < TIMEOUT => quick += 1,
            took if took < TIMEOUT + Duration::from_secs(2) => slow += 1,
            took => return fail(format!("a load took {took:?}")),
        }
        assert!(lagwise::now().since(began) < PATIENCE, "{slow} paid");
    }
    assert!((3..=5).contains(&slow), "{slow} paid");
    redis.wire().heal();
    let back = async || Ok(store.load("user:1").await? == Recalled::Unknown);
    until("Redis is asked again", PATIENCE, back).await
}

#[tokio::test]
async fn a_copy_that_may_not_be_written_is_not_believed() -> Outcome {
    let redis = RedisServer::start().await?;
    let store = store(&redis.url())?;
    trusted(&redis, &store).await?;
    one::<()>(&mut ask(&redis).await?, &["REPLICAOF", "127.0.0.1", "1"]).await?;
    let Err(refused) = store.load("user:1").await else {
        return fail("it is a copy");
    };
    let cause = std::error::Error::source(&refused).map(ToString::to_string);
    assert_eq!(cause.as_deref(), Some("Redis refused: READONLY"));
    Ok(())
}

#[tokio::test]
async fn a_raise_never_shortens_how_long_a_session_is_kept() -> Outcome {
    let redis = RedisServer::start().await?;
    let hasty = RedisStore::new(&redis.url())?
        .timeout(TIMEOUT)
        .keep_for(Duration::from_secs(1));
    store(&redis.url())?.raise("user:1", &wrote(5)).await?;
    hasty.raise("user:1", &wrote(6)).await?;
    hasty.raise("user:2", &wrote(6)).await?;
    let mut asks = ask(&redis).await?;
    let left: i64 = one(&mut asks, &["PTTL", "lagwise:of:user:1"]).await?;
    assert!(left > 60_000, "{left} ms are left of two minutes");
    let left: i64 = one(&mut asks, &["PTTL", "lagwise:of:user:2"]).await?;
    assert!(
        (0..=1_000).contains(&left),
        "{left} ms are left of one second"
    );
    Ok(())
}

#[tokio::test]
async fn no_key_does_harm_and_no_secret_is_shown() -> Outcome {
    let redis = RedisServer::start().await?;
    let store = store(&redis.url())?.prefix("shop:");
    let odd = [
        "since",
        "",
        "a\r\nFLUSHALL\r\n",
        &"x".repeat(100_000),
        "ключ",
    ];
    for key in odd {
        store.raise(key, &wrote(5)).await?;
        assert_eq!(store.load(key).await?, beyond(wrote(5)), "{key:?}");
    }
    let keys: Vec<String> = one(&mut ask(&redis).await?, &["KEYS", "*"]).await?;
    assert_eq!(keys.len(), odd.len() + 1, "{keys:?}");
    for key in keys {
        assert!(key.starts_with("shop:") && key.len() < 80, "{key}");
        assert!(key.chars().all(|c| c.is_ascii_graphic()), "{key:?}");
    }
    let secret = RedisStore::new("redis://ada:s3cret@127.0.0.1:1/")?;
    let Err(error) = secret.raise("user:secret-1", &wrote(5)).await else {
        return fail("nobody listens there");
    };
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let bad = RedisStore::new("redis://ada:s3cret@[/").err();
    let shown = format!("{secret:?} {error} {error:?} {cause:?} {bad:?}");
    for hidden in ["s3cret", "ada", "127.0.0.1", "secret-1"] {
        assert!(!shown.contains(hidden), "{hidden} is shown: {shown}");
    }
    Ok(())
}
