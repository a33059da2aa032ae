//! Sealed columns: values encrypted under `ENCRYPTION_KEYS`, and their re-encryption after a key rotation. The list of
//! columns is in `model.rs`; slices seal and open values by it, so that no column is missing from the list.

mod error;
mod jobs;
mod model;
mod service;
mod store;

pub use error::{DecryptionError, ResealError};
pub use jobs::ResealColumns;
pub use model::{
    ColumnKeys, IDEMPOTENT_REPLIES, Progress, SEALED_COLUMNS, SECRET_VALUES, SealedColumn,
    TOTP_SECRETS, hash_uuids,
};
pub use service::{count_rows, keys_in_use, reseal, sample};
