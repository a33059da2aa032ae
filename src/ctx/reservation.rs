//! Reservation of an idempotency key, set by the middleware of `src/idempotency/`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::Extensions;
use uuid::Uuid;

use crate::ids::{AccountId, UserId};

/// Key of a row of `idempotency_keys`. Of the client's key only the SHA-256 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedKey {
    pub account_id: AccountId,
    pub user_id: UserId,
    pub hash: [u8; 32],
}

/// A key that one request has reserved; clones share it.
#[derive(Clone, Debug)]
pub struct Reservation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    key: ReservedKey,
    holder: Uuid,
    is_stored: AtomicBool,
}

impl Reservation {
    #[must_use]
    pub fn new(key: ReservedKey, holder: Uuid) -> Self {
        Self(Arc::new(Inner {
            key,
            holder,
            is_stored: AtomicBool::new(false),
        }))
    }

    #[must_use]
    pub fn key(&self) -> ReservedKey {
        self.0.key
    }

    /// Id of this attempt: a request that takes the key over has another.
    #[must_use]
    pub fn holder(&self) -> Uuid {
        self.0.holder
    }

    /// Returns whether the reply is committed.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.0.is_stored.load(Ordering::Relaxed)
    }

    pub fn set_stored(&self) {
        self.0.is_stored.store(true, Ordering::Relaxed);
    }

    /// Passes the reservation to the handler's context.
    pub fn enter(&self, extensions: &mut Extensions) {
        extensions.insert(self.clone());
    }

    pub(super) fn find(extensions: &Extensions) -> Option<Self> {
        extensions.get().cloned()
    }
}
