//! Chromium without a window, driven by its `chromedriver`. Both end with the test, however it ends.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::wd::{Locator, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder};
use groundwork_dev::files::Scratch;
use groundwork_dev::ports;
use groundwork_dev::process::{self, OnOurDeath, Server, Signal};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

/// How long anything on a page may take.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A browser with a profile of its own. Fields are dropped in order: the driver, and with it the
/// browser, before the profile.
pub struct Browser {
    client: Client,
    _driver: Server,
    profile: Scratch,
}

/// What `make test` says of the machine; nothing where there is no browser.
fn given(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests have no configuration of their own"
    )]
    let value = std::env::var(name);
    value.ok().filter(|value| !value.is_empty())
}

impl Browser {
    /// Starts one; `None` where there is none to start, unless this is CI.
    #[expect(clippy::print_stdout, reason = "a test that does nothing says so")]
    pub async fn start() -> Option<Self> {
        let (Some(driver), Some(chromium)) = (given("TEST_CHROMEDRIVER"), given("TEST_CHROMIUM"))
        else {
            assert!(
                given("CI").is_none_or(|ci| ci == "false"),
                "CI needs a browser: install chromium and chromedriver"
            );
            println!(
                "skipped: there is no browser; `make test` finds one where chromium and chromedriver are installed"
            );
            return None;
        };
        let profile = Scratch::new(None).expect("a directory is made");
        let port = ports::any().expect("a port is free").port;
        let mut command = process::command(driver.as_ref(), None, OnOurDeath::Terminate);
        command.arg(format!("--port={port}"));
        let log = profile.path().join("chromedriver.log");
        let mut driver = Server::start("chromedriver", &mut command, Signal::TERM, Some(&log))
            .expect("chromedriver starts");
        let client = connect(
            &format!("http://127.0.0.1:{port}"),
            &chromium,
            profile.path(),
            &mut driver,
        )
        .await;
        Some(Self {
            client,
            _driver: driver,
            profile,
        })
    }

    pub async fn open(&self, url: Url) {
        self.client
            .goto(url.as_str())
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Where the address bar says we are.
    pub async fn address(&self) -> Url {
        self.client
            .current_url()
            .await
            .expect("there is an address")
    }

    /// Waits until the page shows this.
    pub async fn see(&self, selector: &str) -> Element {
        let found = self
            .client
            .wait()
            .at_most(TIMEOUT)
            .every(Duration::from_millis(25));
        let found = found.for_element(Locator::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("the page has no {selector}: {error}"))
    }

    /// Whether the page shows this now.
    pub async fn has(&self, selector: &str) -> bool {
        let found = self.client.find_all(Locator::Css(selector)).await;
        !found.expect("the page can be searched").is_empty()
    }

    /// Presses this as soon as nothing is in its way.
    pub async fn click(&self, selector: &str) {
        self.until(selector, async |element| {
            element.click().await.is_ok().then_some(())
        })
        .await;
    }

    pub async fn type_into(&self, selector: &str, text: &str) {
        self.until(selector, async |element| {
            element.send_keys(text).await.is_ok().then_some(())
        })
        .await;
    }

    /// The text of this as soon as it is as awaited.
    pub async fn read(&self, selector: &str, awaited: impl Fn(&str) -> bool) -> String {
        self.until(selector, async |element| {
            element.text().await.ok().filter(|text| awaited(text))
        })
        .await
    }

    /// Tries until it works: pages draw themselves anew while one looks.
    async fn until<T>(&self, selector: &str, attempt: impl AsyncFn(Element) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            let element = self.see(selector).await;
            if let Some(done) = attempt(element).await {
                return done;
            }
            assert!(
                began.elapsed() < TIMEOUT,
                "{selector} did not become what was awaited"
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Lets the page run the body of an async function, and answers what it returns.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async (...given) => {{ {script} }})(...arguments)
                 .then(done, error => done({{ error: String(error) }}));"
        );
        let answer = self.client.execute_async(&script, arguments).await;
        answer.expect("the page runs it")
    }

