//! Requests to delete an account, and their states.

use chrono::{DateTime, Utc};
use crypto::TriedPassword;
use email_transport::EmailAddress;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{AccountId, UserId};
use crate::mfa::{RecoveryCode, TotpCode};
use crate::users::{Account, Role};

/// Request to delete the account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountDeletion {
    /// The account's password.
    pub(super) password: TriedPassword,
    /// Code of the authenticator app. This or a recovery code is required if the account has a second factor.
    #[serde(default)]
    pub(super) code: Option<TotpCode>,
    /// One of the account's recovery codes.
    #[serde(default)]
    pub(super) recovery_code: Option<RecoveryCode>,
}

/// Request to cancel the deletion of an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeletionCancellation {
    /// The account's address.
    pub(super) email: EmailAddress,
    /// The account's password.
    pub(super) password: TriedPassword,
    /// Code of the authenticator app. This or a recovery code is required if the account has a second factor.
    #[serde(default)]
    pub(super) code: Option<TotpCode>,
    /// One of the account's recovery codes.
    #[serde(default)]
    pub(super) recovery_code: Option<RecoveryCode>,
}

/// Deletion of an account that can be canceled.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct PendingDeletion {
    /// When the account is erased. Until then it can be canceled.
    pub(super) erase_at: DateTime<Utc>,
}

/// Why an erasure has to wait. It is tried again every hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Deferral {
    LegalHold,
    /// There is no other administrator.
    LastAdmin,
    /// An organisation has no other owner.
    LastOwner,
    PaymentInProgress,
    PaymentDisputed,
}

impl Deferral {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LegalHold => "legal_hold",
            Self::LastAdmin => "last_admin",
            Self::LastOwner => "last_owner",
            Self::PaymentInProgress => "payment_in_progress",
            Self::PaymentDisputed => "payment_disputed",
        }
    }
}

/// Row of `account_deletions`.
#[derive(Clone, Debug)]
pub(in crate::privacy) struct Deletion {
    pub(in crate::privacy) user_id: UserId,
    pub(in crate::privacy) requested_at: DateTime<Utc>,
    pub(in crate::privacy) erase_at: DateTime<Utc>,
    pub(in crate::privacy) deferred_reason: Option<Deferral>,
    pub(in crate::privacy) started_at: Option<DateTime<Utc>>,
    pub(super) stripe_customer_id: Option<String>,
    pub(super) books_id: AccountId,
    pub(in crate::privacy) erased_at: Option<DateTime<Utc>>,
    pub(super) email: Option<String>,
    pub(super) is_notified: bool,
}

/// Deletion that begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewDeletion {
    pub(super) user_id: UserId,
    pub(super) erase_at: DateTime<Utc>,
    /// Random, so that the books lead to nobody.
    pub(super) books_id: AccountId,
    pub(super) is_notified: bool,
}

/// Returns whether nobody else administers the service.
pub(super) fn is_last_admin(account: &Account, admins: &[UserId]) -> bool {
    let is_admin = account.role == Role::Admin && !account.is_disabled();
    is_admin && admins.iter().all(|id| *id == account.id)
}

/// Subject of an email about a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeletionEvent {
    Requested,
    /// Days before the end.
    Reminder,
    Canceled,
    Erased,
}

impl DeletionEvent {
    /// Name in the template.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Reminder => "reminder",
            Self::Canceled => "canceled",
            Self::Erased => "erased",
        }
    }
}
