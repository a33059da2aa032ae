//! What the process writes while people use it, and what it must never write.

use clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::harness::{PASSWORD, TestApp};
use crate::process::{Server, with};

const EMAIL: &str = "ada.lovelace@example.com";
const LOGIN: &str = "/api/v1/auth/login";
const ME: &str = "/api/v1/users/me";

/// Sets the test's clock right, for what it shares with a process.
fn set_right(app: &TestApp) {
    let behind = Clock::system().now() - app.clock.now();
    app.clock.advance(behind.to_std().expect("it is behind"));
}

/// The lines of the access log for one route.
fn access(server: &Server, route: &str) -> Vec<Value> {
    let lines = server.lines().into_iter();
    lines
        .filter(|line| line["target"] == "access" && line["route"] == route)
        .collect()
}

#[tokio::test]
async fn each_request_has_one_access_log_line() {
    let app = TestApp::new().await;
    set_right(&app);
    let ada = app.sign_in("ada").await;
    let id: String = sqlx::query_scalar("SELECT id::text FROM users")
        .fetch_one(&app.owner_db)
        .await
        .expect("there is one");
    let mut server = Server::start(&app.settings, &["serve", "--no-worker"]).await;
    assert_eq!(
        server
            .call(Method::GET, ME, Some(ada.access()), None)
            .await
            .0,
        200
    );
    let (status, problem) = server
        .call(Method::GET, "/api/v1/users/me?token=hunter2", None, None)
        .await;
    assert_eq!(status, 401);
    assert_eq!(
        server.call(Method::GET, "/hunter2/x", None, None).await.0,
        404
    );
    assert_eq!(
        server
            .call(Method::GET, "/verify-email?token=hunter2", None, None)
            .await
            .0,
        200
    );
    assert_eq!(
        server.call(Method::GET, "/health/live", None, None).await.0,
        200
    );
    server.terminate().await;
    assert_eq!(server.ended().await, Some(0));

    for line in server.lines() {
        for key in ["timestamp", "level", "target"] {
            assert!(line[key].is_string(), "no {key} in {line}");
        }
    }
    let lines = access(&server, ME);
    assert_eq!(lines.len(), 2);
    let (let_in, refused) = (&lines[0], &lines[1]);
    assert_eq!(
        (&let_in["status"], &let_in["user_id"], &let_in["method"]),
        (&json!(200), &json!(id), &json!("GET"))
    );
    assert!(
        let_in["latency_ms"]
            .as_f64()
            .is_some_and(|latency| latency > 0.0),
        "{let_in}"
    );
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&json!(401), &json!("unauthenticated"))
    );
    assert!(refused.get("user_id").is_none(), "{refused}");
    assert_eq!(refused["request_id"], problem["request_id"]);
    assert_eq!(access(&server, "unmatched").len(), 1);
    assert_eq!(access(&server, "/verify-email").len(), 1);
    assert!(
        access(&server, "/health/live").is_empty(),
        "probes are no news"
    );
    assert!(
        !server.written().contains("hunter2"),
        "{}",
        server.written()
    );
}

#[tokio::test]
async fn a_failure_is_logged_once_under_the_request_that_met_it() {
    let app = TestApp::new().await;
    let mut server = Server::start(&app.settings, &["serve", "--no-worker"]).await;
    let hidden = "ALTER TABLE users RENAME COLUMN password_hash TO elsewhere";
    sqlx::raw_sql(hidden)
        .execute(&mut app.owner().await)
        .await
        .expect("it is renamed");
    let body = json!({ "email": EMAIL, "password": PASSWORD });
    let (status, problem) = server.call(Method::POST, LOGIN, None, Some(body)).await;
    assert_eq!(status, 500);
    server.terminate().await;
    server.ended().await;
    let errors: Vec<_> = server
        .lines()
        .into_iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0]["request_id"], problem["request_id"]);
    assert!(
        errors[0]["error"]
            .as_str()
            .is_some_and(|text| text.contains("password_hash")),
        "{}",
        errors[0]
    );
    assert!(!server.written().contains("lovelace"));
}

