//! The SMTP side (RFC 5321): as much as senders use, and tolerant of those that misbehave.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::{Message, Store};

const SIZE_LIMIT: usize = 25 * 1024 * 1024;
const LINE_LIMIT: usize = 8 * 1024;
const RECIPIENT_LIMIT: usize = 100;
const CONNECTION_LIMIT: usize = 256;
const MISTAKE_LIMIT: usize = 20;
const IDLE_LIMIT: Duration = Duration::from_mins(5);

/// Takes connections until the task is dropped.
pub(super) async fn serve(listener: TcpListener, store: Arc<Store>) {
    let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    let mut sessions = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let store = Arc::clone(&store);
                sessions.spawn(async move {
                    // A client that goes away or goes silent has no one to be told.
                    let _ = Session::new(stream, store).run().await;
                    drop(place);
                });
            }
            // Out of file descriptors, most likely: others are about to be closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while sessions.try_join_next().is_some() {}
    }
}

struct Session {
    stream: BufReader<TcpStream>,
    store: Arc<Store>,
    greeted: bool,
    envelope: Option<Envelope>,
    mistakes: usize,
}

struct Envelope {
    sender: String,
    recipients: Vec<String>,
}

/// Whether the dialogue goes on.
#[derive(PartialEq)]
enum Next {
    Go,
    Close,
}

impl Session {
    fn new(stream: TcpStream, store: Arc<Store>) -> Self {
        Self {
            stream: BufReader::new(stream),
            store,
            greeted: false,
            envelope: None,
            mistakes: 0,
        }
    }

    async fn run(mut self) -> io::Result<()> {
        self.reply("220 inbox ready").await?;
        loop {
            let Ok(line) = tokio::time::timeout(IDLE_LIMIT, read_line(&mut self.stream)).await
            else {
                return self.reply("421 too long without a word").await;
            };
            let Some(line) = line? else { return Ok(()) };
            let next = match std::str::from_utf8(&line.bytes) {
                Ok(text) if line.ended => self.obey(text.trim_end()).await?,
                _ => self.mistake("500 the line is too long or not text").await?,
            };
            if next == Next::Close {
                return Ok(());
            }
        }
    }

