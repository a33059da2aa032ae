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
use crate::audit::Event;
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::jobs;
use crate::mfa;
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
        }
    }
}

/// Makes the account of this address an administrator's; answers false when it has none.
pub async fn promote_account(
    ctx: &Ctx,
    email: &EmailAddress,
) -> Result<bool, Box<dyn std::error::Error>> {
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
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
        let detail = json!({ "from": account.role, "to": Role::Admin });
        tx.audit(Event::RoleChanged.about(id).detail(detail))
            .await?;
        tx.commit().await?;
    }
    Ok(true)
}

/// Takes the second factor away from the account of this address and ends its sessions, for an owner
/// who has neither the authenticator nor a recovery code any more. Who that is, the operator knows.
pub async fn remove_second_factor(
    ctx: &Ctx,
    email: &EmailAddress,
) -> Result<(), Box<dyn std::error::Error>> {
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
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
    let ended = end_sessions(&mut *tx, &change, None, EndReason::EndedByAdmin, now).await?;
    let detail = json!({ "sessions": ended.len() });
    tx.audit(Event::SecondFactorRemoved.about(id).detail(detail))
        .await?;
    tx.commit().await?;
    second_factor_gate::forget(ctx, id).await;
    Ok(())
}

/// Makes the account; answers false, and changes nothing, when the address has one already.
pub async fn create_account(ctx: &Ctx, account: OperatorAccount) -> Result<bool, Error> {
    let password = check_new_password(ctx, account.password, &account.email, "password").await?;
    let password_hash = ctx.hasher.hash(password).await?;
    let now = ctx.now();
    let new = NewUser {
        id: UserId::new(now, &ctx.rng),
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
    let mut tx = ctx.begin().await?;
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
    tx.audit(Event::CreatedByOperator.about(id)).await?;
    tx.commit().await?;
    Ok(true)
}
