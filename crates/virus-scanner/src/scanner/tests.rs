//! The protocol against a server with fixed replies. A real clamd is in the tests of the service.

use http_body_util::Full;
use tokio::net::TcpListener;

use super::*;

/// Behaviour of the server on a connection.
#[derive(Clone, Copy)]
enum Server {
    /// Reads the whole stream, replies and closes.
    Replies(&'static str),
    /// Replies after the command and closes.
    Interrupts(&'static str),
    /// Reads the whole stream, and never replies.
    Freezes,
}

impl Server {
    /// Scans bytes by a server of one connection; returns the bytes that it has read as well.
    async fn scan(self, bytes: &[u8]) -> (Result<Verdict, ScanError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut command = [0; 10];
            stream.read_exact(&mut command).await.expect("a command");
            assert_eq!(&command, b"zINSTREAM\0");
            let (read, reply) = match self {
                Self::Interrupts(reply) => (Vec::new(), reply),
                Self::Replies(reply) => (read_stream(&mut stream).await, reply),
                Self::Freezes => return (read_stream(&mut stream).await, Some(stream)),
            };
            let sent = stream.write_all(reply.as_bytes()).await;
            sent.expect("it is sent");
            (read, None)
        };
        let body = Full::new(Bytes::copy_from_slice(bytes));
        let scanner = scanner(port);
        let (verdict, (read, _open)) = tokio::join!(scanner.scan(body), serve);
        (verdict, read)
    }
}

async fn read_stream(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        let length = stream.read_u32().await.expect("a length") as usize;
        assert!(length <= CHUNK);
        if length == 0 {
            return read;
        }
        let mut chunk = vec![0; length];
        stream.read_exact(&mut chunk).await.expect("a chunk");
        read.extend(chunk);
    }
}

fn scanner(port: u16) -> Scanner {
    Scanner::new(&ScannerConfig {
        address: ScannerAddress {
            host: "127.0.0.1".to_owned(),
            port,
        },
        timeout: Duration::from_secs(1),
        max_size: 0,
    })
}

#[tokio::test]
async fn a_whole_stream_is_sent_in_chunks_and_has_a_verdict() {
    for size in [0, 1, CHUNK, 3 * CHUNK + 1] {
        let bytes = vec![7; size];
        let (verdict, read) = Server::Replies("stream: OK\0").scan(&bytes).await;
        assert_eq!(verdict.expect("it is scanned"), Verdict::Clean);
        assert_eq!(read, bytes);
    }
    let (verdict, _) = Server::Replies("stream: A b-1 FOUND\0").scan(b"x").await;
    let signature = "A b-1".to_owned();
    assert_eq!(
        verdict.expect("it is scanned"),
        Verdict::Infected { signature }
    );
}

#[tokio::test]
async fn any_other_reply_is_an_error() {
    for reply in [
        "",
        "\0",
        "stream: OK",
        "stream: ok\0",
        "OK\0",
        "stream: OK ERROR\0",
        "stream: Can't allocate memory ERROR\0",
        "FOUND\0",
    ] {
        let (verdict, _) = Server::Replies(reply).scan(b"x").await;
        assert!(verdict.is_err(), "{reply:?}: {verdict:?}");
    }
    let (verdict, _) = Server::Replies("INSTREAM size limit exceeded. ERROR\0")
        .scan(b"x")
        .await;
    assert!(matches!(verdict, Err(ScanError::TooLarge)), "{verdict:?}");
}

#[tokio::test]
async fn a_reply_before_the_end_is_no_verdict() {
    let bytes = vec![7; 8 * 1024 * 1024];
    let (verdict, _) = Server::Interrupts("stream: OK\0").scan(&bytes).await;
    assert!(matches!(verdict, Err(ScanError::Failed(_))), "{verdict:?}");
    let (verdict, _) = Server::Interrupts("INSTREAM size limit exceeded. ERROR\0")
        .scan(&bytes)
        .await;
    assert!(matches!(verdict, Err(ScanError::TooLarge)), "{verdict:?}");
}

#[tokio::test]
async fn a_scanner_that_is_away_or_frozen_is_unavailable_in_time() {
    let (verdict, _) = Server::Freezes.scan(b"x").await;
    assert!(
        matches!(verdict, Err(ScanError::Unavailable(_))),
        "{verdict:?}"
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    // It accepts connections, as the kernel does for a process that is stopped.
    let ping = scanner(port).ping().await;
    assert!(matches!(ping, Err(ScanError::Unavailable(_))), "{ping:?}");
    drop(listener);
    let ping = scanner(port).ping().await;
    assert!(matches!(ping, Err(ScanError::Unavailable(_))), "{ping:?}");
}
