//! The protocol of clamd: `zINSTREAM` and `zPING`, each in a connection of its own.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::config::{ScannerAddress, ScannerConfig};

const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of one chunk.
const CHUNK: usize = 64 * 1024;

/// Bytes of a reply.
const REPLY_MAX: u64 = 1024;

const TOO_LARGE: &str = "INSTREAM size limit exceeded. ERROR";

/// Result of a scan of all bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Clean,
    Infected {
        /// Name of the signature: printable ASCII.
        signature: String,
    },
}

/// There is no verdict.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ScanError {
    #[error("the scanner does not respond: {0}")]
    Unavailable(&'static str),
    #[error("the file is larger than the scanner accepts (StreamMaxLength)")]
    TooLarge,
    #[error("the scanner failed: {0}")]
    Failed(String),
    #[error("the bytes to scan could not be read")]
    Body,
}

/// Client of one clamd.
#[derive(Clone, Debug)]
pub struct Scanner {
    address: ScannerAddress,
    timeout: Duration,
}

impl Scanner {
    #[must_use]
    pub fn new(config: &ScannerConfig) -> Self {
        Self {
            address: config.address.clone(),
            timeout: config.timeout,
        }
    }

    /// Checks within two seconds that clamd replies.
    pub async fn ping(&self) -> Result<(), ScanError> {
        let call = async {
            let (reader, mut writer) = self.connect().await?;
            writer.write_all(b"zPING\0").await.map_err(|_| CUT)?;
            writer.flush().await.map_err(|_| CUT)?;
            let reply = read_reply(reader).await?;
            match reply.as_str() {
                "PONG" => Ok(()),
                _ => Err(ScanError::Failed(reply)),
            }
        };
        timeout(PING_TIMEOUT, call).await.unwrap_or(Err(LATE))
    }

    /// Scans bytes as they come.
    pub async fn scan<B: Body<Data = Bytes>>(&self, body: B) -> Result<Verdict, ScanError> {
        let call = async {
            // Open until the reply: half-closed, it would be the end of the connection.
            let (reader, mut writer) = self.connect().await?;
            let mut reply = pin!(read_reply(reader));
            let sent = tokio::select! {
                biased;
                early = &mut reply => return Err(refusal(early?)),
                sent = send(&mut writer, body) => sent,
            };
            match sent {
                Ok(()) => parse(reply.await?),
                Err(SendError::Body) => Err(ScanError::Body),
                Err(SendError::Connection(_)) => Err(refusal(reply.await?)),
            }
        };
        timeout(self.timeout, call).await.unwrap_or(Err(LATE))
    }

    async fn connect(&self) -> Result<(OwnedReadHalf, BufWriter<OwnedWriteHalf>), ScanError> {
        let ScannerAddress { host, port } = &self.address;
        let connected = timeout(PING_TIMEOUT, TcpStream::connect((host.as_str(), *port)));
        let stream = connected.await.map_err(|_| LATE)?;
        let stream = stream.map_err(|_| ScanError::Unavailable("no connection"))?;
        let (reader, writer) = stream.into_split();
        // A chunk with its length.
        Ok((reader, BufWriter::with_capacity(CHUNK + 4, writer)))
    }
}

const LATE: ScanError = ScanError::Unavailable("no reply in time");
const CUT: ScanError = ScanError::Unavailable("the connection was cut");

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the bytes could not be read")]
    Body,
    #[error(transparent)]
    Connection(#[from] io::Error),
}

/// Sends a stream: chunks after their length in 4 bytes, and a length of zero at the end.
async fn send<B: Body<Data = Bytes>>(
    writer: &mut BufWriter<OwnedWriteHalf>,
    body: B,
) -> Result<(), SendError> {
    writer.write_all(b"zINSTREAM\0").await?;
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| SendError::Body)?;
        let data = frame.into_data().unwrap_or_default();
        for chunk in data.chunks(CHUNK) {
            let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
            writer.write_u32(length).await?;
            writer.write_all(chunk).await?;
        }
    }
    writer.write_u32(0).await?;
    writer.flush().await?;
    Ok(())
}

/// Reads a reply up to its NUL.
async fn read_reply(reader: OwnedReadHalf) -> Result<String, ScanError> {
    let mut reply = Vec::new();
    let mut reader = BufReader::new(reader.take(REPLY_MAX));
    let read = reader.read_until(0, &mut reply).await;
    read.map_err(|_| CUT)?;
    if reply.pop() != Some(0) {
        return Err(CUT);
    }
    let text = String::from_utf8_lossy(&reply);
    Ok(text.chars().filter(|c| matches!(c, ' '..='~')).collect())
}

/// Reply to a whole stream.
fn parse(reply: String) -> Result<Verdict, ScanError> {
    let result = reply.strip_prefix("stream: ");
    if result == Some("OK") {
        return Ok(Verdict::Clean);
    }
    match result.and_then(|text| text.strip_suffix(" FOUND")) {
        Some(signature) => Ok(Verdict::Infected {
            signature: signature.to_owned(),
        }),
        None => Err(refusal(reply)),
    }
}

/// Reply before the end of a stream: never a verdict.
fn refusal(reply: String) -> ScanError {
    if reply == TOO_LARGE {
        ScanError::TooLarge
    } else {
        ScanError::Failed(reply)
    }
}

#[cfg(test)]
mod tests;
