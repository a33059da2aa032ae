//! A mail server that replies as a test tells it to, with TLS under a private authority.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clock::Rng;
use groundwork_dev::{LoopbackTls, TlsAcceptor};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// When the server speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Never,
    OnRequest,
    AtOnce,
}

/// Replies of the server: to a line that begins with the first word, the second text. Everything
/// else is accepted.
pub type Replies = &'static [(&'static str, &'static str)];

/// A running mail server; it ends with the test.
pub struct Server {
    pub addr: SocketAddr,
    /// A file with the authority's certificate.
    pub authority: PathBuf,
    received: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        drop(std::fs::remove_file(&self.authority));
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Server {
    pub async fn start(tls: Tls, replies: Replies) -> Self {
        Self::start_at("127.0.0.1:0", tls, replies).await
    }

    pub async fn start_at(addr: &str, tls: Tls, replies: Replies) -> Self {
        let listener = TcpListener::bind(addr).await.expect("a port is free");
        let addr = listener.local_addr().expect("it has an address");
        let certified = LoopbackTls::issue();
        let random = u64::from_be_bytes(Rng::system().bytes());
        let authority = std::env::temp_dir().join(format!("authority-{random:x}.pem"));
        std::fs::write(&authority, certified.authority).expect("it is written");
        let acceptor = certified.acceptor;
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, log) = (acceptor.clone(), Arc::clone(&log));
                tokio::spawn(async move {
                    // A client that goes away is part of some tests.
                    drop(converse(stream, tls, replies, &acceptor, &log).await);
                });
            }
        });
        Self {
            addr,
            authority,
            received,
            task,
        }
    }

    /// All lines that were received, in order.
    pub fn lines(&self) -> Vec<String> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The lines that begin with this word.
    pub fn lines_with(&self, word: &str) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| line.starts_with(word));
        lines
    }
}

/// A certificate for the loopback addresses, and its authority in a file.
async fn converse(
    stream: TcpStream,
    tls: Tls,
    replies: Replies,
    acceptor: &TlsAcceptor,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream: BufReader<Box<dyn Stream>> = if tls == Tls::AtOnce {
        BufReader::new(Box::new(acceptor.accept(stream).await?))
    } else {
        BufReader::new(Box::new(stream))
    };
    let reply_to = |line: &str, otherwise: &'static str| {
        let mut scripted = replies.iter().filter(|(word, _)| line.starts_with(word));
        scripted.next().map_or(otherwise, |(_, reply)| *reply)
    };
    let greeting = reply_to("greeting", "220 ready");
    stream
        .write_all(format!("{greeting}\r\n").as_bytes())
        .await?;
    let (mut is_encrypted, mut is_message) = (tls == Tls::AtOnce, false);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let text = line.trim_end().to_owned();
        log.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text.clone());
        if is_message && text != "." {
            continue;
        }
        let is_end = std::mem::take(&mut is_message);
        let reply = match text.split(' ').next().unwrap_or_default() {
            _ if is_end => reply_to("message", "250 taken"),
            "EHLO" if tls == Tls::OnRequest && !is_encrypted => {
                reply_to("EHLO", "250-test\r\n250 STARTTLS")
            }
            "EHLO" => reply_to("EHLO", "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN"),
            "STARTTLS" => reply_to("STARTTLS", "220 go ahead"),
            "AUTH" => reply_to("AUTH", "235 welcome"),
            "DATA" => reply_to("DATA", "354 go ahead"),
            "QUIT" => "221 bye",
            _ => reply_to(&text, "250 ok"),
        };
        if reply == "close" {
            return Ok(());
        }
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        if text == "QUIT" {
            return Ok(());
        }
        is_message = reply.starts_with("354");
        if text == "STARTTLS" && reply.starts_with("220") {
            let plain = stream.into_inner();
            stream = BufReader::new(Box::new(acceptor.accept(plain).await?));
            is_encrypted = true;
        }
    }
}
