//! Changes to an account by administrators, and statistics.

use crypto::TriedPassword;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use crate::auth::ReauthProof;
use crate::ids::UserId;
use crate::mfa::{RecoveryCode, TotpCode};
use crate::organisations::OrganisationSummary;
use crate::plans::Plan;
use crate::users::{Account, AccountCounts, DisabledReason, Role, SignUps};

/// Changes to an account, with reauthentication. Omitted fields stay unchanged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountPatch {
    /// The new role.
    #[serde(default)]
    #[schema(nullable = false)]
    role: Option<Role>,
    /// Whether the account is disabled. Disabling it ends its sessions at once.
    #[serde(default)]
    #[schema(nullable = false)]
    disabled: Option<bool>,
    /// Why it is disabled, visible only to administrators.
    #[serde(default)]
    #[schema(nullable = false)]
    reason: Option<DisabledReason>,
    /// Your own password. Required to change a role, to enable an account and to disable an administrator.
    #[serde(default)]
    password: Option<TriedPassword>,
    /// Code of your authenticator app. This or a recovery code is required with the password if you have a
    /// second factor.
    #[serde(default)]
    code: Option<TotpCode>,
    /// One of your recovery codes.
    #[serde(default)]
    recovery_code: Option<RecoveryCode>,
}

impl AccountPatch {
    /// Takes the proof of the administrator's identity out of the request.
    pub(super) fn take_proof(&mut self) -> Result<Option<ReauthProof>, Error> {
        let (code, recovery_code) = (self.code.take(), self.recovery_code.take());
        match self.password.take() {
            Some(password) => {
                let proof = ReauthProof::new("password", password, code, recovery_code)?;
                Ok(Some(proof))
            }
            None if code.is_some() || recovery_code.is_some() => Err(Error::PasswordRequired),
            None => Ok(None),
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.reason.is_some() && self.disabled != Some(true) {
            return Err(Error::ReasonWithoutDisabling);
        }
        if self.role.is_none() && self.disabled.is_none() {
            return Err(Error::NothingToChange);
        }
        Ok(())
    }

    /// `admins` are all enabled administrators.
    pub(super) fn resolve(
        self,
        before: &Account,
        actor: UserId,
        admins: &[UserId],
    ) -> Result<AccountUpdate, Error> {
        if !admins.contains(&actor) {
            return Err(Error::NoLongerAdmin);
        }
        let role = self.role.unwrap_or(before.role);
        let is_disabled = self.disabled.unwrap_or(before.is_disabled());
        let stays_admin = role == Role::Admin && !is_disabled;
        if admins == [before.id] && !stays_admin {
            return Err(Error::LastAdmin);
        }
        if self.disabled == Some(true) && before.id == actor {
            return Err(Error::OwnAccount);
        }
        if role == Role::Admin && before.role != Role::Admin {
            if is_disabled {
                return Err(Error::Disabled);
            }
            if before.email_verified_at.is_none() {
                return Err(Error::NotVerified);
            }
        }
        let status = match (before.is_disabled(), is_disabled) {
            (false, true) => Some(StatusChange::Disable(self.reason)),
            (true, true) if self.reason.is_some() && self.reason != before.disabled_reason => {
                Some(StatusChange::Disable(self.reason))
            }
            (true, false) => Some(StatusChange::Enable),
            (true, true) | (false, false) => None,
        };
        Ok(AccountUpdate {
            role: (role != before.role).then_some(role),
            status,
        })
    }
}

/// Difference between the requested and the current state of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AccountUpdate {
    pub(super) role: Option<Role>,
    pub(super) status: Option<StatusChange>,
}

impl AccountUpdate {
    /// Changing a role, enabling an account and disabling an administrator would serve an attacker with a stolen
    /// token. Disabling a user is a reversible defence, which moderators use many times a day.
    pub(super) fn needs_reauthentication(&self, before: &Account) -> bool {
        let is_admin = before.role == Role::Admin;
        let needs_reauthentication = match &self.status {
            Some(StatusChange::Enable) => true,
            Some(StatusChange::Disable(_)) => is_admin && !before.is_disabled(),
            None => false,
        };
        self.role.is_some() || needs_reauthentication
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StatusChange {
    /// Also for a new reason.
    Disable(Option<DisabledReason>),
    Enable,
}

/// An organisation with its plan.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OrganisationDetail {
    #[serde(flatten)]
    pub(super) organisation: OrganisationSummary,
    /// Plan that is in effect.
    pub(super) plan: Plan,
    /// Members that the plan includes; null is without limit.
    #[schema(example = 5)]
    pub(super) seats: Option<u32>,
}

/// Statistics about accounts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    /// Number of accounts by state.
    pub(super) accounts: AccountCounts,
    /// Sign-ups on each of the last 30 days in UTC, today last.
    pub(super) sign_ups: Vec<SignUps>,
    /// Number of active sessions.
    #[schema(example = 870)]
    pub(super) living_sessions: i64,
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    const NOW: DateTime<chrono::Utc> = DateTime::UNIX_EPOCH;
    const ADA: UserId = UserId(Uuid::from_u128(1));
    const BOB: UserId = UserId(Uuid::from_u128(2));
    const EVE: UserId = UserId(Uuid::from_u128(3));

