//! Writes an object from chunks as they arrive.

use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_lc_rs::digest;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::connect::streaming;
use crate::error::{Failed, StoreError};
use crate::metrics::{self, Operation};
use crate::store::{ATTACHMENT, ObjectStore};
use crate::types::Body;

/// One call that creates or replaces an object of a known size. The last chunk is held back until [`Put::finish`]: dropped
/// before, it leaves no object. It is not repeated.
pub struct Put {
    store: ObjectStore,
    digest: digest::Context,
    held: Bytes,
    chunks: mpsc::Sender<Bytes>,
    /// Runs by itself, so that the connection is served while the next chunk is waited for.
    call: AbortOnDropHandle<Result<(), Failed>>,
    began: Instant,
    size: u64,
}

impl ObjectStore {
    /// Begins to write an object of `size` bytes.
    #[must_use]
    pub fn begin_put(&self, key: &str, size: u64, content_type: &str) -> Put {
        let (chunks, received) = mpsc::channel(1);
        let body = Chunks {
            received,
            left: size,
        };
        let request = self.client().put_object();
        let call = request
            .bucket(&self.0.bucket)
            .key(key)
            .set_content_length(i64::try_from(size).ok())
            .content_type(content_type)
            .content_disposition(ATTACHMENT)
            .body(ByteStream::new(Body::from_body_1_x(body)))
            .customize()
            .config_override(streaming())
            .send();
        let call = async { call.await.map(|_| ()).map_err(Failed::from) };
        Put {
            store: self.clone(),
            digest: digest::Context::new(&digest::SHA256),
            held: Bytes::new(),
            chunks,
            call: AbortOnDropHandle::new(tokio::spawn(call)),
            began: Instant::now(),
            size,
        }
    }
}

impl Put {
    /// Sends the next bytes. Fails if the store takes none for `STORAGE_TIMEOUT`.
    pub async fn send(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        // HTTP/2 ends a body with an empty frame. Held back, it would let the last bytes go.
        if chunk.is_empty() {
            return Ok(());
        }
        self.digest.update(&chunk);
        let last = mem::replace(&mut self.held, chunk);
        self.send_now(last).await
    }

    /// SHA-256 of the bytes so far.
    pub fn sha256(&self) -> Result<[u8; 32], StoreError> {
        let hash = self.digest.clone().finish();
        let hash = hash.as_ref().try_into();
        hash.map_err(|_| StoreError::Malformed("a hash"))
    }

    async fn send_now(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        if chunk.is_empty() {
            return Ok(());
        }
        let ended = match timeout(self.store.0.timeout, self.chunks.send(chunk)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) => self.response().await,
            Err(_) => Err(StoreError::Unavailable("the upload stands still")),
        };
        // A success before the last byte cannot be about the whole object.
        let ended = ended.and(Err(StoreError::Malformed("a response before the upload")));
        self.record(ended)
    }

    /// Sends the last chunk and waits for the response, for twice `STORAGE_TIMEOUT`.
    pub async fn finish(mut self) -> Result<(), StoreError> {
        let last = mem::take(&mut self.held);
        self.send_now(last).await?;
        let result = self.response().await;
        if result.is_ok() {
            metrics::count_written(self.size);
        }
        self.record(result)
    }

    async fn response(&mut self) -> Result<(), StoreError> {
        let response = timeout(self.store.0.timeout * 2, &mut self.call).await;
        match response {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(Failed::Error(error)))) => Err(error),
            // A PUT of an object finds all but the bucket.
            Ok(Ok(Err(Failed::Missing))) => Err(StoreError::Malformed("a bucket that is missing")),
            Ok(Err(_)) => Err(StoreError::Unavailable("no response")),
            Err(_) => Err(StoreError::Unavailable("no response in time")),
        }
    }

    fn record(&self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        let result = result.map(Some);
        self.store.record(Operation::Put, self.began, &result);
        result.map(|_| ())
    }
}

impl fmt::Debug for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put").finish_non_exhaustive()
    }
}

/// Body of the request. It fails if its sender is dropped before the last byte.
struct Chunks {
    received: mpsc::Receiver<Bytes>,
    left: u64,
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let Some(chunk) = ready!(self.received.poll_recv(cx)) else {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        };
        let left = self.left.checked_sub(chunk.len() as u64);
        self.left = left.ok_or(io::ErrorKind::InvalidInput)?;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
