//! An entry of the audit log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The log's table, by month.
pub const TABLE: &str = "audit_log";

/// What happened. The names are stored and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody signed up.
    Registered,
    /// Somebody signed up with the address of an account that exists.
    RegisteredAgain,
    /// The owner of an address followed the link in the letter.
    EmailVerified,
    /// A password was right and a session began.
    SignedIn,
    /// A password was wrong, or there is no account to have one.
    SignInFailed,
    /// Too many passwords were wrong: the next attempt has to wait. `detail` says whose and for how long.
    SignInLocked,
    /// A lockout was cleared: by the link in an email, or at the command line.
    SignInUnlocked,
    /// A session was ended by its owner.
    SignedOut,
    /// All sessions were ended by their owner.
    SignedOutEverywhere,
    /// A refresh token was used again after its grace: the session was ended.
    RefreshTokenReused,
    /// A new password was set by the link in a letter.
    PasswordReset,
    /// A new password was set by whoever knew the old one.
    PasswordChanged,
    /// Somebody signed in gave a wrong password where it was asked for again.
    ReauthenticationFailed,
    /// A new address was named, and waits to be confirmed.
    EmailChangeRequested,
    /// A new address was confirmed.
    EmailChanged,
    /// The owner of the address before undid a change of it, by the link in an email.
    EmailChangeUndone,
    /// A session was ended from another one.
    SessionEnded,
    /// The profile was changed.
    ProfileChanged,
    /// An account was deleted that nobody ever confirmed: in time, or before another account proved its address.
    UnverifiedPurged,
    /// An account was made at the command line.
    CreatedByOperator,
    /// A password was right, and the account asks for a second factor.
    SecondFactorAsked,
    /// A code of a second factor was wrong, or used before.
    SecondFactorFailed,
    /// An authenticator was added, and waits to be confirmed.
    SecondFactorBegun,
    /// A second factor was turned on.
    SecondFactorOn,
    /// A second factor was turned off.
    SecondFactorOff,
    /// An operator took a second factor away at the command line, and ended all sessions.
    SecondFactorRemoved,
    /// A recovery code was used instead of a code.
    RecoveryCodeUsed,
    /// The recovery codes were replaced.
    RecoveryCodesRenewed,
    /// An API key was made.
    ApiKeyCreated,
    /// An API key was given another secret.
    ApiKeyRotated,
    /// An API key was revoked.
    ApiKeyRevoked,
    /// An API key was used for what its scopes do not allow.
    ApiKeyRefused,
    /// A password was right, but the account is shut, or its address not verified.
    SignInRefused,
    /// An administrator, or an operator at the command line, gave an account another role.
    RoleChanged,
    /// An administrator shut an account.
    AccountDisabled,
    /// An administrator opened an account again.
    AccountEnabled,
    /// An administrator ended all sessions of an account.
    SessionsEndedByAdmin,
    /// A session ended since its account began more than it may have (`SESSION_MAX_COUNT`).
    SessionDisplaced,
}

impl Event {
    /// The stored name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::RegisteredAgain => "registered_again",
            Self::EmailVerified => "email_verified",
            Self::SignedIn => "signed_in",
            Self::SignInFailed => "sign_in_failed",
            Self::SignInLocked => "sign_in_locked",
            Self::SignInUnlocked => "sign_in_unlocked",
            Self::SignedOut => "signed_out",
            Self::SignedOutEverywhere => "signed_out_everywhere",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::ReauthenticationFailed => "reauthentication_failed",
            Self::EmailChangeRequested => "email_change_requested",
            Self::EmailChanged => "email_changed",
            Self::EmailChangeUndone => "email_change_undone",
            Self::SessionEnded => "session_ended",
            Self::ProfileChanged => "profile_changed",
            Self::UnverifiedPurged => "unverified_purged",
            Self::CreatedByOperator => "created_by_operator",
            Self::SecondFactorAsked => "second_factor_asked",
            Self::SecondFactorFailed => "second_factor_failed",
            Self::SecondFactorBegun => "second_factor_begun",
            Self::SecondFactorOn => "second_factor_on",
            Self::SecondFactorOff => "second_factor_off",
            Self::SecondFactorRemoved => "second_factor_removed",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::RecoveryCodesRenewed => "recovery_codes_renewed",
            Self::ApiKeyCreated => "api_key_created",
            Self::ApiKeyRotated => "api_key_rotated",
            Self::ApiKeyRevoked => "api_key_revoked",
            Self::ApiKeyRefused => "api_key_refused",
            Self::SignInRefused => "sign_in_refused",
            Self::RoleChanged => "role_changed",
            Self::AccountDisabled => "account_disabled",
            Self::AccountEnabled => "account_enabled",
            Self::SessionsEndedByAdmin => "sessions_ended_by_admin",
            Self::SessionDisplaced => "session_displaced",
        }
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
            assert_eq!(json!(event.as_str()), *name);
        }
    }
}
