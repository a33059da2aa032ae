//! Calls of the store.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Config;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::types::{ChecksumMode, CreateBucketConfiguration, MetadataDirective};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use crate::config::StorageConfig;
use crate::connect::{Clients, timeouts};
use crate::error::{Failed, StoreError};
use crate::metrics::{self, Operation, StoreRole};
use crate::types::{Download, Hashed, Listed, ListedPage, ObjectInfo, Presigned, Upload};

/// Content disposition of every object, for readers without a presigned URL.
pub(crate) const ATTACHMENT: &str = "attachment";

const BUCKET_BACKOFF: Duration = Duration::from_millis(500);

/// Client of one bucket; clones share its connections.
#[derive(Clone)]
pub struct ObjectStore(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    clients: Clients,
    role: StoreRole,
    /// Address of the bucket, without the key.
    address: String,
    pub(crate) bucket: String,
    region: String,
    pub(crate) timeout: Duration,
    is_failing: AtomicBool,
}

impl ObjectStore {
    /// Does not connect yet.
    #[must_use]
    pub fn new(config: &StorageConfig) -> Self {
        Self(Arc::new(Inner {
            clients: Clients::new(config),
            role: config.role,
            address: address(config),
            bucket: config.bucket.clone(),
            region: config.region.clone(),
            timeout: config.timeout,
            is_failing: AtomicBool::new(false),
        }))
    }