/// A mail server that refuses every recipient and quotes the address while doing so.
async fn quoting_mail_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let addr = listener.local_addr().expect("it has an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = BufReader::new(socket);
                let mut line = "hello".to_owned();
                while !line.is_empty() {
                    let reply = match line
                        .get(..4)
                        .unwrap_or_default()
                        .to_ascii_uppercase()
                        .as_str()
                    {
                        "HELL" => "220 ready\r\n".to_owned(),
                        "RCPT" => format!("550 5.1.1 no such user: {}\r\n", line.trim()),
                        _ => "250 fine\r\n".to_owned(),
                    };
                    if socket.get_mut().write_all(reply.as_bytes()).await.is_err() {
                        return;
                    }
                    line.clear();
                    let _ = socket.read_line(&mut line).await;
                }
            });
        }
    });
    format!("smtp://{addr}")
}

impl Server {
    /// Posts and holds that the answer has this status.
    async fn post(&self, path: &str, body: Value, status: u16) -> Value {
        let answer = self.call(Method::POST, path, None, Some(body)).await;
        assert_eq!(answer.0, status, "{path}: {}", answer.1);
        answer.1
    }

    /// Gets and holds that the answer has this status.
    async fn get(&self, path: &str, token: Option<&str>, status: u16) {
        let answer = self.call(Method::GET, path, token, None).await;
        assert_eq!(answer.0, status, "{path}: {}", answer.1);
    }
}

/// Lives a whole life with the service; answers the secrets of it.
async fn live(app: &TestApp, server: &Server) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let new = json!({ "email": EMAIL, "password": PASSWORD, "first_name": "Augusta" });
    server.post("/api/v1/auth/register", new, 202).await;
    let message = app.email_to(EMAIL).await;
    let link = message.token().expect("the message has a link");
    server
        .get(&format!("/verify-email?token={link}"), None, 200)
        .await;
    for status in [204, 422] {
        let proof = json!({ "token": link });
        server
            .post("/api/v1/auth/verify-email", proof, status)
            .await;
    }
    let wrong = json!({ "email": EMAIL, "password": "hunter2-wrong" });
    server.post(LOGIN, wrong, 401).await;
    let right = json!({ "email": EMAIL, "password": PASSWORD });
    let pair = server.post(LOGIN, right, 200).await;
    let (access, refresh) = (text(&pair["access_token"]), text(&pair["refresh_token"]));
    server.get(ME, Some(&access), 200).await;
    let name = json!({ "last_name": "Byron" });
    let renamed = server
        .call(Method::PATCH, ME, Some(&access), Some(name))
        .await;
    assert_eq!(renamed.0, 200);
    server.get(ME, Some("hunter2-token"), 401).await;
    server
        .get(&format!("{ME}?password=hunter2"), None, 401)
        .await;
    let used = json!({ "refresh_token": refresh });
    let next = server.post("/api/v1/auth/refresh", used, 200).await;
    let odd = json!({ "email": "hunter2", "password": ["hunter2"], "hunter2": 1 });
    server.post(LOGIN, odd, 422).await;
    let fixed = [
        "password=",
        "token=",
        "hunter2",
        "lovelace",
        "Augusta",
        "Byron",
        PASSWORD,
    ];
    let mut secrets: Vec<_> = fixed.map(str::to_owned).into();
    secrets.extend([
        link,
        access,
        refresh,
        text(&next["access_token"]),
        text(&next["refresh_token"]),
    ]);
    secrets.extend(browse(server).await);
    secrets
}

/// Signs in by cookies, goes on and is refused; answers the secrets of it.
async fn browse(server: &Server) -> Vec<String> {
    let client = reqwest::Client::new();
    let post = |path: &str| {
        let url = server.root.join(path).expect("it is a path");
        client.post(url).header("sec-fetch-site", "same-origin")
    };
    let send = async |request: reqwest::RequestBuilder, status: u16| {
        let answer = request.send().await.expect("the service answers");
        assert_eq!(answer.status(), status);
        let cookies = answer.headers().get_all("set-cookie").into_iter();
        let cookies = cookies.filter_map(|line| line.to_str().ok()?.split(';').next());
        let cookies: Vec<_> = cookies.map(str::to_owned).collect();
        let body: Value = answer.json().await.expect("it is JSON");
        let csrf = body["csrf_token"].as_str().unwrap_or_default().to_owned();
        (cookies, csrf)
    };
    let sign_in = json!({ "email": EMAIL, "password": PASSWORD, "transport": "cookie" });
    let (first, csrf) = send(post(LOGIN).json(&sign_in), 200).await;
    let refresh = || post("/api/v1/auth/refresh").header("cookie", first.join("; "));
    send(refresh().header("x-csrf-token", "hunter2-csrf"), 403).await;
    let (next, _) = send(refresh().header("x-csrf-token", &csrf), 200).await;
    let values = [first, next].concat().into_iter();
    let values = values.filter_map(|cookie| Some(cookie.split_once('=')?.1.to_owned()));
    values.chain([csrf]).collect()
}

