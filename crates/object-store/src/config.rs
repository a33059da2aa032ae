//! Settings of the store.

use std::time::Duration;

use secrecy::SecretString;
use settings::{OneLine, Setting, WebUrl};
use url::{Host, Url};

use crate::metrics::StoreRole;

settings::settings! {
    "Object storage": "Without `STORAGE_BUCKET` there are no files: their routes respond 503 `storage_not_configured`, and all else works. [files.md](files.md) says what the bucket needs.", StorageSettings {
        /// Private bucket of the service.
        STORAGE_BUCKET => bucket: Option<BucketName>;
        /// Address of the S3 API of a store other than AWS, as this service reaches it.
        STORAGE_ENDPOINT => endpoint: Option<WebUrl>;
        /// The same as clients reach it, for uploads and downloads straight to the store. By default `STORAGE_ENDPOINT`.
        STORAGE_PUBLIC_ENDPOINT => public_endpoint: Option<WebUrl>, production(is_safe, "must be `https`, except on this machine");
        /// Region of the bucket. Stores other than AWS mostly accept any.
        STORAGE_REGION => region: RegionName = "us-east-1";
        /// Access key. Without one the role of the machine in AWS is used.
        STORAGE_ACCESS_KEY_ID => access_key_id: Option<OneLine<128>>;
        /// Its secret.
        STORAGE_SECRET_ACCESS_KEY => secret_access_key: Option<SecretKey>, secret;
        /// For one call with its retry. A copy within the store may take twice as long.
        STORAGE_TIMEOUT => timeout: Duration = "4s", within("1s"..="30s");
    }
}

settings::settings! {
    "Copy of the object store": "A second place for the objects, which the job `storage.copy` fills daily. Without `STORAGE_COPY_BUCKET` there is no copy. [backups.md](backups.md#files) says what it needs.", CopySettings {
        /// Private bucket of the copy, in another place than `STORAGE_BUCKET`, used by nothing else.
        STORAGE_COPY_BUCKET => bucket: Option<BucketName>;
        /// Address of its S3 API, of a store other than AWS.
        STORAGE_COPY_ENDPOINT => endpoint: Option<WebUrl>, production(is_safe, "must be `https`, except on this machine");
        /// Region of the bucket.
        STORAGE_COPY_REGION => region: RegionName = "us-east-1";
        /// Access key, another one than that of `STORAGE_BUCKET`. Without one the role of the machine in AWS is used.
        STORAGE_COPY_ACCESS_KEY_ID => access_key_id: Option<OneLine<128>>;
        /// Its secret.
        STORAGE_COPY_SECRET_ACCESS_KEY => secret_access_key: Option<SecretKey>, secret;
        /// How long the copy keeps objects after they were deleted or replaced.
        STORAGE_COPY_RETENTION => retention: Duration = "30d", within("1d"..="365d");
    }
}

/// A bucket and the way to it.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// Which of the stores it is, for metrics.
    pub role: StoreRole,
    pub bucket: String,
    /// `None` is AWS.
    pub endpoint: Option<Url>,
    pub public_endpoint: Option<Url>,
    pub region: String,
    /// `None` is the role of the machine in AWS.
    pub access_key: Option<AccessKey>,
    /// For one call with its retry.
    pub timeout: Duration,
}

/// The second place of the objects.
#[derive(Clone, Debug)]
pub struct CopyConfig {
    pub store: StorageConfig,
    /// How long objects are kept that were deleted or replaced.
    pub retention: Duration,
}

#[derive(Clone, Debug)]
pub struct AccessKey {
    pub id: String,
    pub secret: SecretString,
}

/// Returns whether an optional setting is valid and has a value.
const fn is_set<T>(setting: Option<&Option<T>>) -> bool {
    matches!(setting, Some(Some(_)))
}

impl StorageSettings {
    /// `Some(None)` without a bucket.
    pub fn into_config(self) -> Option<Option<StorageConfig>> {
        let (endpoint, public_endpoint) = (self.endpoint?, self.public_endpoint?);
        let access_key = self.access_key_id?.zip(self.secret_access_key?);
        let (region, timeout) = (self.region?, self.timeout?);
        Some(self.bucket?.map(|bucket| StorageConfig {
            role: StoreRole::Primary,
            bucket,
            endpoint,
            public_endpoint,
            region,
            access_key: access_key.map(|(id, secret)| AccessKey { id, secret }),
            timeout,
        }))
    }