    /// True after a call to which the store did not respond as it should.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.0.is_failing.load(Ordering::Relaxed)
    }

    /// Address of the bucket, such as `https://s3.example.com/acme-files`; of AWS `s3://acme-files`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// URL that creates or replaces an object of exactly this size, type and hash.
    pub async fn presign_put(
        &self,
        key: &str,
        upload: Upload<'_>,
        expires_in: Duration,
    ) -> Result<Presigned, StoreError> {
        let size = i64::try_from(upload.size).map_err(|_| StoreError::Malformed("size"))?;
        let request = self.0.clients.public.put_object();
        let signed = request
            .bucket(&self.0.bucket)
            .key(key)
            .content_length(size)
            .content_type(upload.content_type)
            .checksum_sha256(BASE64_STANDARD.encode(upload.sha256))
            .presigned(presigning(expires_in)?);
        presigned(Box::pin(signed).await)
    }

    /// URL that reads an object, with these headers in the response.
    pub async fn presign_get(
        &self,
        key: &str,
        content_type: &str,
        disposition: &str,
        expires_in: Duration,
    ) -> Result<Presigned, StoreError> {
        let request = self.0.clients.public.get_object();
        let signed = request
            .bucket(&self.0.bucket)
            .key(key)
            .response_content_type(content_type)
            .response_content_disposition(disposition)
            .response_cache_control("private, no-store")
            .presigned(presigning(expires_in)?);
        presigned(Box::pin(signed).await)
    }

    /// Size and hash of an object.
    pub async fn find(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        let request = self.client().head_object();
        let call = request
            .bucket(&self.0.bucket)
            .key(key)
            .checksum_mode(ChecksumMode::Enabled)
            .send();
        let found = self.observe(Operation::Head, Box::pin(call)).await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(ObjectInfo {
            size: bytes(found.content_length())?,
            sha256: found.checksum_sha256().and_then(decode_sha256),
        }))
    }

    /// Reads an object, or a range as in the header `Range`: `bytes=0-99`.
    pub async fn read(
        &self,
        key: &str,
        range: Option<&str>,
    ) -> Result<Option<Download>, StoreError> {
        let request = self.client().get_object();
        let call = request
            .bucket(&self.0.bucket)
            .key(key)
            .set_range(range.map(str::to_owned))
            .send();
        let found = self.observe(Operation::Get, Box::pin(call)).await?;
        let Some(found) = found else { return Ok(None) };
        let length = bytes(found.content_length())?;
        metrics::count_read(length);
        Ok(Some(Download {
            length,
            content_type: found.content_type,
            content_range: found.content_range,
            body: found.body.into_inner(),
        }))
    }

    /// First bytes of an object that is not empty.
    pub async fn read_start(&self, key: &str, most: usize) -> Result<Option<Bytes>, StoreError> {
        let range = format!("bytes=0-{}", most.saturating_sub(1));
        let Some(download) = self.read(key, Some(&range)).await? else {
            return Ok(None);
        };
        let collected = aws_sdk_s3::primitives::ByteStream::new(download.body).collect();
        let collected = timeout(self.0.timeout, collected)
            .await
            .map_err(|_| StoreError::Unavailable("the body stands still"))?;
        let bytes = collected.map_err(|_| StoreError::Unavailable("the body was cut"))?;
        Ok(Some(bytes.into_bytes()))
    }

    /// Reads an object in whole for its hash and its first bytes.
    pub async fn hash(&self, key: &str, most: usize) -> Result<Option<Hashed>, StoreError> {
        let Some(download) = self.read(key, None).await? else {
            return Ok(None);
        };
        let mut body = aws_sdk_s3::primitives::ByteStream::new(download.body);
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut start = Vec::new();
        // A body that stands still is cut by the client.
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|_| StoreError::Unavailable("the body was cut"))?;
            digest.update(&chunk);
            let missing = most.saturating_sub(start.len()).min(chunk.len());
            start.extend_from_slice(&chunk[..missing]);
        }
        let sha256 = digest.finish().as_ref().try_into();
        Ok(Some(Hashed {
            sha256: sha256.map_err(|_| StoreError::Malformed("a hash"))?,
            start: start.into(),
        }))
    }

    /// Creates or replaces an object that is in memory.
    pub async fn put(&self, key: &str, content_type: &str, bytes: Bytes) -> Result<(), StoreError> {
        let request = self.client().put_object();
        let call = request
            .bucket(&self.0.bucket)
            .key(key)
            .content_type(content_type)
            .content_disposition(ATTACHMENT)
            .body(bytes.into())
            .send();
        let stored = self.observe(Operation::Put, Box::pin(call)).await?;
        stored.map(|_| ()).ok_or(StoreError::Malformed("a put"))
    }

    /// Copies an object within the bucket; false if there is none.
    pub async fn copy(&self, from: &str, to: &str, content_type: &str) -> Result<bool, StoreError> {
        let request = self.client().copy_object();
        let call = request
            .bucket(&self.0.bucket)
            .copy_source(format!("{}/{from}", self.0.bucket))
            .key(to)
            .metadata_directive(MetadataDirective::Replace)
            .content_type(content_type)
            .content_disposition(ATTACHMENT)
            .customize()
            .config_override(Config::builder().timeout_config(timeouts(self.0.timeout * 2)))
            .send();
        Ok(self
            .observe(Operation::Copy, Box::pin(call))
            .await?
            .is_some())
    }

    /// Deletes an object; without effect if there is none.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let request = self.client().delete_object();
        let call = request.bucket(&self.0.bucket).key(key).send();
        self.observe(Operation::Delete, Box::pin(call)).await?;
        Ok(())
    }

    /// Lists at most `most` objects with a prefix, after a key.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: u16,
    ) -> Result<ListedPage, StoreError> {
        let request = self.client().list_objects_v2();
        let call = request
            .bucket(&self.0.bucket)
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned))
            .max_keys(most.into())
            .send();
        let page = self.observe(Operation::List, Box::pin(call)).await?;
        let page = page.ok_or(StoreError::Malformed("a listing that is missing"))?;
        let is_last = !page.is_truncated().unwrap_or(false);
        let objects = page.contents.unwrap_or_default().into_iter();
        // Without one of them, an object that exists would count as missing.
        let objects = objects.map(|object| {
            Some(Listed {
                size: bytes(object.size).ok()?,
                etag: object.e_tag,
                key: object.key?,
                modified_at: object.last_modified?.try_into().ok()?,
            })
        });
        let objects: Option<Vec<_>> = objects.collect();
        let objects = objects.ok_or(StoreError::Malformed("an object of a listing"))?;
        if objects.is_empty() && !is_last {
            return Err(StoreError::Malformed("a page without objects"));
        }
        let next = objects.last().filter(|_| !is_last);
        Ok(ListedPage {
            next: next.map(|last| last.key.clone()),
            objects,
        })
    }

    /// Creates the bucket unless it exists; true if it did not. Waits for a store that does not respond yet.
    pub async fn ensure_bucket(&self, wait: Duration) -> Result<bool, StoreError> {
        let began = Instant::now();
        loop {
            match self.try_ensure_bucket().await {
                Err(StoreError::Unavailable(_)) if began.elapsed() < wait => {
                    tokio::time::sleep(BUCKET_BACKOFF).await;
                }
                result => return result,
            }
        }
    }

    async fn try_ensure_bucket(&self) -> Result<bool, StoreError> {
        match self.list("", None, 1).await {
            Err(StoreError::Refused { status: 404, .. }) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(false),
        }
        let region = self.0.region.as_str();
        // The one region that a request must not name.
        let location = (region != "us-east-1").then(|| {
            let builder = CreateBucketConfiguration::builder();
            builder.location_constraint(region.into()).build()
        });
        let request = self.client().create_bucket();
        let call = request
            .bucket(&self.0.bucket)
            .set_create_bucket_configuration(location)
            .send();
        self.observe(Operation::CreateBucket, Box::pin(call))
            .await?;
        Ok(true)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.clients.inner
    }

    /// Records a call. `None` if there is no such object.
    async fn observe<T, E>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<Option<T>, StoreError>
    where
        Failed: From<E>,
    {
        let began = Instant::now();
        let result = match call.await {
            Ok(value) => Ok(Some(value)),
            Err(error) => match Failed::from(error) {
                Failed::Missing => Ok(None),
                Failed::Error(error) => Err(error),
            },
        };
        self.record(operation, began, &result);
        result
    }

    pub(crate) fn record<T>(
        &self,
        operation: Operation,
        began: Instant,
        result: &Result<Option<T>, StoreError>,
    ) {
        let outcome = match result {
            Ok(Some(_)) => "ok",
            Ok(None) => "missing",
            Err(StoreError::Refused { .. }) => "refused",
            Err(StoreError::Unavailable(_)) => "unavailable",
            Err(StoreError::Untrusted) => "untrusted",
            Err(StoreError::Malformed(_)) => "malformed",
        };
        metrics::observe_call(self.0.role, operation, outcome, began.elapsed());
        self.0.is_failing.store(result.is_err(), Ordering::Relaxed);
    }
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStore").finish_non_exhaustive()
    }
}

fn address(config: &StorageConfig) -> String {
    match &config.endpoint {
        Some(endpoint) => {
            let endpoint = endpoint.as_str().trim_end_matches('/');
            format!("{endpoint}/{}", config.bucket)
        }
        None => format!("s3://{}", config.bucket),
    }
}

fn presigning(expires_in: Duration) -> Result<PresigningConfig, StoreError> {
    PresigningConfig::expires_in(expires_in)
        .map_err(|_| StoreError::Malformed("the lifetime of a URL"))
}

fn presigned<E>(signed: Result<PresignedRequest, E>) -> Result<Presigned, StoreError>
where
    Failed: From<E>,
{
    let signed = signed.map_err(|error| match Failed::from(error) {
        Failed::Missing => StoreError::Malformed("a signature"),
        Failed::Error(error) => error,
    })?;
    let headers = signed.headers();
    Ok(Presigned {
        url: signed.uri().to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
    })
}

fn bytes(length: Option<i64>) -> Result<u64, StoreError> {
    let length = length.and_then(|length| u64::try_from(length).ok());
    length.ok_or(StoreError::Malformed("an object without a length"))
}

fn decode_sha256(text: &str) -> Option<[u8; 32]> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}