    fn account(id: UserId, role: Role) -> Account {
        Account {
            id,
            email: "ada@example.com".to_owned().try_into().expect("it is good"),
            first_name: None,
            last_name: None,
            role,
            email_verified_at: Some(NOW),
            disabled_at: None,
            disabled_reason: None,
            created_at: NOW,
            updated_at: NOW,
        }
    }

    fn reason(text: &str) -> DisabledReason {
        text.to_owned().try_into().expect("it is good")
    }

    fn changes(json: &str) -> AccountPatch {
        serde_json::from_str(json).expect("it parses")
    }

    /// By ADA, where ADA and BOB are the administrators.
    fn resolve(json: &str, before: &Account) -> Result<AccountUpdate, Error> {
        changes(json).resolve(before, ADA, &[ADA, BOB])
    }

    #[test]
    fn only_what_differs_is_changed() {
        let eve = account(EVE, Role::User);
        let promoted = resolve(r#"{"role":"admin","disabled":false}"#, &eve).expect("it may be");
        assert_eq!((promoted.role, promoted.status), (Some(Role::Admin), None));
        let disabled = resolve(r#"{"disabled":true,"reason":"spam"}"#, &eve).expect("it may be");
        assert_eq!(
            disabled.status,
            Some(StatusChange::Disable(Some(reason("spam"))))
        );
        assert_eq!(
            resolve(r#"{"role":"user"}"#, &eve).expect("it may be"),
            AccountUpdate::default()
        );

        let mut gone = account(EVE, Role::User);
        (gone.disabled_at, gone.disabled_reason) = (Some(NOW), Some(reason("spam")));
        for same in [
            r#"{"disabled":true}"#,
            r#"{"disabled":true,"reason":"spam"}"#,
        ] {
            assert_eq!(
                resolve(same, &gone).expect("it may be"),
                AccountUpdate::default()
            );
        }
        let other = resolve(r#"{"disabled":true,"reason":"fraud"}"#, &gone).expect("it may be");
        assert_eq!(
            other.status,
            Some(StatusChange::Disable(Some(reason("fraud"))))
        );
        let enabled = resolve(r#"{"disabled":false}"#, &gone).expect("it may be");
        assert_eq!(enabled.status, Some(StatusChange::Enable));
    }

    #[test]
    fn an_administrator_is_left_whatever_is_asked() {
        let ada = account(ADA, Role::Admin);
        for json in [r#"{"role":"user"}"#, r#"{"disabled":true}"#] {
            let alone = changes(json).resolve(&ada, ADA, &[ADA]);
            assert!(matches!(alone, Err(Error::LastAdmin)), "{json}");
        }
        assert!(
            resolve(r#"{"role":"user"}"#, &ada).is_ok(),
            "there is another"
        );
        let own = resolve(r#"{"disabled":true}"#, &ada);
        assert!(matches!(own, Err(Error::OwnAccount)));
        let ousted = changes(r#"{"role":"user"}"#).resolve(&ada, BOB, &[ADA]);
        assert!(matches!(ousted, Err(Error::NoLongerAdmin)));
    }

    #[test]
    fn an_administrator_is_somebody_who_can_sign_in() {
        let mut eve = account(EVE, Role::User);
        eve.email_verified_at = None;
        let unverified = resolve(r#"{"role":"admin"}"#, &eve);
        assert!(matches!(unverified, Err(Error::NotVerified)));
        eve.email_verified_at = Some(NOW);
        eve.disabled_at = Some(NOW);
        let disabled = resolve(r#"{"role":"admin"}"#, &eve);
        assert!(matches!(disabled, Err(Error::Disabled)));
        assert!(resolve(r#"{"role":"admin","disabled":false}"#, &eve).is_ok());
    }

    #[test]
    fn what_gives_or_takes_power_needs_reauthentication_and_disabling_a_user_does_not() {
        let (user, admin) = (account(EVE, Role::User), account(BOB, Role::Admin));
        let mut gone = account(EVE, Role::User);
        gone.disabled_at = Some(NOW);
        for (json, before, needs) in [
            (r#"{"role":"admin"}"#, &user, true),
            (r#"{"role":"user"}"#, &admin, true),
            (r#"{"disabled":true}"#, &admin, true),
            (r#"{"disabled":false}"#, &gone, true),
            (r#"{"disabled":false,"role":"admin"}"#, &gone, true),
            (r#"{"disabled":true}"#, &user, false),
            (r#"{"disabled":true,"reason":"fraud"}"#, &gone, false),
            (r#"{"role":"user"}"#, &user, false),
        ] {
            let update = resolve(json, before).expect("it may be");
            assert_eq!(update.needs_reauthentication(before), needs, "{json}");
        }
    }

    #[test]
    fn contradictory_fields_are_rejected() {
        for json in [
            r#"{"reason":"spam"}"#,
            r#"{"disabled":false,"reason":"spam"}"#,
        ] {
            let check = changes(json).check();
            assert!(
                matches!(check, Err(Error::ReasonWithoutDisabling)),
                "{json}"
            );
        }
        assert!(matches!(changes("{}").check(), Err(Error::NothingToChange)));
        assert!(changes(r#"{"disabled":true}"#).check().is_ok());
    }
}
