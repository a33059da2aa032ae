//! Objects in one bucket of an S3-compatible store: AWS, R2, `RustFS`, `SeaweedFS`, Garage. Calls have a deadline and one
//! retry; presigned URLs name the address of the store as clients reach it.

mod config;
mod connect;
mod error;
pub mod metrics;
mod put;
mod store;
mod transfer;
mod types;

pub use config::{AccessKey, CopyConfig, CopySettings, StorageConfig, StorageSettings};
pub use error::StoreError;
pub use metrics::StoreRole;
pub use put::Put;
pub use store::ObjectStore;
pub use transfer::{Content, Mismatch, Pace, Transfer};
pub use types::{Body, Download, Hashed, Listed, ListedPage, ObjectInfo, Presigned, Upload};
