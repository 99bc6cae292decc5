//! The page, in a real browser, which keeps the cookies by its own rules.

use std::path::PathBuf;

use lagwise_testkit::Browser;
use serde_json::{Value, json};

use crate::instance::{Instance, program, until};

/// What the page shows of its operations, newest first.
const ROWS: &str = "return [...document.querySelectorAll('#log tr[data-what]')]\
     .map(row => [row.dataset.what, row.dataset.node, row.cells[1].textContent])";

/// Browsers trust localhost with cookies that are `Secure`.
fn local(instance: &Instance) -> String {
    instance.address.replace("127.0.0.1", "localhost")
}

/// Where pictures of the page are left, if anybody wants them.
fn picture(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LAGWISE_PICTURES")?;
    Some(PathBuf::from(folder).join(format!("axum-notes-{name}.png")))
}

async fn rows(browser: &Browser) -> Vec<(String, String, String)> {
    serde_json::from_value(browser.run(ROWS).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_visitor_reads_what_it_wrote_and_mostly_off_the_primary() {
    let instance = Instance::launch(program(&["--log", "error"])).await;
    instance.settles(2).await;
    let browser = Browser::start((1100, 860), false).await.unwrap();
    browser.open(&local(&instance)).await.unwrap();
    browser.fill("#id", "42").await.unwrap();
    browser.fill("#text", "written in a browser").await.unwrap();
    browser.click("#go").await.unwrap();
    let shown = until("the note was read back", async || {
        let shown = rows(&browser).await;
        (shown.len() >= 5).then_some(shown)
    });
    for (what, node, version) in shown.await {
        assert_eq!(version, "1", "{what} on {node}");
        let is_node = node == "primary" || node.starts_with("replica-");
        assert!(is_node, "{what} on {node:?}");
    }

    // It is kept by the browser's own rules, and sent back: else no read could know of the write.
    let cookies = browser.cookies().await.unwrap();
    let names: Vec<&str> = cookies
        .iter()
        .filter_map(|cookie| cookie["name"].as_str())
        .collect();
    assert!(names.contains(&"__Host-lagwise"), "{names:?}");
    for cookie in &cookies {
        assert_eq!(cookie["secure"], json!(true), "{cookie}");
        assert_eq!(cookie["httpOnly"], json!(true), "{cookie}");
    }
    assert_eq!(
        browser.run("return document.cookie").await.unwrap(),
        "",
        "no script sees it"
    );

    browser.click("#hammer").await.unwrap();
    until("replicas serve", async || {
        let shown = rows(&browser).await;
        let elsewhere = |node: &str| node.starts_with("replica-");
        let reads = shown.iter().filter(|(what, ..)| what == "read");
        let (on_replicas, on_primary): (Vec<_>, Vec<_>) =
            reads.partition(|(_, node, _)| elsewhere(node));
        (on_replicas.len() > 8 && on_replicas.len() > on_primary.len()).then_some(())
    })
    .await;
    browser.click("#hammer").await.unwrap();
    until("the hammer rests", async || {
        let rests = browser
            .run("return !document.querySelector('#go').disabled")
            .await
            .unwrap();
        (rests == Value::Bool(true)).then_some(())
    })
    .await;
    let stale = browser
        .run("return document.querySelector('#stale').textContent")
        .await
        .unwrap();
    assert_eq!(stale, "0", "reads that lacked the last write");
    if let Some(file) = picture("light") {
        browser.take_picture(&file).await.unwrap();
    }
}

#[tokio::test]
async fn the_page_fits_a_phone_in_the_dark_and_says_what_failed() {
    let mut instance = Instance::launch(program(&["--log", "error"])).await;
    instance.settles(2).await;
    let phone = Browser::start((360, 740), true).await.unwrap();
    phone.open(&local(&instance)).await.unwrap();
    let dark = "return matchMedia('(prefers-color-scheme: dark)').matches";
    assert_eq!(phone.run(dark).await.unwrap(), true);
    phone.click("#go").await.unwrap();
    until("the note was read back", async || {
        (rows(&phone).await.len() >= 5).then_some(())
    })
    .await;
    let wide = phone
        .run("return document.documentElement.scrollWidth - innerWidth")
        .await
        .unwrap();
    assert!(wide.as_i64().unwrap() <= 0, "nothing is cut off: {wide}");
    if let Some(file) = picture("phone") {
        phone.take_picture(&file).await.unwrap();
    }
    until("it rests", async || {
        let rests = phone
            .run("return !document.querySelector('#go').disabled")
            .await
            .unwrap();
        (rests == Value::Bool(true)).then_some(())
    })
    .await;
    instance.child.kill().await.unwrap();
    phone.click("#go").await.unwrap();
    until("the failure is shown", async || {
        let said = phone
            .run("return document.querySelector('#state').textContent")
            .await
            .unwrap();
        said.as_str()?
            .contains("the service does not answer")
            .then_some(())
    })
    .await;
    if let Some(file) = picture("failed") {
        phone.take_picture(&file).await.unwrap();
    }
}
