//! `load`: signed-in clients that keep their connections, and a report of what failed. Signing in comes before the load: many
//! sign-ins at once are refused, which is no failure.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use groundwork_dev::{Error, Result, error::Doing as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::say;

/// Of one request. The service's own limit is shorter.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Options of `load`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Address of the proxy
    #[arg(long)]
    address: SocketAddr,
    /// Name of the host
    #[arg(long)]
    host: String,
    /// File with the authority's certificate in PEM
    #[arg(long)]
    authority: String,
    /// Address of the account; its password is read from standard input
    #[arg(long)]
    email: String,
    /// Connections, each with a session of its own
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Requests a second on each connection
    #[arg(long, default_value_t = 5)]
    rate: u32,
}

/// Results of the requests of one or more connections.
#[derive(Default)]
struct Tally {
    requests: usize,
    took: Vec<Duration>,
    failed: BTreeMap<String, usize>,
}

/// Prints `signed in` once all connections are, sends requests until SIGTERM, and prints the tally as JSON.
pub(crate) async fn load(options: Options) -> Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate()).doing(|| "listen for SIGTERM".into())?;
    let mut password = String::new();
    let read = io::stdin().read_to_string(&mut password);
    read.doing(|| "read the password".into())?;
    let options = Arc::new(options);
    let tls = connector(&options.authority)?;
    let (stop, stopped) = watch::channel(false);
    let mut signed_in = Vec::new();
    for _ in 0..options.connections {
        let target = Target {
            tls: tls.clone(),
            options: Arc::clone(&options),
        };
        signed_in.push(sign_in(target, password.trim()).await);
    }
    say("signed in");
    let mut clients = JoinSet::new();
    for (connection, session) in signed_in {
        clients.spawn(client(connection, session, options.rate, stopped.clone()));
    }
    terminated.recv().await;
    stop.send_replace(true);
    let mut all = Tally::default();
    while let Some(ended) = clients.join_next().await {
        let tally = ended.map_err(|error| Error::Other(error.to_string()))?;
        all.requests += tally.requests;
        all.took.extend(tally.took);
        for (what, count) in tally.failed {
            *all.failed.entry(what).or_default() += count;
        }
    }
    all.took.sort_unstable();
    let part = |of: usize| {
        let at = all.took.len() * of / 1000;
        all.took
            .get(at.min(all.took.len().saturating_sub(1)))
            .map_or(0, Duration::as_millis)
    };
    let report = json!({
        "requests": all.requests,
        "failed": all.failed.values().sum::<usize>(),
        "failures": all.failed,
        "p50_ms": part(500),
        "p99_ms": part(990),
        "max_ms": part(1000),
    });
    say(&report.to_string());
    Ok(ExitCode::SUCCESS)
}

fn connector(authority: &str) -> Result<TlsConnector> {
    let pem = fs::read(authority).doing(|| format!("read {authority}"))?;
    let certificate =
        CertificateDer::from_pem_slice(&pem).map_err(|error| Error::Other(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let added = roots.add(certificate);
    added.map_err(|error| Error::Other(error.to_string()))?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

struct Target {
    tls: TlsConnector,
    options: Arc<Options>,
}

/// A connection that is opened again when the server has announced its end.
struct Connection {
    target: Target,
    stream: Option<TlsStream<TcpStream>>,
}

impl Connection {
    async fn open(&self) -> io::Result<TlsStream<TcpStream>> {
        let options = &self.target.options;
        let stream = TcpStream::connect(options.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(options.host.clone()).map_err(io::Error::other)?;
        self.target.tls.connect(name, stream).await
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> io::Result<(u16, Value)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.open().await?,
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let host = &self.target.options.host;
        let token = if token.is_empty() {
            String::new()
        } else {
            format!("Authorization: Bearer {token}\r\n")
        };
        let length = body.len();
        let content = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Type: application/json\r\nContent-Length: {length}\r\n")
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{token}{content}");
        stream
            .write_all(format!("{head}\r\n{body}").as_bytes())
            .await?;
        let (status, head, body) = receive(&mut stream).await?;
        if !head.contains("connection: close") {
            self.stream = Some(stream);
        }
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

/// Reads a reply with a `Content-Length` or in chunks.
async fn receive(stream: &mut TlsStream<TcpStream>) -> io::Result<(u16, String, Vec<u8>)> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, &mut read).await?;
    };
    let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let status: u16 = status.unwrap_or_default();
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = read.split_off(end);
    if head.contains("transfer-encoding: chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            more(stream, &mut body).await?;
        }
        return Ok((status, head, Vec::new()));
    }
    let length: usize = length.unwrap_or_default();
    while body.len() < length {
        more(stream, &mut body).await?;
    }
    Ok((status, head, body))
}

async fn more(stream: &mut TlsStream<TcpStream>, into: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(into).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Tokens of a session.
#[derive(Default)]
struct Session {
    access: String,
    refresh: String,
}

impl Session {
    fn take(&mut self, reply: &Value) {
        let text = |field: &str| reply[field].as_str().unwrap_or_default().to_owned();
        self.access = text("access_token");
        self.refresh = text("refresh_token");
    }
}

/// Tries until it succeeds.
async fn sign_in(target: Target, password: &str) -> (Connection, Session) {
    let credentials = json!({ "email": target.options.email, "password": password });
    let mut connection = Connection {
        target,
        stream: None,
    };
    loop {
        let sent = connection.send("POST", "/api/v1/auth/login", "", Some(&credentials));
        if let Ok(Ok((200, reply))) = timeout(TIMEOUT, sent).await {
            let mut session = Session::default();
            session.take(&reply);
            return (connection, session);
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Reads, writes and refreshes in turn.
async fn client(
    mut connection: Connection,
    mut session: Session,
    rate: u32,
    mut stopped: watch::Receiver<bool>,
) -> Tally {
    let mut tally = Tally::default();
    let mut due = interval(Duration::from_secs(1) / rate.max(1));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0_usize.. {
        tokio::select! {
            _ = due.tick() => {}
            _ = stopped.changed() => break,
        }
        let refresh = json!({ "refresh_token": session.refresh });
        let profile = json!({ "first_name": format!("Ada {}", turn % 10) });
        let (method, path, body) = match turn % 20 {
            3 => ("POST", "/api/v1/auth/refresh", Some(&refresh)),
            7 | 17 => ("PATCH", "/api/v1/users/me", Some(&profile)),
            5 | 15 => ("GET", "/api/v1/api-keys", None),
            0 | 6 | 10 | 14 => ("GET", "/.well-known/jwks.json", None),
            _ => ("GET", "/api/v1/users/me", None),
        };
        let began = Instant::now();
        let sent = connection.send(method, path, &session.access, body);
        let reply = timeout(TIMEOUT, sent).await;
        tally.requests += 1;
        tally.took.push(began.elapsed());
        let failure = match reply {
            Ok(Ok((200..=299, reply))) => {
                if path.ends_with("/refresh") {
                    session.take(&reply);
                }
                continue;
            }
            Ok(Ok((status, _))) => format!("{method} {path}: {status}"),
            Ok(Err(error)) => format!("{method} {path}: {error}"),
            Err(_) => format!("{method} {path}: no reply"),
        };
        *tally.failed.entry(failure).or_default() += 1;
    }
    tally
}
