//! Version of an account's credentials.

use serde::{Deserialize, Serialize};

use crate::ids::UserId;

/// Advanced by everything that changes or defends an account's credentials: what was issued or proved under an
/// earlier version is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct CredentialsVersion(pub i32);

/// Proof that the account's row is locked and its version advanced. Statements that write credentials take one, so
/// that no code path forgets it; `auth::begin_credentials_change` is the only constructor.
#[derive(Debug)]
pub struct CredentialsChange {
    user_id: UserId,
}

impl CredentialsChange {
    pub(super) fn of(user_id: UserId) -> Self {
        Self { user_id }
    }

    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.user_id
    }
}