    /// Returns whether only one of the two parts of the access key is set.
    #[must_use]
    pub fn has_half_a_key(&self) -> bool {
        is_set(self.access_key_id.as_ref()) != is_set(self.secret_access_key.as_ref())
    }

    /// Returns whether settings of a store are set without a bucket.
    #[must_use]
    pub fn lacks_bucket(&self) -> bool {
        let has_endpoint = is_set(self.endpoint.as_ref()) || is_set(self.public_endpoint.as_ref());
        matches!(self.bucket, Some(None)) && (has_endpoint || is_set(self.access_key_id.as_ref()))
    }

    /// Returns whether presigned URLs would be sent in plain text: they permit what they are signed for.
    #[must_use]
    pub fn exposes_urls(&self) -> bool {
        let (Some(Some(endpoint)), Some(None)) = (&self.endpoint, &self.public_endpoint) else {
            return false;
        };
        !is_safe(endpoint)
    }
}

impl CopySettings {
    /// `Some(None)` without a bucket. `timeout` is that of the calls.
    pub fn into_config(self, timeout: Duration) -> Option<Option<CopyConfig>> {
        let access_key = self.access_key_id?.zip(self.secret_access_key?);
        let (endpoint, region, retention) = (self.endpoint?, self.region?, self.retention?);
        Some(self.bucket?.map(|bucket| CopyConfig {
            store: StorageConfig {
                role: StoreRole::Copy,
                bucket,
                endpoint,
                public_endpoint: None,
                region,
                access_key: access_key.map(|(id, secret)| AccessKey { id, secret }),
                timeout,
            },
            retention,
        }))
    }

    /// Returns whether only one of the two parts of the access key is set.
    #[must_use]
    pub fn has_half_a_key(&self) -> bool {
        is_set(self.access_key_id.as_ref()) != is_set(self.secret_access_key.as_ref())
    }

    /// Returns whether settings of the copy are set without a bucket.
    #[must_use]
    pub fn lacks_bucket(&self) -> bool {
        let has_any = is_set(self.endpoint.as_ref()) || is_set(self.access_key_id.as_ref());
        matches!(self.bucket, Some(None)) && has_any
    }

    /// Returns whether there is a copy and no store.
    #[must_use]
    pub const fn lacks_original(&self, original: &StorageSettings) -> bool {
        matches!(self.bucket, Some(Some(_))) && matches!(original.bucket, Some(None))
    }

    /// Returns whether the copy is in the bucket that it is of.
    #[must_use]
    pub fn is_original(&self, original: &StorageSettings) -> bool {
        matches!(self.bucket, Some(Some(_)))
            && self.bucket == original.bucket
            && self.endpoint == original.endpoint
    }
}

fn is_safe(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || is_loopback
}

/// Name of a bucket, without dots: certificates of virtual hosts do not cover them.
#[derive(Debug)]
pub struct BucketName;

impl Setting for BucketName {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = (3..=63).contains(&text.len())
            && text.bytes().all(|byte| is_plain(byte) || byte == b'-')
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric());
        fits.then(|| text.to_owned())
            .ok_or_else(|| "must be 3 to 63 of a-z, 0-9 and hyphens, such as acme-files".to_owned())
    }
}

/// Name of a region.
#[derive(Debug)]
pub struct RegionName;

impl Setting for RegionName {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(is_plain);
        fits.then(|| text.to_owned())
            .ok_or_else(|| "must be the name of a region, such as eu-central-1".to_owned())
    }
}

/// Secret of an access key.
#[derive(Debug)]
pub struct SecretKey;

impl Setting for SecretKey {
    type Value = SecretString;

    fn parse(text: &str) -> Result<SecretString, String> {
        let fits =
            (8..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| text.into()).ok_or_else(|| {
            "must be the secret of an access key: 8 to 256 printable characters".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_buckets_fit_a_host_name() {
        for good in ["acme-files", "a1b", &"x".repeat(63)] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Acme",
            "a.b.c",
            "-acme",
            "acme-",
            "a/b",
            "../x",
            &"x".repeat(64),
        ] {
            assert!(BucketName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        let is_safe = |url: &str| super::is_safe(&url.parse().expect("it is a URL"));
        assert!(is_safe("https://s3.example.com") && is_safe("http://127.0.0.1:9000"));
        assert!(!is_safe("http://storage:9000"));
    }
}
