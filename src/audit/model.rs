//! Events of the audit log.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Partitioned by month.
pub const TABLE: &str = "audit_log";

/// Name of an event. Names are stored and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Registered,
    /// Sign-up with the address of an existing account.
    RegisteredAgain,
    EmailVerified,
    SignedIn,
    SignInFailed,
    /// Lockout after failed attempts. `detail` has the counter and the seconds.
    SignInLocked,
    /// By the link in an email, or a CLI command.
    SignInUnlocked,
    SignedOut,
    SignedOutEverywhere,
    /// Everybody, by a CLI command.
    SignedOutEverybody,
    /// A refresh token was used again after its grace period; the session ended.
    RefreshTokenReused,
    /// By the link in an email.
    PasswordReset,
    PasswordChanged,
    ReauthenticationFailed,
    /// The new address waits to be confirmed.
    EmailChangeRequested,
    EmailChanged,
    /// By the link in the email to the old address.
    EmailChangeUndone,
    /// From another session of its owner.
    SessionEnded,
    ProfileChanged,
    /// An export of the personal data.
    ExportRequested,
    /// `detail` has its size.
    ExportDownloaded,
    /// `detail` has the versions by document.
    DocumentsAccepted,
    /// An optional kind was turned on or off. `detail` has it and the source.
    ConsentChanged,
    /// `detail` has the time at which the account is erased.
    AccountDeletionRequested,
    AccountDeletionCanceled,
    /// The account and its rows are deleted. `detail` is empty, as in all earlier entries of the user.
    AccountErased,
    /// By a CLI command. `detail` has the end, the reason and the name of the person.
    LegalHoldPlaced,
    /// By a CLI command, or at its end.
    LegalHoldReleased,
    /// A migration was recorded as applied and not run, since what it creates was created by hand. `detail` has its version.
    MigrationRecorded,
    AvatarChanged,
    AvatarRemoved,
    /// An unverified account was deleted: after its time, or because another account proved its address.
    UnverifiedPurged,
    /// By a CLI command.
    CreatedByOperator,
    /// The password was right; a second factor is required.
    SecondFactorAsked,
    SecondFactorFailed,
    /// An authenticator was added and waits to be confirmed.
    SecondFactorBegun,
    SecondFactorOn,
    SecondFactorOff,
    /// By a CLI command, which also ends all sessions.
    SecondFactorRemoved,
    RecoveryCodeUsed,
    RecoveryCodesRenewed,
    ApiKeyCreated,
    ApiKeyRotated,
    ApiKeyRevoked,
    /// Outside of its scopes.
    ApiKeyRefused,
    /// The password was right, but the account is disabled or not verified.
    SignInRefused,
    RoleChanged,
    AccountDisabled,
    AccountEnabled,
    SessionsEndedByAdmin,
    /// An administrator has read entries of all accounts. `detail` is the filter.
    AuditLogRead,
    /// An administrator has read organisations. `detail` is the filter, or the organisation.
    OrganisationsRead,
    /// `detail` has name and slug.
    OrganisationCreated,
    OrganisationChanged,
    /// `detail` has the time of the purge.
    OrganisationDeleted,
    OrganisationRestored,
    OrganisationPurged,
    MemberInvited,
    MemberJoined,
    InvitationRevoked,
    InvitationDeclined,
    /// `detail` has both roles.
    MemberRoleChanged,
    MemberRemoved,
    MemberLeft,
    OwnershipTransferred,
    /// `detail` has the plan and its interval.
    CheckoutStarted,
    /// A page of the payment provider was opened for the account.
    PortalOpened,
    SubscriptionCanceled,
    SubscriptionResumed,
    /// As read from the payment provider. `detail` has plan and status before and after.
    SubscriptionChanged,
    /// A second subscription was ended and refunded. `detail` has its id.
    DuplicateSubscriptionEnded,
    /// The account had more sessions than `SESSION_MAX_COUNT`.
    SessionDisplaced,
    /// `detail` has amount and currency.
    PaymentCreated,
    SecretCreated,
    SecretChanged,
    /// `detail` has the version that was restored.
    SecretRestored,
    /// Shown to a person.
    SecretRevealed,
    /// By the product's own code.
    SecretUsed,
    SecretDeleted,
    /// A stored value was changed, moved, or encrypted under a key that is gone. `detail` has table and column.
    DecryptionFailed,
    /// `detail` has its size and type.
    FileUploaded,
    /// Its bytes are kept for `FILE_RETENTION`.
    FileDeleted,
    /// An address is on the suppression list of emails. `detail` has the reason.
    EmailSuppressed,
    /// By a CLI command.
    EmailUnsuppressed,
    /// The virus scanner found something, and the bytes are removed. `detail` has the size and the signature.
    FileInfected,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use utoipa::PartialSchema as _;

    use super::*;

    #[test]
    fn an_event_is_read_by_the_name_it_is_stored_under() {
        let schema = serde_json::to_value(Event::schema()).expect("it is JSON");
        let names = schema["enum"].as_array().expect("it lists the names");
        assert!(names.len() > 20, "{schema}");
        for name in names {
            let event: Event = serde_json::from_value(name.clone()).expect("it is an event");
            assert_eq!(json!(event.to_string()), *name);
        }
    }
}