    async fn obey(&mut self, line: &str) -> io::Result<Next> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                (self.greeted, self.envelope) = (true, None);
                self.reply(&format!(
                    "250-inbox\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE {SIZE_LIMIT}"
                ))
                .await?;
            }
            "HELO" => {
                (self.greeted, self.envelope) = (true, None);
                self.reply("250 inbox").await?;
            }
            "MAIL" => return self.mail(rest).await,
            "RCPT" => return self.rcpt(rest).await,
            "DATA" => return self.data().await,
            "RSET" => {
                self.envelope = None;
                self.reply("250 forgotten").await?;
            }
            "NOOP" => self.reply("250 nothing done").await?,
            "VRFY" => self.reply("252 every recipient is taken").await?,
            "QUIT" => {
                self.reply("221 bye").await?;
                return Ok(Next::Close);
            }
            _ => return self.mistake("500 unknown command").await,
        }
        Ok(Next::Go)
    }

    async fn mail(&mut self, rest: &str) -> io::Result<Next> {
        if !self.greeted {
            return self.mistake("503 say EHLO first").await;
        }
        if self.envelope.is_some() {
            return self.mistake("503 a message is already begun").await;
        }
        let Some((sender, parameters)) = path(rest, "FROM:") else {
            return self.mistake("501 want MAIL FROM:<address>").await;
        };
        let announced = parameters.split_whitespace().find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.eq_ignore_ascii_case("SIZE")
                .then(|| value.parse::<usize>().ok())?
        });
        if announced.is_some_and(|size| size > SIZE_LIMIT) {
            return self.mistake("552 the message is too large").await;
        }
        self.envelope = Some(Envelope {
            sender: sender.into(),
            recipients: Vec::new(),
        });
        self.reply("250 sender taken").await?;
        Ok(Next::Go)
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<Next> {
        let Some(envelope) = &mut self.envelope else {
            return self.mistake("503 say MAIL first").await;
        };
        if envelope.recipients.len() >= RECIPIENT_LIMIT {
            return self.mistake("452 too many recipients").await;
        }
        match path(rest, "TO:") {
            Some((recipient, _)) if !recipient.is_empty() => {
                envelope.recipients.push(recipient.into());
                self.reply("250 recipient taken").await?;
                Ok(Next::Go)
            }
            _ => self.mistake("501 want RCPT TO:<address>").await,
        }
    }

    async fn data(&mut self) -> io::Result<Next> {
        let Some(envelope) = self
            .envelope
            .take_if(|envelope| !envelope.recipients.is_empty())
        else {
            return self.mistake("503 no recipients").await;
        };
        self.reply("354 end with a dot on a line of its own")
            .await?;
        let Ok(body) = tokio::time::timeout(IDLE_LIMIT, read_body(&mut self.stream)).await else {
            self.reply("421 the message took too long").await?;
            return Ok(Next::Close);
        };
        let Some(body) = body? else {
            return self.mistake("552 the message is too large").await;
        };
        if let Some(code) = self.store.next_refusal() {
            self.reply(&format!("{code} refused, as the inbox was told to"))
                .await?;
            return Ok(if code == 421 { Next::Close } else { Next::Go });
        }
        self.store
            .insert(Message::parse(envelope.sender, envelope.recipients, &body));
        self.reply("250 taken").await?;
        Ok(Next::Go)
    }

    async fn mistake(&mut self, reply: &str) -> io::Result<Next> {
        self.mistakes += 1;
        if self.mistakes > MISTAKE_LIMIT {
            self.reply("421 too many mistakes").await?;
            return Ok(Next::Close);
        }
        self.reply(reply).await?;
        Ok(Next::Go)
    }

    async fn reply(&mut self, line: &str) -> io::Result<()> {
        self.stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await
    }
}

/// `FROM:<address> PARAMETERS`, with the space that some senders put after the colon.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (head, tail) = rest.split_at_checked(keyword.len())?;
    let tail = head
        .eq_ignore_ascii_case(keyword)
        .then(|| tail.trim_start())?;
    let (address, parameters) = tail.strip_prefix('<')?.split_once('>')?;
    let is_plain = !address.contains(|c: char| c.is_control() || c.is_whitespace());
    is_plain.then_some((address, parameters))
}

struct Line {
    bytes: Vec<u8>,
    /// Whether its end was reached, or it is only the first part of a long line.
    ended: bool,
}

/// The next line with its end, or as much of it as the limit allows; none at the end of the stream.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    loop {
        let buffer = stream.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let end = buffer
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|at| at + 1);
        let taken = end.unwrap_or(buffer.len()).min(LINE_LIMIT - bytes.len());
        bytes.extend_from_slice(&buffer[..taken]);
        stream.consume(taken);
        if bytes.ends_with(b"\n") {
            return Ok(Some(Line { bytes, ended: true }));
        }
        if bytes.len() == LINE_LIMIT {
            return Ok(Some(Line {
                bytes,
                ended: false,
            }));
        }
    }
}

/// The email up to the lonely dot, its dots unstuffed; none when it is too large.
///
/// Only a full CRLF begins a line, so that a bare line feed cannot smuggle a second email in.
async fn read_body(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    let mut too_large = false;
    let mut at_start = true;
    let mut after_return = false;
    loop {
        let Some(line) = read_line(stream).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if at_start && line.bytes == b".\r\n" {
            return Ok((!too_large).then_some(body));
        }
        let stuffed = at_start && line.bytes.starts_with(b".");
        // A line at the limit may have been cut inside its CRLF.
        at_start = line.bytes.ends_with(b"\r\n") || (after_return && line.bytes == b"\n");
        after_return = line.bytes.ends_with(b"\r");
        if body.len() + line.bytes.len() > SIZE_LIMIT {
            too_large = true;
            body = Vec::new();
        }
        if !too_large {
            body.extend_from_slice(&line.bytes[usize::from(stuffed)..]);
        }
    }
}
