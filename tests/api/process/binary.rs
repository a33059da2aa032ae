//! The binary in a process of its own: its settings, its end, and what it writes.

use std::collections::HashMap;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use groundwork_dev::process::coverage_profile;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use url::Url;

/// Far longer than anything here takes.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Variables by name.
pub type Settings = HashMap<String, String>;

/// The settings of a test's service with some more.
pub fn with(settings: &Settings, more: &[(&str, &str)]) -> Settings {
    let mut settings = settings.clone();
    settings.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    settings
}

fn command(settings: &Settings, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_groundwork"));
    command
        .args(args)
        .env_clear()
        .envs(coverage_profile())
        .envs(settings)
        .kill_on_drop(true);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the binary to its end, with `input` for it to read.
pub async fn run_with(settings: &Settings, args: &[&str], input: &str) -> Output {
    let mut child = command(settings, args).spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A process that reads nothing may be gone before it is written to.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(TIMEOUT, child.wait_with_output()).await;
    output
        .expect("the process ends")
        .expect("its output is read")
}

/// Runs the binary to its end.
pub async fn run(settings: &Settings, args: &[&str]) -> Output {
    run_with(settings, args, "").await
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A serving process and what it writes.
pub struct Server {
    child: Child,
    pub root: Url,
    written: Arc<Mutex<String>>,
    client: reqwest::Client,
}

impl Server {
    /// Starts `serve` and waits until it does; its log is in JSON.
    pub async fn start(settings: &Settings, args: &[&str]) -> Self {
        let mut server = Self::spawn(settings, args);
        let serving = server
            .wait_for_line(|line| line["message"] == "serving")
            .await;
        let addr = serving["addr"].as_str().expect("the line has the address");
        server.root = format!("http://{addr}").parse().expect("it is a URL");
        server
    }

    pub fn spawn(settings: &Settings, args: &[&str]) -> Self {
        let settings = with(settings, &[("JSON_LOGS", "true")]);
        let mut child = command(&settings, args).spawn().expect("the binary starts");
        let written = Arc::new(Mutex::new(String::new()));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        keep(stdout.expect("it is piped"), Arc::clone(&written));
        keep(stderr.expect("it is piped"), Arc::clone(&written));
        let root = "http://127.0.0.1".parse().expect("it is a URL");
        let client = reqwest::Client::new();
        Self {
            child,
            root,
            written,
            client,
        }
    }

    /// All that the process has written so far.
    pub fn written(&self) -> String {
        self.written.lock().expect("nobody panics here").clone()
    }

    /// The lines of the log that are JSON, as they must all be.
    pub fn lines(&self) -> Vec<Value> {
        let written = self.written();
        written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect()
    }

    /// Waits for a line of the log.
    pub async fn wait_for_line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..1_200 {
            if let Some(line) = self.lines().into_iter().find(&wanted) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!(
            "the line does not come; the process wrote:\n{}",
            self.written()
        );
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self
            .client
            .request(method, self.root.join(path).expect("it is a path"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("the process answers");
        (response.status(), response.json().await.unwrap_or_default())
    }

    pub async fn is_listening(&self) -> bool {
        TcpStream::connect(self.address()).await.is_ok()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.root.port().expect("it has a port"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// Sends SIGTERM.
    pub async fn terminate(&self) {
        let pid = self.pid();
        let killed = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -TERM {pid}"))
            .status()
            .await;
        assert!(killed.expect("there is a shell").success());
    }

    /// Waits for the process's end; answers its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(TIMEOUT, self.child.wait()).await;
        ended
            .expect("the process ends")
            .expect("it can be waited for")
            .code()
    }
}

fn keep(pipe: impl AsyncRead + Send + Unpin + 'static, written: Arc<Mutex<String>>) {
    tokio::spawn(async move {
        let mut pipe = BufReader::new(pipe);
        let mut line = String::new();
        // Whole lines alone, so that the two pipes do not mix within one.
        while pipe.read_line(&mut line).await.is_ok_and(|count| count > 0) {
            written.lock().expect("nobody panics here").push_str(&line);
            line.clear();
        }
    });
}
