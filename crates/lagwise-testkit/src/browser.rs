//! A page in a browser of its own, told by a driver what to do.
//!
//! A page is what people see of a service, and only a browser knows what that is: which cookies it
//! keeps, what its policy lets run, whether it fits a phone. Browser and driver are found on this
//! machine and talk `WebDriver`, <https://www.w3.org/TR/webdriver2/>; both end when this is dropped. A
//! machine without them is an error that says what to install.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, fs, process};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, getuid, kill_process_group};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::error::{Error, Result};

/// A page in a browser of its own.
///
/// ```no_run
/// # async fn example() -> Result<(), lagwise_testkit::Error> {
/// let phone = lagwise_testkit::Browser::start((360, 780), true).await?;
/// phone.open("http://127.0.0.1:3000/").await?;
/// let width = phone.run("return document.documentElement.scrollWidth").await?;
/// assert_eq!(width, 360);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Browser {
    port: u16,
    session: String,
    driver: Child,
    folder: PathBuf,
}

impl Browser {
    /// Starts one, with a window of that size, that likes dark pages or does not. One that is no
    /// wider than 500 is a phone.
    ///
    /// # Errors
    /// Where there is no Chromium with its driver, or it does not start.
    pub async fn start((width, height): (u32, u32), dark: bool) -> Result<Self> {
        let binary = found("LAGWISE_CHROMIUM", &BROWSERS)?;
        let folder = folder()?;
        let (driver, port) = match start_driver().await {
            Ok(started) => started,
            Err(error) => {
                fs::remove_dir_all(&folder).ok();
                return Err(error);
            }
        };
        let mut browser = Self {
            port,
            session: "/session".to_owned(),
            driver,
            folder,
        };
        let arguments = browser.arguments((width, height), dark);
        let mut options = json!({ "binary": binary, "args": arguments });
        // No window is as narrow as a phone.
        if width <= 500 {
            let screen = json!({ "width": width, "height": height, "pixelRatio": 2 });
            options["mobileEmulation"] = json!({ "deviceMetrics": screen });
        }
        let logs = json!({ "browser": "ALL", "performance": "ALL" });
        let capabilities = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": logs });
        let wanted = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let answer = browser.tell("", Some(wanted)).await?;
        let id = answer["sessionId"].as_str().unwrap_or_default();
        browser.session = format!("/session/{id}");
        Ok(browser)
    }

    fn arguments(&self, (width, height): (u32, u32), dark: bool) -> Vec<String> {
        let folder = self.folder.display();
        let mut arguments = vec![
            format!("--user-data-dir={folder}"),
            format!("--window-size={width},{height}"),
        ];
        arguments.extend(ARGUMENTS.map(str::to_owned));
        if getuid().is_root() {
            arguments.push("--no-sandbox".to_owned());
        }
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        arguments
    }

    /// Opens an address.
    ///
    /// # Errors
    /// If nothing answers there.
    pub async fn open(&self, address: &str) -> Result<()> {
        let address = json!({ "url": address });
        self.tell("/url", Some(address)).await.map(drop)
    }

    /// Runs a script in the page, and returns what it returns.
    ///
    /// # Errors
    /// If it throws.
    pub async fn run(&self, script: &str) -> Result<Value> {
        let body = json!({ "script": script, "args": [] });
        self.tell("/execute/sync", Some(body)).await
    }

    /// Clicks what a selector finds, as a person does.
    ///
    /// # Errors
    /// If it finds nothing, or something else is in front of it.
    pub async fn click(&self, selector: &str) -> Result<()> {
        let element = self.find(selector).await?;
        let path = format!("/element/{element}/click");
        self.tell(&path, Some(json!({}))).await.map(drop)
    }

    /// Types into what a selector finds, in place of what is there.
    ///
    /// # Errors
    /// If it finds nothing that takes text.
    pub async fn fill(&self, selector: &str, text: &str) -> Result<()> {
        let element = self.find(selector).await?;
        let path = format!("/element/{element}/clear");
        self.tell(&path, Some(json!({}))).await?;
        let path = format!("/element/{element}/value");
        self.tell(&path, Some(json!({ "text": text })))
            .await
            .map(drop)
    }

    /// The cookies that the browser would send to the page.
    ///
    /// # Errors
    /// If the browser has gone.
    pub async fn cookies(&self) -> Result<Vec<Value>> {
        list(self.tell("/cookie", None).await?)
    }

    /// What was written to the console of the page since the last call, and what failed to load.
    ///
    /// # Errors
    /// If the browser has gone.
    pub async fn console(&self) -> Result<Vec<Value>> {
        let kind = json!({ "type": "browser" });
        list(self.tell("/se/log", Some(kind)).await?)
    }

