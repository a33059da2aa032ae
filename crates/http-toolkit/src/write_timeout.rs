//! TCP stream with a write-stall timeout and a lingering close.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Bytes that must be written within each timeout period, against peers that read a few bytes at a time.
const PROGRESS: usize = 64 * 1024;
/// How long a peer that still sends is read from, so that it receives the response instead of a reset.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct WriteTimeoutStream<S> {
    stream: S,
    timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    moved: usize,
    ended: bool,
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeoutStream<S> {
    pub(super) fn new(stream: S, timeout: Duration) -> Self {
        Self {
            stream,
            timeout,
            stalled: None,
            moved: 0,
            ended: false,
            linger: None,
        }
    }

    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => {
                let timeout = self.timeout;
                let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout)));
                ready!(stalled.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(Ok(count)) if self.stalled.is_some() => {
                self.moved += count;
                if self.moved >= PROGRESS {
                    self.settle();
                }
                Poll::Ready(Ok(count))
            }
            done @ Poll::Ready(_) => done,
        }
    }

    fn settle(&mut self) {
        self.stalled = None;
        self.moved = 0;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.ended = buffer.remaining() > 0 && buffer.filled().len() == before;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WriteTimeoutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.settle();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.linger = Some(Box::pin(sleep(LINGER)));
        }
        let mut waste = [0; 4096];
        while !self.ended {
            if self
                .linger
                .as_mut()
                .is_some_and(|linger| linger.as_mut().poll(cx).is_ready())
            {
                break;
            }
            if ready!(self.as_mut().poll_read(cx, &mut ReadBuf::new(&mut waste))).is_err() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_given_up() {
        let (ours, _theirs) = duplex(1024);
        let mut socket = WriteTimeoutStream::new(ours, Duration::from_secs(30));
        let begun = Instant::now();
        let error = socket.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_not_reading_but_a_slow_line_is() {
        for (step, served) in [(100_usize, false), (10_000, true)] {
            let (ours, mut theirs) = duplex(1024);
            let mut socket = WriteTimeoutStream::new(ours, Duration::from_secs(30));
            let reader = tokio::spawn(async move {
                let mut buffer = vec![0; step];
                while theirs.read_exact(&mut buffer).await.is_ok() {
                    sleep(Duration::from_secs(1)).await;
                }
            });
            assert_eq!(
                socket.write_all(&vec![0; 1_000_000]).await.is_ok(),
                served,
                "{step} a second"
            );
            reader.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn parting_hears_the_peer_out_for_a_moment() {
        let (ours, mut theirs) = duplex(1024);
        let mut socket = WriteTimeoutStream::new(ours, Duration::from_secs(30));
        let sender = tokio::spawn(async move {
            theirs.write_all(&vec![0; 100_000]).await.unwrap();
            theirs
        });
        socket.shutdown().await.unwrap();
        let mut rest = Vec::new();
        sender.await.unwrap().read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}
