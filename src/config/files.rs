//! Files of accounts.

use std::time::Duration;

use file_types::FileType;
use settings::{List, Mebibytes, Setting};

settings::settings! {
    /// Files of accounts.
    pub struct FilesConfig {}
    "Files", FileSettings {
        /// Media types that files may have, by their first bytes. Types with active content, such as HTML and SVG, cannot
        /// be allowed.
        FILE_TYPES => types: List<FileType> = "image/png,image/jpeg,image/webp,image/gif,application/pdf,text/plain,text/csv,application/zip";
        /// How files are downloaded: `store` redirects to a URL of the store that is valid for 5 minutes, `service` sends the
        /// bytes, where clients cannot reach the store.
        FILE_DOWNLOADS => downloads: Downloads = "store";
        /// How long the bytes of a deleted file are kept, out of reach, so that a restored database finds them.
        FILE_RETENTION => retention: Duration = "30d", within("1d"..="365d");
        /// Every file is compared with its object, by size and SHA-256, within this time: a share of them each day.
        FILE_VERIFY_WITHIN => verify_within: Duration = "30d", within("1d"..="365d");
        /// MiB a second that this comparison reads at most.
        FILE_VERIFY_RATE_MIB => verify_rate: Mebibytes<u64> = 16, within(1..=10000);
    }
}

/// How files are downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downloads {
    /// By a redirect to the store.
    Store,
    /// Through the service.
    Service,
}

impl Setting for Downloads {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "store" => Ok(Self::Store),
            "service" => Ok(Self::Service),
            _ => Err("must be store or service".to_owned()),
        }
    }
}

/// Files that a plan includes.
#[derive(Clone, Copy, Debug)]
pub struct FileLimits {
    /// Bytes of one.
    pub size: u64,
    /// `None` is unlimited.
    pub count: Option<u32>,
    /// Bytes of all; `None` is unlimited.
    pub bytes: Option<u64>,
}
