//! Idle timeout and header timeout of a connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Timer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection::Connection;

/// How long a connection may wait for a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitLimits {
    /// From the first byte of a head, or from the connection's first moment, to a whole head.
    pub(super) head: Duration,
    /// From a reply to the first byte of the next head.
    pub(super) idle: Duration,
}

/// A stream that ends where a request does not come in time. hyper has one limit for an idle
/// connection and for a slow head; they differ by what balancers keep and by what attackers use.
#[derive(Debug)]
pub(super) struct Timed<S> {
    stream: S,
    connection: Arc<Connection>,
    limits: WaitLimits,
    events: usize,
    wait: Option<Wait>,
    /// Moved where it has fired, and where a deadline is earlier: not for each request.
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Instant,
    in_head: bool,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>, limits: WaitLimits) -> Self {
        Self {
            stream,
            connection,
            limits,
            events: 0,
            wait: Some(Wait {
                until: Instant::now() + limits.head,
                in_head: true,
            }),
            timer: None,
        }
    }

    /// Returns whether a request is being served, whose time has limits of its own.
    fn is_serving(&mut self) -> bool {
        let events = self.connection.events();
        if events != self.events {
            self.events = events;
            self.wait = None;
        }
        events % 2 == 1
    }

    fn begin_head(&mut self) {
        if !self.wait.is_some_and(|wait| wait.in_head) {
            self.wait = Some(Wait {
                until: Instant::now() + self.limits.head,
                in_head: true,
            });
        }
    }

    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let idle = self.limits.idle;
        let wait = *self.wait.get_or_insert_with(|| Wait {
            until: Instant::now() + idle,
            in_head: false,
        });
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(wait.until)));
        if timer.deadline() > wait.until {
            timer.as_mut().reset(wait.until);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= wait.until {
                return Poll::Ready(if wait.in_head {
                    Err(io::ErrorKind::TimedOut.into())
                } else {
                    // As if the client had closed it.
                    Ok(())
                });
            }
            timer.as_mut().reset(wait.until);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.is_serving() {
            return read;
        }
        if read.is_pending() {
            return self.poll_limit(cx);
        }
        if buffer.filled().len() > before {
            self.begin_head();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A timer that never fires, for hyper. It looks for the next request right after a reply only where
/// it has a limit for the head, and [`Timed`] must be asked to know that the connection idles.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoTimer;

impl Timer for NoTimer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Never)
    }

    fn sleep_until(&self, _: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Never)
    }
}

/// Has no size, so that its box is none.
struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl hyper::rt::Sleep for Never {}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{sleep, timeout};

    use super::*;

    const LIMITS: WaitLimits = WaitLimits {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
    };

    fn pair() -> (Timed<DuplexStream>, DuplexStream, Arc<Connection>) {
        let (ours, theirs) = duplex(1024);
        let connection = Arc::<Connection>::default();
        let timed = Timed::new(ours, Arc::clone(&connection), LIMITS);
        (timed, theirs, connection)
    }

    /// Reads until nothing comes any more; returns how long that took, and what ended it.
    async fn wait(stream: &mut Timed<DuplexStream>) -> (u64, Option<io::ErrorKind>) {
        let begun = Instant::now();
        let error = stream.read_to_end(&mut Vec::new()).await.err();
        (begun.elapsed().as_secs(), error.map(|error| error.kind()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_the_connections_beginning() {
        let (mut stream, mut peer, _) = pair();
        tokio::spawn(async move {
            while peer.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(wait(&mut stream).await, (10, Some(io::ErrorKind::TimedOut)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_has_its_own_time_and_ends_cleanly() {
        let (mut stream, _peer, connection) = pair();
        for _ in 0..3 {
            drop(connection.serve());
            assert_eq!(wait(&mut stream).await, (75, None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_head_has_its_time_from_its_first_byte() {
        let (mut stream, mut peer, connection) = pair();
        drop(connection.serve());
        let writer = tokio::spawn(async move {
            sleep(Duration::from_mins(1)).await;
            peer.write_all(b"GET").await.unwrap();
            peer
        });
        assert_eq!(wait(&mut stream).await, (70, Some(io::ErrorKind::TimedOut)));
        drop(writer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_served_is_not_interrupted() {
        let (mut stream, _peer, connection) = pair();
        let serving = connection.serve();
        let read = timeout(Duration::from_mins(10), wait(&mut stream)).await;
        assert!(read.is_err());
        drop(serving);
        assert_eq!(wait(&mut stream).await, (75, None));
    }
}
