//! Objects that are read in whole: compared with what they should be, and streamed to another store.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::error::StoreError;
use crate::put::Put;
use crate::store::ObjectStore;
use crate::types::Download;

/// Media type of an object without one.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Shorter waits are added up.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);

/// Bytes that an object should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Bytes.
    pub size: u64,
    pub sha256: [u8; 32],
}

/// How an object differs from what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    Missing,
    /// It has this many bytes.
    Size(u64),
    Hash,
}

/// Outcome of reading an object to write it to another store.
#[derive(Debug)]
pub enum Transfer {
    /// All bytes are sent but the last: [`Put::finish`] makes the object.
    Ready {
        put: Put,
        /// Bytes.
        size: u64,
    },
    /// It is not what it should be, and nothing is written.
    Mismatch(Mismatch),
}

impl ObjectStore {
    /// Reads an object and compares it; `None` if it is as it should be.
    pub async fn compare(
        &self,
        key: &str,
        content: &Content,
        pace: Option<&Pace>,
    ) -> Result<Option<Mismatch>, StoreError> {
        let Some(download) = self.read(key, None).await? else {
            return Ok(Some(Mismatch::Missing));
        };
        if download.length != content.size {
            return Ok(Some(Mismatch::Size(download.length)));
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut chunks = Chunks::of(download);
        while let Some(chunk) = chunks.next().await? {
            hash.update(&chunk);
            if let Some(pace) = pace {
                pace.wait(chunk.len()).await;
            }
        }
        let is_same = hash.finish().as_ref() == content.sha256;
        Ok((!is_same).then_some(Mismatch::Hash))
    }

    /// Streams an object to another store, under the same key. If it is known what the object should be, another one is not
    /// written.
    pub async fn transfer(
        &self,
        key: &str,
        to: &Self,
        content: Option<&Content>,
    ) -> Result<Transfer, StoreError> {
        let Some(download) = self.read(key, None).await? else {
            return Ok(Transfer::Mismatch(Mismatch::Missing));
        };
        let size = download.length;
        if content.is_some_and(|content| content.size != size) {
            return Ok(Transfer::Mismatch(Mismatch::Size(size)));
        }
        let content_type = download.content_type.as_deref().unwrap_or(UNKNOWN_TYPE);
        let mut put = to.begin_put(key, size, content_type);
        let mut chunks = Chunks::of(download);
        while let Some(chunk) = chunks.next().await? {
            put.send(chunk).await?;
        }
        if let Some(content) = content
            && put.sha256()? != content.sha256
        {
            return Ok(Transfer::Mismatch(Mismatch::Hash));
        }
        Ok(Transfer::Ready { put, size })
    }
}

/// Body of an object. One that stands still is cut by the client, and one that is too short is an error.
struct Chunks(ByteStream);

impl Chunks {
    fn of(download: Download) -> Self {
        Self(ByteStream::new(download.body))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let chunk = self.0.next().await.transpose();
        chunk.map_err(|_| StoreError::Unavailable("the body was cut"))
    }
}

/// Limit of bytes per second, without a burst after idle time.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: u64,
    due: Mutex<Instant>,
}

impl Pace {
    /// # Panics
    /// If the rate is 0.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        assert!(bytes_per_second > 0, "nothing could be read");
        Self {
            bytes_per_second,
            due: Mutex::new(Instant::now()),
        }
    }

    /// Waits as long as so many bytes take.
    async fn wait(&self, bytes: usize) {
        let now = Instant::now();
        let due = {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second);
            let takes = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
            *due = (*due).max(now) + takes;
            *due
        };
        if due.duration_since(now) >= SHORTEST_WAIT {
            sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time_and_idle_time_is_no_credit() {
        let pace = Pace::new(1000);
        let began = Instant::now();
        for _ in 0..100 {
            pace.wait(100).await;
        }
        assert_eq!(began.elapsed().as_secs(), 10);
        tokio::time::advance(Duration::from_mins(1)).await;
        let began = Instant::now();
        pace.wait(2000).await;
        assert_eq!(began.elapsed().as_secs(), 2);
    }
}