/// Holds that nothing of a life with the service is written at this level.
async fn assert_discreet(level: &str) {
    let mut app = TestApp::new().await;
    set_right(&app);
    let settings = with(&app.settings, &[("LOG_LEVEL", level)]);
    let mut server = Server::start(&settings, &["serve", "--no-worker"]).await;
    let secrets = live(&app, &server).await;

    // An email that cannot be delivered, by the worker.
    let quoting = with(&settings, &[("SMTP_URL", &quoting_mail_server().await)]);
    let mut worker = Server::start(&quoting, &["serve"]).await;
    let again = json!({ "email": EMAIL, "password": PASSWORD });
    server.post("/api/v1/auth/register", again, 202).await;
    let failed = worker
        .wait_for_line(|line| line["job"] == "auth.send_already_registered")
        .await;
    let reported = failed["error"].as_str().unwrap_or_default();
    assert!(reported.contains("550"), "{failed}");
    app.expect_dead_jobs();

    for process in [&mut server, &mut worker] {
        process.terminate().await;
        assert_eq!(process.ended().await, Some(0));
        let written = process.written();
        for secret in &secrets {
            let telling = written.lines().find(|line| line.contains(secret));
            assert!(
                telling.is_none(),
                "`{secret}` is in the log at level {level}: {telling:?}"
            );
        }
    }
}

#[tokio::test]
async fn no_secret_and_no_address_is_ever_written() {
    assert_discreet("info").await;
}

#[tokio::test]
async fn not_even_at_the_level_that_operators_turn_up_to_look_for_a_fault() {
    assert_discreet("debug").await;
}

#[tokio::test]
async fn no_line_grows_with_what_a_client_names() {
    let app = TestApp::new().await;
    let mut server = Server::start(&app.settings, &["serve", "--no-worker"]).await;
    let long = "X".repeat(20_000);
    let requests = [
        format!("{long} / HTTP/1.1\r\nhost: 127.0.0.1\r\n"),
        format!("SECRET-OF-ADA {LOGIN} HTTP/1.1\r\nhost: 127.0.0.1\r\n"),
        format!("GET /{long} HTTP/1.1\r\nhost: 127.0.0.1\r\n"),
        format!("GET {ME} HTTP/1.1\r\nhost: {long}\r\n"),
        format!("GET {ME} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: {long}\r\n"),
        format!("GET {ME} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-request-id: {long}\r\n"),
        format!("GET {ME} HTTP/1.1\r\nhost: 127.0.0.1\r\ntraceparent: {long}\r\n"),
        format!("GET {ME} HTTP/1.1\r\nhost: 127.0.0.1\r\n{long}: x\r\n"),
    ];
    let count = requests.len();
    for request in requests {
        let address = server.root.socket_addrs(|| None).expect("an address")[0];
        let mut stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("it listens");
        let request = format!("{request}connection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it is sent");
        let mut reply = String::new();
        let read = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut reply);
        read.await.expect("it is answered");
        assert!(reply.starts_with("HTTP/1.1 "), "{reply}");
    }
    server.terminate().await;
    assert_eq!(server.ended().await, Some(0));
    let written = server.written();
    assert!(!written.contains("SECRET"), "{written}");
    let longest = written.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 1_000, "a line has {longest} bytes");
    let lines = server.lines();
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| line["target"] == "access")
        .collect();
    assert_eq!(lines.len(), count);
    let others = lines.iter().filter(|line| line["method"] == "OTHER");
    assert_eq!(others.count(), 2);
}
