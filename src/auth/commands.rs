//! What an operator does about accounts at the command line.

use serde_json::json;

use super::admin::announce_admin;
use super::credentials::check_new_password;
use super::credentials_change::begin_credentials_change;
use super::error::Error;
use super::password::NewPassword;
use super::registration::SendVerification;
use super::second_factor_gate;
use super::sessions::{EndReason, end_sessions};
use crate::audit::{self, Entry, Event, Origin};
use crate::ids::UserId;
use crate::infra::begin;
use crate::jobs;
use crate::mfa;
use crate::state::AppState;
use crate::users::{self, EmailAddress, NewUser, PersonName, Role};

/// An account to make.
#[derive(Debug)]
pub struct OperatorAccount {
    /// What to sign in with.
    pub email: EmailAddress,
    /// And the password for it.
    pub password: NewPassword,
    /// Given name.
    pub first_name: Option<PersonName>,
    /// Family name.
    pub last_name: Option<PersonName>,
    /// Take the address as verified; else a letter is sent.
    pub is_verified: bool,
    /// May look after other people's accounts.
    pub is_admin: bool,
}

/// Why an operator's wish is refused; each has an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// The address has an account.
    #[error("the address has an account already: `--promote` makes it an administrator's")]
    AccountExists,
    /// Whoever signed up with the address has not shown it to be theirs, and chose the password.
    #[error("the account's address is not verified, so it cannot be an administrator's")]
    NotVerified,
    /// The account is shut.
    #[error("the account is disabled, so it cannot be an administrator's")]
    Disabled,
    /// The address has no account.
    #[error("the address has no account")]
    NoAccount,
    /// There is nothing to remove.
    #[error("the account has no second factor")]
    NoSecondFactor,
    /// Redis is not in use, or does not respond.
    #[error(
        "attempts are not counted in Redis now, so that lockouts of other processes cannot be cleared: they end by themselves, or with their process"
    )]
    CountedPerProcess,
}

impl OperatorError {
    /// What the process ends with.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::AccountExists => 3,
            Self::NotVerified | Self::Disabled => 4,
            Self::NoAccount => 5,
            Self::NoSecondFactor => 6,
            Self::CountedPerProcess => 7,
        }
    }
}

/// Makes the account of this address an administrator's; answers false when it has none.
pub async fn promote_account(
    state: &AppState,
    email: &EmailAddress,
) -> Result<bool, Box<dyn std::error::Error>> {
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    let Some(id) = users::find_by_email(&mut *tx, email).await? else {
        return Ok(false);
    };
    let account = users::lock_account(&mut *tx, id).await?;
    if account.is_disabled() {
        return Err(OperatorError::Disabled.into());
    }
    if account.email_verified_at.is_none() {
        return Err(OperatorError::NotVerified.into());
    }
    if account.role != Role::Admin {
        let change = begin_credentials_change(&mut tx, id, None)
            .await?
            .ok_or(OperatorError::NoAccount)?;
        users::set_role(&mut *tx, &change, Role::Admin, now).await?;
        announce_admin(&mut tx, &change).await?;
        let origin = Origin::default();
        let mut entry = Entry::befell(Event::RoleChanged, Some(id), None, &origin);
        entry.detail = json!({ "from": account.role, "to": Role::Admin });
        audit::record(&mut *tx, entry, now, &state.rng).await?;
        tx.commit().await?;
    }
    Ok(true)
}

/// Takes the second factor away from the account of this address and ends its sessions, for an owner
/// who has neither the authenticator nor a recovery code any more. Who that is, the operator knows.
pub async fn remove_second_factor(
    state: &AppState,
    email: &EmailAddress,
) -> Result<(), Box<dyn std::error::Error>> {
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    let id = users::find_by_email(&mut *tx, email)
        .await?
        .ok_or(OperatorError::NoAccount)?;
    users::lock_account(&mut *tx, id).await?;
    let change = begin_credentials_change(&mut tx, id, None)
        .await?
        .ok_or(OperatorError::NoAccount)?;
    if !mfa::remove(&mut tx, &change).await? {
        return Err(OperatorError::NoSecondFactor.into());
    }
    let ended = end_sessions(&mut tx, &change, EndReason::EndedByAdmin, now).await?;
    let origin = Origin::default();
    let mut entry = Entry::befell(Event::SecondFactorRemoved, Some(id), None, &origin);
    entry.detail = json!({ "sessions": ended.len() });
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    second_factor_gate::forget(state, id).await;
    Ok(())
}

/// Makes the account; answers false, and changes nothing, when the address has one already.
pub async fn create_account(state: &AppState, account: OperatorAccount) -> Result<bool, Error> {
    let password = check_new_password(state, account.password, &account.email, "password").await?;
    let password_hash = state.hasher.hash(password).await?;
    let now = state.clock.now();
    let new = NewUser {
        id: UserId::new(now, &state.rng),
        email: account.email,
        password_hash,
        first_name: account.first_name,
        last_name: account.last_name,
    };
    let role = if account.is_admin {
        Role::Admin
    } else {
        Role::User
    };
    let mut tx = begin(&state.db).await?;
    let verified_at = account.is_verified.then_some(now);
    let Some(id) = users::create(&mut *tx, &new, role, verified_at, now).await? else {
        return Ok(false);
    };
    if account.is_admin {
        let change = begin_credentials_change(&mut tx, id, None)
            .await?
            .ok_or(sqlx::Error::RowNotFound)?;
        announce_admin(&mut tx, &change).await?;
    }
    if !account.is_verified {
        let job = SendVerification::to(new.email);
        jobs::enqueue(&mut *tx, &job, Some(&job.key())).await?;
    }
    let origin = Origin::default();
    let entry = Entry::befell(Event::CreatedByOperator, Some(id), None, &origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    Ok(true)
}