    /// What the browser has complained of since it was asked last, breaches of a page's policy
    /// among it. Statuses of replies are not: a page may well be refused something.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        let complaints = entries.iter().filter(|entry| entry["source"] != "network");
        complaints.map(Value::to_string).collect()
    }

    /// What the browser has asked servers for since it was asked last.
    pub async fn requests(&self) -> Vec<Url> {
        let entries = self.log("performance").await;
        let events = entries.iter().filter_map(|entry| entry["message"].as_str());
        let events = events.filter_map(|event| serde_json::from_str::<Value>(event).ok());
        let sent = events.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        let urls = sent.filter_map(|event| {
            let url = event["message"]["params"]["request"]["url"].as_str()?;
            url.parse().ok()
        });
        // Its own pages and what is inside of others go by other schemes.
        urls.filter(|url: &Url| matches!(url.scheme(), "http" | "https" | "ws" | "wss"))
            .collect()
    }

    async fn log(&self, kind: &'static str) -> Vec<Value> {
        let entries = self
            .client
            .issue_cmd(Log(kind))
            .await
            .expect("the driver keeps a log");
        entries.as_array().cloned().expect("the log is a list")
    }

    /// Writes what the page looks like to `$SCREENSHOT_DIR`, when it is set.
    pub async fn picture(&self, name: &str) {
        let Some(folder) = given("SCREENSHOT_DIR") else {
            return;
        };
        let picture = self.client.screenshot().await.expect("a picture is taken");
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), picture)
            .expect("it is written");
    }

    /// Prefers dark pages from now on.
    pub async fn prefer_dark(&self) {
        let features = json!([{ "name": "prefers-color-scheme", "value": "dark" }]);
        let media = json!({ "features": features });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Gives the page a size that a window may not have.
    pub async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    async fn devtools(&self, command: &'static str, parameters: Value) {
        let sent = self.client.issue_cmd(DevTools(command, parameters)).await;
        sent.expect("the driver passes it on");
    }

    /// Waits for a downloaded file of this name; answers its bytes.
    pub async fn downloaded(&self, name: &str) -> Vec<u8> {
        let path = downloads(self.profile.path()).join(name);
        let began = Instant::now();
        loop {
            // Chromium gives a file its name once it is whole.
            if let Ok(bytes) = std::fs::read(&path) {
                return bytes;
            }
            assert!(began.elapsed() < TIMEOUT, "{name} was not downloaded");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Ends the browser in good order.
    pub async fn close(self) {
        self.client.close().await.expect("the browser ends");
    }
}

fn downloads(profile: &Path) -> PathBuf {
    profile.join("downloads")
}

/// Opens a session as soon as the driver listens.
async fn connect(driver: &str, chromium: &str, profile: &Path, server: &mut Server) -> Client {
    let arguments = [
        &format!("--user-data-dir={}", profile.join("profile").display()),
        // Chromium ends when this pipe to its driver breaks.
        "--remote-debugging-pipe",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--window-size=1280,943",
        "about:blank",
    ];
    let capabilities = json!({
        "goog:chromeOptions": {
            "binary": chromium,
            "args": arguments,
            "prefs": { "download.default_directory": downloads(profile) },
        },
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
    });
    let mut builder = ClientBuilder::new(HttpConnector::new());
    builder.capabilities(capabilities.as_object().cloned().unwrap_or_default());
    let began = Instant::now();
    loop {
        match builder.connect(driver).await {
            Ok(client) => return client,
            Err(error) => {
                server.check().expect("chromedriver runs");
                assert!(
                    began.elapsed() < TIMEOUT,
                    "chromedriver opens no session: {error}"
                );
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
    }
}

/// chromedriver's own command that reads and empties one of its logs.
#[derive(Debug)]
struct Log(&'static str);

impl WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "type": self.0 }).to_string()))
    }
}

/// The command of chromedriver that sends one of the `DevTools` protocol.
#[derive(Debug)]
struct DevTools(&'static str, Value);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/goog/cdp/execute"))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.0, "params": self.1 });
        (Method::POST, Some(body.to_string()))
    }
}
