//! The command that creates the bucket.

use std::error::Error;
use std::time::Duration;

use object_store::{ObjectStore, StorageConfig};

/// For a store that starts beside this process.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Creates the bucket unless it exists, and returns a sentence.
pub async fn create_bucket(config: Option<StorageConfig>) -> Result<&'static str, Box<dyn Error>> {
    let config = config.ok_or("STORAGE_BUCKET is not set")?;
    let is_created = ObjectStore::new(&config).ensure_bucket(TIMEOUT).await?;
    Ok(if is_created {
        "the bucket is created"
    } else {
        "the bucket exists"
    })
}
