//! The ambient session: what runs in its scope acts in it, and nothing else does.

use lagwise::{PgRouter, Role};
use lagwise_tests::Outcome;
use lagwise_tests::checker::{REGISTERS, bump, look};
use lagwise_tests::cluster::{router, settle, start, with_router};
use tokio::task::JoinSet;

/// Code deep down, which has only the router.
async fn write_deep_down(router: &PgRouter) -> Outcome {
    let mut node = router.write().await?;
    bump(&mut node, 0, 1).await?;
    Ok(())
}

async fn role_deep_down(router: &PgRouter) -> Outcome<Role> {
    let node = router.read().await?;
    Ok(node.route().role)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_in_a_scope_reads_what_the_scope_has_written() -> Outcome {
    let (cluster, router) = with_router(1, REGISTERS).await?;
    cluster.replica(0).freeze_replay()?;
    let session = router.session();
    let role = session
        .scope(async {
            write_deep_down(&router).await?;
            let mut node = router.read().await?;
            assert_eq!(look(&mut node, 0).await?.0, 1, "its own write");
            drop(node);
            let mut reading = router.begin_read_only().await?;
            assert_eq!(look(&mut reading, 0).await?.0, 1, "its own write");
            role_deep_down(&router).await
        })
        .await?;
    assert_eq!(role, Role::Primary, "the replica stands still");
    let outside = role_deep_down(&router).await?;
    assert_eq!(outside, Role::Replica, "nothing is ambient any more");
    let handle = session.read().await?;
    assert_eq!(handle.route().role, Role::Primary, "the session goes on");
    cluster.replica(0).thaw_replay()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_of_two_routers_nest_without_seeing_each_other() -> Outcome {
    let (cluster, one) = with_router(1, REGISTERS).await?;
    let other = settle(router(&cluster), 1).await?;
    cluster.replica(0).freeze_replay()?;
    let (inner, outer) = (other.session(), one.session());
    let nested = inner.scope(async {
        write_deep_down(&one).await?;
        assert_eq!(role_deep_down(&one).await?, Role::Primary, "it wrote");
        assert_eq!(role_deep_down(&other).await?, Role::Replica, "it did not");
        Outcome::Ok(())
    });
    Box::pin(outer.scope(nested)).await?;
    assert_eq!(outer.read().await?.route().role, Role::Primary);
    assert_eq!(role_deep_down(&other).await?, Role::Replica);

    // Of two scopes of one router the inner one counts, and the outer one is back after it.
    let (fresh, written) = (one.session(), outer);
    let around = written.scope(async {
        assert_eq!(role_deep_down(&one).await?, Role::Primary);
        let role = fresh.scope(role_deep_down(&one)).await?;
        assert_eq!(role, Role::Replica, "the inner session wrote nothing");
        assert_eq!(role_deep_down(&one).await?, Role::Primary);
        Outcome::Ok(())
    });
    Box::pin(around).await?;
    cluster.replica(0).thaw_replay()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spawned_task_is_in_the_session_only_if_its_future_was_wrapped() -> Outcome {
    let cluster = start(1, REGISTERS).await?;
    let router = settle(router(&cluster), 1).await?;
    cluster.replica(0).freeze_replay()?;
    let session = router.session();
    session
        .scope(async {
            write_deep_down(&router).await?;
            let mut tasks = JoinSet::new();
            let bare = router.clone();
            tasks.spawn(async move { role_deep_down(&bare).await });
            let role = tasks.join_next().await.ok_or("a task was spawned")???;
            assert_eq!(role, Role::Replica, "a task of its own has no session");
            let (wrapped, session) = (router.clone(), session.clone());
            tasks.spawn(async move { session.scope(role_deep_down(&wrapped)).await });
            let role = tasks.join_next().await.ok_or("a task was spawned")???;
            assert_eq!(role, Role::Primary, "a wrapped one is in it");
            Outcome::Ok(())
        })
        .await?;
    cluster.replica(0).thaw_replay()?;
    Ok(())
}
