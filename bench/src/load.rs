//! The load: connections that each send a request as soon as the last one is answered.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A reply: its status and its body.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A connection that is kept alive. It does as little as a client can, since it runs on the cores
/// that it measures.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let buffer = Vec::with_capacity(4096);
        Ok(Self { stream, buffer })
    }

    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Response::new(&mut headers);
            let parsed = head.parse(&self.buffer).map_err(io::Error::other)?;
            let httparse::Status::Complete(body) = parsed else {
                continue;
            };
            let status = head.code.unwrap_or_default();
            let end = body + content_length(head.headers);
            while self.buffer.len() < end {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let body = self.buffer[body..end].to_vec();
            return Ok(Reply { status, body });
        }
    }
}

fn content_length(headers: &[httparse::Header<'_>]) -> usize {
    let length = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok());
    length
        .and_then(|length| length.parse().ok())
        .unwrap_or_default()
}

/// A request's bytes.
pub(crate) fn request(
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Vec<u8> {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let body = body.map(Value::to_string);
    let content = body.as_ref().map(|body| {
        let length = body.len();
        format!("content-type: application/json\r\ncontent-length: {length}\r\n")
    });
    let [token, content, body] = [token, content, body].map(Option::unwrap_or_default);
    let text = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{token}{content}\r\n{body}");
    text.into_bytes()
}

/// What one connection sends: the next request, given the last reply.
pub(crate) trait Script: Send + 'static {
    fn next(&mut self, last: Option<&Reply>) -> &[u8];
}

/// The same request each time.
pub(crate) struct Same(pub(crate) Vec<u8>);

impl Script for Same {
    fn next(&mut self, _: Option<&Reply>) -> &[u8] {
        &self.0
    }
}

/// What a round of load came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    /// How long each good reply took.
    took: Vec<Duration>,
    elapsed: Duration,
    /// Replies that were not 2xx, and connections that broke.
    pub(crate) errors: usize,
}

impl Round {
    /// A round of another load, without errors.
    pub(crate) fn of(took: Vec<Duration>, elapsed: Duration) -> Self {
        Self {
            took,
            elapsed,
            errors: 0,
        }
    }

    /// Adds what a later part of the round came to.
    pub(crate) fn add(&mut self, part: Self) {
        self.took.extend(part.took);
        self.elapsed += part.elapsed;
        self.errors += part.errors;
    }

    /// Good replies in a second.
    pub(crate) fn rate(&self) -> f64 {
        let count = u32::try_from(self.took.len()).unwrap_or(u32::MAX);
        f64::from(count) / self.elapsed.as_secs_f64()
    }

    /// The time that a reply took on average.
    pub(crate) fn mean(&self) -> Duration {
        let count = u32::try_from(self.took.len()).unwrap_or(u32::MAX);
        self.took.iter().sum::<Duration>() / count.max(1)
    }

    /// The time that 99 of 100 replies took at most.
    pub(crate) fn p99(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get(took.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// Runs one script a connection for so long, each request as soon as the last one is answered.
pub(crate) async fn run<S: Script>(
    addr: SocketAddr,
    scripts: Vec<S>,
    length: Duration,
) -> io::Result<Round> {
    run_every(addr, scripts, length, Duration::ZERO).await
}

/// Runs one script a connection for so long, at `rate` requests a second in all. Latency counts from
/// the moment that a request was due, so that a slow reply does not hide those that it delays.
pub(crate) async fn run_at<S: Script>(
    addr: SocketAddr,
    scripts: Vec<S>,
    length: Duration,
    rate: f64,
) -> io::Result<Round> {
    let connections = u32::try_from(scripts.len()).unwrap_or(u32::MAX);
    let interval = Duration::from_secs_f64(f64::from(connections) / rate);
    run_every(addr, scripts, length, interval).await
}

async fn run_every<S: Script>(
    addr: SocketAddr,
    scripts: Vec<S>,
    length: Duration,
    interval: Duration,
) -> io::Result<Round> {
    let mut connections = Vec::new();
    for script in scripts {
        connections.push((Connection::open(addr).await?, script));
    }
    let began = Instant::now();
    let mut clients = JoinSet::new();
    let count = u32::try_from(connections.len()).unwrap_or(u32::MAX);
    for (at, (connection, script)) in (0u32..).zip(connections) {
        let schedule = Schedule {
            // Spread over the interval, so that they do not all send at once.
            next: began + interval * at / count,
            interval,
            until: began + length,
        };
        clients.spawn(client(connection, script, schedule));
    }
    let (mut took, mut errors) = (Vec::new(), 0);
    while let Some(ended) = clients.join_next().await {
        let (its, wrong) = ended.map_err(io::Error::other)?;
        took.extend(its);
        errors += wrong;
    }
    Ok(Round {
        took,
        elapsed: began.elapsed(),
        errors,
    })
}

/// When a connection sends: every `interval`, or without a pause where that is zero.
struct Schedule {
    next: Instant,
    interval: Duration,
    until: Instant,
}

impl Schedule {
    /// Waits until the next request is due. Returns that moment; `None` once the round is over.
    async fn due(&mut self) -> Option<Instant> {
        if self.interval.is_zero() {
            return Some(Instant::now()).filter(|now| *now < self.until);
        }
        let due = self.next;
        self.next += self.interval;
        if due >= self.until {
            return None;
        }
        tokio::time::sleep_until(due.into()).await;
        Some(due)
    }
}

async fn client(
    mut connection: Connection,
    mut script: impl Script,
    mut schedule: Schedule,
) -> (Vec<Duration>, usize) {
    let (mut took, mut errors) = (Vec::new(), 0);
    let mut last = None;
    loop {
        // Also after the last reply, which may say how to go on in the next round.
        let request = script.next(last.as_ref());
        let Some(sent) = schedule.due().await else {
            return (took, errors);
        };
        match connection.send(request).await {
            Ok(reply) if (200..300).contains(&reply.status) => {
                took.push(sent.elapsed());
                last = Some(reply);
            }
            Ok(_) => errors += 1,
            Err(_) => return (took, errors + 1),
        }
    }
}
