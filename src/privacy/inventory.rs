//! Every column that the product writes, one line each. Tests compare it with the migrated database, with the declarations
//! of the jobs, and with the keys in Redis.

mod accounts;
mod billing;
mod content;
mod jobs;
mod people;
mod redis_keys;
mod requests;

use super::model::Store;

/// Tables, by the slice that owns them.
pub const TABLES: [&[Store]; 5] = [
    people::STORES,
    requests::STORES,
    accounts::STORES,
    content::STORES,
    billing::STORES,
];

/// Payloads of jobs. Jobs without a payload are not listed.
pub const JOBS: &[Store] = jobs::STORES;

/// Families of Redis keys, by their beginning.
pub const REDIS: &[Store] = redis_keys::STORES;