    /// The addresses that were asked for since the last call.
    ///
    /// # Errors
    /// If the browser has gone.
    pub async fn requests(&self) -> Result<Vec<String>> {
        let kind = json!({ "type": "performance" });
        let records = list(self.tell("/se/log", Some(kind)).await?)?;
        let request = |record: &Value| {
            let message = serde_json::from_str(record["message"].as_str()?);
            let message: Value = message.ok()?;
            let sent = message["message"]["method"] == "Network.requestWillBeSent";
            let address = &message["message"]["params"]["request"]["url"];
            address.as_str().filter(|_| sent).map(str::to_owned)
        };
        Ok(records.iter().filter_map(request).collect())
    }

    /// Leaves a picture in a file, of the whole page.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn take_picture(&self, file: &Path) -> Result<()> {
        let whole = json!({ "captureBeyondViewport": true, "format": "png" });
        let command = json!({ "cmd": "Page.captureScreenshot", "params": whole });
        let picture = self.tell("/goog/cdp/execute", Some(command)).await?;
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap_or_default());
        let bytes = bytes.map_err(|error| Error::because("the picture is none", error))?;
        let failed = |error| Error::because(format!("cannot write {}", file.display()), error);
        fs::write(file, bytes).map_err(failed)
    }

    async fn find(&self, selector: &str) -> Result<String> {
        let body = json!({ "using": "css selector", "value": selector });
        let element = self.tell("/element", Some(body)).await?;
        let id = element
            .as_object()
            .and_then(|element| element.values().next());
        let id = id.and_then(Value::as_str);
        id.map(str::to_owned)
            .ok_or_else(|| Error::new(format!("the driver names nothing for {selector}")))
    }

    async fn tell(&self, path: &str, body: Option<Value>) -> Result<Value> {
        let path = format!("{}{path}", self.session);
        let answer = timeout(PATIENCE, ask(self.port, &path, body)).await;
        let late = || Error::new(format!("the driver has not answered {path} in time"));
        let mut answer = answer.map_err(|_elapsed| late())??;
        let value = answer["value"].take();
        match value["error"].as_str() {
            None => Ok(value),
            Some(error) => Err(Error::because(
                format!("{path}: {error}"),
                value["message"].to_string(),
            )),
        }
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

/// One question to the driver.
async fn ask(port: u16, path: &str, body: Option<Value>) -> Result<Value> {
    let failed = |error| Error::because("the driver does not answer", error);
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.map_or_else(String::new, |body| body.to_string());
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    let mut stream = BufReader::new(stream.map_err(failed)?);
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    // A driver keeps its connections, whatever it is asked.
    let mut length = 0;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).await.map_err(failed)? == 0 {
            return Err(Error::new("the driver has gone"));
        }
        let lower = line.to_ascii_lowercase();
        if let Some(number) = lower.strip_prefix("content-length:") {
            length = number.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(failed)?;
    let none = |error| Error::because("the driver's answer is no JSON", error);
    serde_json::from_slice(&body).map_err(none)
}

/// Starts a driver, and returns the port that it chose.
async fn start_driver() -> Result<(Child, u16)> {
    let program = found("LAGWISE_CHROMEDRIVER", &["chromedriver"])?;
    let mut command = Command::new(program);
    command.arg("--port=0").stdout(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut driver = command
        .spawn()
        .map_err(|error| Error::because("the driver does not start", error))?;
    let silent = || Error::new("the driver does not say which port it has");
    let mut lines = BufReader::new(driver.stdout.take().ok_or_else(silent)?).lines();
    let port = async {
        while let Ok(Some(line)) = lines.next_line().await {
            let end = line.rsplit("on port ").next().unwrap_or_default();
            // It first repeats the one that it was told.
            match end.trim_end_matches('.').parse() {
                Ok(0) | Err(_) => {}
                Ok(port) => return Some(port),
            }
        }
        None
    };
    let port = timeout(PATIENCE, port).await.ok().flatten();
    Ok((driver, port.ok_or_else(silent)?))
}

/// What the browser keeps while it lives.
fn folder() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Relaxed: the numbers need only differ.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("lagwise-browser-{}-{number}", process::id());
    let folder = env::temp_dir().join(name);
    let failed = |error| Error::because(format!("cannot make {}", folder.display()), error);
    fs::create_dir_all(&folder).map_err(failed)?;
    Ok(folder)
}

/// The program that a variable names, or else the first of these names on the search path.
fn found(variable: &str, names: &[&str]) -> Result<PathBuf> {
    if let Some(program) = env::var_os(variable) {
        return Ok(program.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let mut programs = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let missing = || {
        Error::new(format!(
            "no {} was found in PATH; install Chromium and its WebDriver (Debian: `apt-get install \
             chromium chromium-driver`) or name them by LAGWISE_CHROMIUM and LAGWISE_CHROMEDRIVER",
            names.join(" or ")
        ))
    };
    programs
        .find(|program| program.is_file())
        .ok_or_else(missing)
}

fn list(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(list) => Ok(list),
        other => Err(Error::new(format!("the driver lists nothing: {other}"))),
    }
}

const BROWSERS: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];

const ARGUMENTS: [&str; 8] = [
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// How long anything may take that a driver is asked for.
const PATIENCE: Duration = Duration::from_secs(30);
