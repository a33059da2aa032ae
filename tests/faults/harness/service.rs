//! A process of the service.

use std::ffi::OsStr;
use std::ops::Deref;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use groundwork_dev::process::{self, Signal};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::load::Outcome;
use super::{PASSWORD, Settings, TIMEOUT};

/// A serving process; dropping it kills it.
pub struct Service {
    pub child: Child,
    pub caller: Caller,
    settings: Settings,
    written: Arc<Mutex<String>>,
}

impl Drop for Service {
    #[expect(clippy::print_stdout, reason = "shown when the test fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let written = self.written();
            let lines: Vec<_> = written.lines().rev().take(60).collect();
            println!(
                "the newest that the service wrote, upwards:\n{}",
                lines.join("\n")
            );
        }
    }
}

impl Deref for Service {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

/// The binary with these settings and nothing else of our environment.
pub fn command(settings: &Settings, args: &[&str]) -> Command {
    wrapped(&[], settings, args)
}

fn wrapped(wrapper: &[&str], settings: &Settings, args: &[&str]) -> Command {
    let binary = env!("CARGO_BIN_EXE_groundwork");
    let mut words = wrapper.iter().copied().chain([binary]).chain(args.to_vec());
    let mut command = Command::new(words.next().map(OsStr::new).unwrap_or_default());
    command
        .args(words)
        .env_clear()
        .envs(process::coverage_profile())
        .envs(settings)
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the binary to its end, with `input` for it to read.
pub async fn run(settings: &Settings, args: &[&str], input: &str) -> Output {
    let mut command = command(settings, args);
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A process that reads nothing may be gone before it is written to.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = timeout(TIMEOUT, child.wait_with_output()).await;
    output
        .expect("the process ends")
        .expect("its output is read")
}

impl Service {
    pub async fn start(settings: &Settings, args: &[&str]) -> Self {
        Self::start_under(&[], settings, args).await
    }

    /// Starts a process that serves nothing, such as `worker`.
    pub fn spawn(settings: &Settings, args: &[&str]) -> Self {
        Self::spawn_under(&[], settings, args)
    }

    fn spawn_under(wrapper: &[&str], settings: &Settings, args: &[&str]) -> Self {
        let mut child = wrapped(wrapper, settings, args)
            .spawn()
            .expect("the binary starts");
        let written = Arc::new(Mutex::new(String::new()));
        keep(child.stdout.take().expect("it is piped"), &written);
        keep(child.stderr.take().expect("it is piped"), &written);
        Self::of(child, 0, settings, written)
    }

    /// Starts it as the argument of another program, `prlimit` for one.
    pub async fn start_under(wrapper: &[&str], settings: &Settings, args: &[&str]) -> Self {
        let mut service = Self::spawn_under(wrapper, settings, args);
        let port = timeout(TIMEOUT, async {
            loop {
                if let Some(port) = service.announced() {
                    return port;
                }
                if let Some(status) = service.child.try_wait().expect("it can be asked") {
                    panic!("it ended, {status}: {}", service.written());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        service.caller.port = port.await.expect("it serves");
        service
    }

    /// A process that was started otherwise and listens on this port.
    pub fn of(child: Child, port: u16, settings: &Settings, written: Arc<Mutex<String>>) -> Self {
        Self {
            child,
            caller: Caller::new(port),
            settings: settings.clone(),
            written,
        }
    }

    fn announced(&self) -> Option<u16> {
        self.lines()
            .find(|line| line["message"] == "serving")
            .and_then(|line| line["addr"].as_str()?.rsplit_once(':')?.1.parse().ok())
    }

    /// Everything it wrote.
    pub fn written(&self) -> String {
        self.written.lock().expect("nobody panics here").clone()
    }

    /// What it wrote that is JSON, line by line.
    pub fn lines(&self) -> impl Iterator<Item = Value> {
        let written = self.written();
        let lines: Vec<Value> = written
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        lines.into_iter()
    }

    /// A new account with a session; answers its tokens.
    pub async fn sign_in(&self, name: &str) -> Tokens {
        let email = format!("{name}@example.com");
        let args = ["users", "create", "--email", &email, "--verified"];
        let made = run(&self.settings, &args, &format!("{PASSWORD}\n")).await;
        assert!(made.status.success(), "{made:?}");
        let answer = self.log_in(&email).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let token = |name: &str| answer.body[name].as_str().unwrap_or_default().to_owned();
        Tokens {
            access: token("access_token"),
            refresh: token("refresh_token"),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    pub fn signal(&self, signal: Signal) {
        process::signal(self.id(), signal);
    }

    /// Waits for its end; answers its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = timeout(TIMEOUT, self.child.wait()).await;
        ended
            .expect("the process ends")
            .expect("it can be waited for")
            .code()
    }

    /// The memory that it holds, in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))
            .expect("the process runs");
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())
            .and_then(|kib| kib.parse().ok())
            .expect("the system tells")
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.id()));
        open.expect("the process runs").count()
    }
}

/// A client of a service; a clone shares its connections.
#[derive(Clone)]
pub struct Caller {
    pub port: u16,
    client: reqwest::Client,
}

impl Caller {
    pub fn new(port: u16) -> Self {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .build()
            .expect("the client is built");
        Self { port, client }
    }

    /// One request.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Outcome {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let mut request = self.client.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Outcome::of(request).await
    }

    pub async fn get(&self, path: &str) -> Outcome {
        self.call(Method::GET, path, None, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Outcome {
        self.call(Method::POST, path, None, Some(body)).await
    }

    /// One's own account.
    pub async fn me(&self, access: &str) -> Outcome {
        self.call(Method::GET, "/api/v1/users/me", Some(access), None)
            .await
    }

    /// Signs somebody up, up to and without the email.
    pub async fn register(&self, email: &str) -> Outcome {
        let body = json!({ "email": email, "password": PASSWORD });
        self.post("/api/v1/auth/register", body).await
    }

    pub async fn log_in(&self, email: &str) -> Outcome {
        let body = json!({ "email": email, "password": PASSWORD });
        self.post("/api/v1/auth/login", body).await
    }

    pub async fn refresh(&self, token: &str) -> Outcome {
        let body = json!({ "refresh_token": token });
        self.post("/api/v1/auth/refresh", body).await
    }

    /// A connection that nothing was sent on yet.
    pub async fn open(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port))
            .await
            .expect("it listens")
    }
}

/// A session's tokens.
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

fn keep(pipe: impl AsyncRead + Send + Unpin + 'static, written: &Arc<Mutex<String>>) {
    let written = Arc::clone(written);
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
