//! The page, in a real browser.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use lagwise_testkit::{Browser, Cluster};
use serde_json::Value;

use super::{Service, serve, until};
use crate::Outcome;

/// Where pictures of the page are left, if anybody wants them.
fn picture(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LAGWISE_PICTURES")?;
    Some(PathBuf::from(folder).join(format!("serve-{name}.png")))
}

async fn is(browser: &Browser, condition: &str) -> Outcome<bool> {
    Ok(browser.run(&format!("return Boolean({condition})")).await? == Value::Bool(true))
}

async fn shows(browser: &Browser, condition: &str) -> Outcome {
    until(condition, async || is(browser, condition).await).await
}

async fn open(browser: &Browser, service: &Service) -> Outcome {
    browser
        .open(&format!("http://{}/", service.address))
        .await?;
    shows(browser, "document.body.dataset.link === 'live'").await
}

/// What a card says of its node.
fn card(node: &str) -> String {
    format!("document.querySelector('[data-node=\"{node}\"]')")
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a person waits for is real time"
)]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn charts_move_although_nothing_happens() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let service = Service::settled(&cluster).await?;
    let browser = Browser::start((1280, 900), false).await?;
    open(&browser, &service).await?;
    let one = card("replica-1");
    shows(
        &browser,
        &format!("{one}.dataset.standing === 'in_rotation'"),
    )
    .await?;
    for drawing in [
        format!("{one}.querySelector('canvas')"),
        "timelineCanvas".to_owned(),
    ] {
        browser
            .run(&format!("window.before = {drawing}.toDataURL()"))
            .await?;
        shows(
            &browser,
            &format!("{drawing}.toDataURL() !== window.before"),
        )
        .await?;
    }
    let nothing = "routes nothing";
    shows(
        &browser,
        &format!("document.getElementById('routes').innerText.includes('{nothing}')"),
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_ejection_is_seen_within_two_seconds() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let service = Service::settled(&cluster).await?;
    let browser = Browser::start((1280, 900), false).await?;
    open(&browser, &service).await?;
    let (one, two) = (card("replica-1"), card("replica-2"));
    shows(
        &browser,
        &format!("{one}.dataset.standing === 'in_rotation'"),
    )
    .await?;
    shows(
        &browser,
        &format!("{two}.dataset.standing === 'in_rotation'"),
    )
    .await?;
    cluster.replica(0).pause_replay().await?;
    until("the monitor has ejected it", async || {
        Ok(service.get("/node/replica-1").await?.status == 503)
    })
    .await?;
    let ejected = now();
    shows(&browser, &format!("{one}.dataset.standing === 'ejected'")).await?;
    let took = ejected.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    shows(
        &browser,
        &format!("{one}.innerText.includes('ejected: paused')"),
    )
    .await?;
    shows(
        &browser,
        "document.querySelector('#log [data-event=ejected]').innerText.includes('replica-1')",
    )
    .await?;
    shows(
        &browser,
        "document.getElementById('fact-rotation').textContent === '1 of 2'",
    )
    .await?;
    shows(
        &browser,
        "timelineCanvas.getAttribute('aria-label').includes('replica-1: ejected: paused')",
    )
    .await?;

    if let Some(file) = picture("light") {
        browser.take_picture(&file).await?;
    }

    Ok(())
}

#[tokio::test]
async fn the_page_asks_nobody_else_and_complains_of_nothing() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let service = Service::settled(&cluster).await?;
    let browser = Browser::start((1280, 900), false).await?;
    open(&browser, &service).await?;
    let one = card("replica-1");
    shows(&browser, &format!("{one} && store.samples.length > 3")).await?;

    // A reader without a pointer reads the charts by keys.
    browser
        .run(&format!("{one}.querySelector('canvas').focus()"))
        .await?;
    let key = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true }))";
    browser.run(key).await?;
    shows(
        &browser,
        "document.getElementById('tip').innerText.includes('replica-1')",
    )
    .await?;

    let complaints = browser.console().await?;
    assert!(complaints.is_empty(), "{complaints:?}");
    let requests = browser.requests().await?;
    let own = |address: &&String| {
        let of_the_page = address.starts_with("data:");
        of_the_page || address.contains(&format!("//{}/", service.address))
    };
    let asked: Vec<&String> = requests
        .iter()
        .filter(|address| address.starts_with("http"))
        .collect();
    assert!(
        asked.len() >= 3,
        "the page, its history, its events: {requests:?}"
    );
    assert!(
        requests
            .iter()
            .all(|address| own(&address) || address.starts_with("chrome:")),
        "{requests:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_page_says_that_it_hears_nothing_and_comes_back_by_itself() -> Outcome {
    let cluster = Cluster::builder().replicas(1).start().await?;
    let mut service = Service::settled(&cluster).await?;
    let browser = Browser::start((1280, 900), true).await?;
    open(&browser, &service).await?;
    assert!(
        is(
            &browser,
            "matchMedia('(prefers-color-scheme: dark)').matches"
        )
        .await?
    );
    shows(&browser, "store.samples.length > 3").await?;
    if let Some(file) = picture("dark") {
        browser.take_picture(&file).await?;
    }
    let run = browser.run("return store.run").await?;
    service.child.kill().await?;
    shows(&browser, "document.body.dataset.link === 'stale'").await?;
    shows(
        &browser,
        "document.getElementById('link').innerText.includes('not connected, shown as of')",
    )
    .await?;
    shows(&browser, "!document.getElementById('notice').hidden").await?;
    if let Some(file) = picture("stale") {
        browser.take_picture(&file).await?;
    }
    let again = Service::start(serve(&cluster, &service.address)).await?;
    assert_eq!(again.address, service.address);
    shows(&browser, "document.body.dataset.link === 'live'").await?;
    shows(&browser, "document.getElementById('notice').hidden").await?;
    shows(&browser, "store.samples.length > 5").await?;
    assert!(
        browser.run("return store.run").await? != run,
        "another run tells"
    );
    // What was before the restart is still there, and what was missed is a hole.
    let holes = "store.stretches('replica-1', 0, store.now()).filter((stretch) => stretch.at === null).length";
    assert!(is(&browser, &format!("{holes} === 1")).await?, "one hole");
    Ok(())
}

#[tokio::test]
async fn the_page_fits_a_phone() -> Outcome {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let service = Service::settled(&cluster).await?;
    let phone = Browser::start((360, 780), false).await?;
    open(&phone, &service).await?;
    shows(&phone, "document.querySelectorAll('.node').length === 3").await?;
    let wide = phone
        .run("return document.documentElement.scrollWidth - innerWidth")
        .await?;
    assert!(
        wide.as_i64().is_some_and(|wide| wide <= 0),
        "nothing is cut off: {wide}"
    );
    let small = "[...document.querySelectorAll('dd, dt, li, p')].filter((part) => part.scrollWidth > part.clientWidth + 1).length";
    let cut = phone.run(&format!("return {small}")).await?;
    assert_eq!(cut, 0, "no text is cut off");
    if let Some(file) = picture("phone") {
        phone.take_picture(&file).await?;
    }
    Ok(())
}
