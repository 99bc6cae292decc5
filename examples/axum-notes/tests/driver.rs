//! A browser, and the driver that it is told by what to do.
//!
//! Both end when this is dropped: each browser has a folder of its own, and the driver its own group of
//! processes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{env, fs};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_client::client::legacy::Client;
use hyper_client::client::legacy::connect::HttpConnector;
use hyper_client::rt::TokioExecutor;
use rustix::process::{Pid, Signal, getuid, kill_process_group};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::instance::PATIENCE;

const BROWSERS: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];

const MISSING: &str = "is not installed: install Chromium and its WebDriver (on Debian: apt-get install \
     chromium chromium-driver), or name them by LAGWISE_CHROMIUM and LAGWISE_CHROMEDRIVER";

/// A page in a browser of its own.
#[derive(Debug)]
pub(crate) struct Browser {
    http: Client<HttpConnector, Body>,
    session: String,
    driver: Child,
    folder: PathBuf,
}

impl Browser {
    /// Starts one, with a window of that size, that likes dark pages or does not.
    pub(crate) async fn start((width, height): (u32, u32), dark: bool) -> Self {
        let folder =
            env::temp_dir().join(format!("axum-notes-{}-{width}-{dark}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (driver, port) = start_driver().await;
        let mut browser = Self {
            http: Client::builder(TokioExecutor::new()).build_http(),
            session: format!("http://127.0.0.1:{port}/session"),
            driver,
            folder,
        };
        let binary = found("LAGWISE_CHROMIUM", &BROWSERS);
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", browser.folder.display()),
            format!("--window-size={width},{height}"),
        ];
        if getuid().is_root() {
            arguments.push("--no-sandbox".to_owned());
        }
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        // No window is as narrow as a phone.
        let screen = json!({ "width": width, "height": height, "pixelRatio": 2 });
        let phone = (width < 500).then(|| json!({ "deviceMetrics": screen }));
        let options = match phone {
            Some(phone) => json!({ "binary": binary, "args": arguments, "mobileEmulation": phone }),
            None => json!({ "binary": binary, "args": arguments }),
        };
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let answer = browser.tell("", Some(wanted)).await;
        let id = answer["sessionId"].as_str().unwrap();
        write!(browser.session, "/{id}").unwrap();
        browser
    }

    /// Opens an address.
    pub(crate) async fn open(&self, address: &str) {
        self.tell("/url", Some(json!({ "url": address }))).await;
    }

    /// Runs a script in the page, and returns what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.tell("/execute/sync", Some(body)).await
    }

    /// Clicks what a selector finds, as a person does.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        self.tell(&format!("/element/{element}/click"), Some(json!({})))
            .await;
    }

    /// Types into what a selector finds, in place of what is there.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.tell(&format!("/element/{element}/clear"), Some(json!({})))
            .await;
        let keys = json!({ "text": text });
        self.tell(&format!("/element/{element}/value"), Some(keys))
            .await;
    }

    /// The cookies that the browser would send to the page.
    pub(crate) async fn cookies(&self) -> Vec<Value> {
        self.tell("/cookie", None).await.as_array().unwrap().clone()
    }

    /// Leaves a picture of the page in a file.
    pub(crate) async fn take_picture(&self, file: &Path) {
        let picture = self.tell("/screenshot", None).await;
        let bytes = STANDARD.decode(picture.as_str().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    async fn find(&self, selector: &str) -> String {
        let body = json!({ "using": "css selector", "value": selector });
        let element = self.tell("/element", Some(body)).await;
        let id = element.as_object().unwrap().values().next().unwrap();
        id.as_str().unwrap().to_owned()
    }

    async fn tell(&self, path: &str, body: Option<Value>) -> Value {
        let method = if body.is_some() { "POST" } else { "GET" };
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.session))
            .body(body)
            .unwrap();
        let answer = timeout(PATIENCE, self.http.request(request)).await;
        let answer = answer.expect("the driver answers").unwrap();
        let body = Body::new(answer.into_body());
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        let value = answer["value"].take();
        assert!(value["error"].is_null(), "{path}: {value}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser's processes are of the driver's group.
        let id = self.driver.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            kill_process_group(group, Signal::KILL).ok();
        }
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Starts a driver, and returns the port that it chose.
async fn start_driver() -> (Child, u16) {
    let program = found("LAGWISE_CHROMEDRIVER", &["chromedriver"]);
    let mut command = Command::new(program);
    command.arg("--port=0").stdout(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut driver = command.spawn().unwrap();
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it says its port");
            let end = line.rsplit("on port ").next().unwrap();
            // It first repeats the one that it was told.
            match end.trim_end_matches('.').parse() {
                Ok(0) | Err(_) => {}
                Ok(port) => return port,
            }
        }
    };
    let port = timeout(PATIENCE, port).await.expect("it says its port");
    (driver, port)
}

/// The program that a variable names, or else the first of these names on the search path.
fn found(variable: &str, names: &[&str]) -> PathBuf {
    if let Some(program) = env::var_os(variable) {
        return program.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let programs = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = programs.into_iter().find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("{} {MISSING}", names[0]))
}
