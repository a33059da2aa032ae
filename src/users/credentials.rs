//! The version of an account's credentials, and the proof that a transaction has advanced it.

use serde::{Deserialize, Serialize};

use crate::ids::UserId;

/// The version of an account's credentials. Everything that changes or defends them advances it, and
/// whatever was issued or proved under an earlier version is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct CredentialsVersion(pub i32);

/// A change of an account's credentials in progress: the account's row is locked and its version is
/// advanced. Statements that write credentials take one, so that no path can forget to advance it;
/// `auth::begin_credentials_change` is the only way to get one.
#[derive(Debug)]
pub struct CredentialsChange {
    user_id: UserId,
}

impl CredentialsChange {
    pub(super) fn of(user_id: UserId) -> Self {
        Self { user_id }
    }

    /// The account.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.user_id
    }
}
