//! CLI commands on accounts.

use crypto::NewPassword;
use email_transport::EmailAddress;
use serde_json::json;

use super::admin::announce_admin;
use super::credentials::check_new_password;
use super::credentials_change::begin_credentials_change;
use super::error::Error;
use super::middleware;
use super::registration::SendVerification;
use super::sessions::{EndReason, end_all, end_sessions};
use crate::audit::Event;
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::mfa::{self, FactorEvent};
use crate::users::{self, NewUser, PersonName, Role};

#[derive(Debug)]
pub struct CreateAccount {
    pub email: EmailAddress,
    pub password: NewPassword,
    pub first_name: Option<PersonName>,
    pub last_name: Option<PersonName>,
    /// Takes the address as verified; otherwise an email with a link is sent.
    pub is_verified: bool,
    pub is_admin: bool,
}

/// Each has an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("the address has an account already: `--promote` makes it an administrator's")]
    AccountExists,
    /// A stranger may have signed up with the address and chosen the password.
    #[error("the account's address is not verified, so it cannot be an administrator's")]
    NotVerified,
    #[error("the account is disabled, so it cannot be an administrator's")]
    Disabled,
    #[error("the address has no account")]
    NoAccount,
    #[error("the account has no second factor")]
    NoSecondFactor,
    /// Redis is not in use, or does not respond.
    #[error(
        "attempts are not counted in Redis now, so that lockouts of other processes cannot be cleared: they end by themselves, or with their process"
    )]
    CountedPerProcess,
}

impl CommandError {
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

/// Ends the sessions of everybody; returns how many. Takes as long as a request may.
pub async fn sign_out_everybody(ctx: &Ctx) -> Result<String, Box<dyn std::error::Error>> {
    Ok(end_all(ctx).await?.to_string())
}

/// Grants the role; false when the address has no account.
pub async fn promote_account(
    ctx: &Ctx,
    email: &EmailAddress,
) -> Result<bool, Box<dyn std::error::Error>> {
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    let Some(found) = users::find_credentials(&mut *tx, email).await? else {
        return Ok(false);
    };
    let id = found.user_id;
    let (account, _) = users::lock_account_and_admins(&mut *tx, id).await?;
    if account.is_disabled() {
        return Err(CommandError::Disabled.into());
    }
    if account.email_verified_at.is_none() {
        return Err(CommandError::NotVerified.into());
    }
    if account.role != Role::Admin {
        let change = begin_credentials_change(&mut tx, id, None)
            .await?
            .ok_or(CommandError::NoAccount)?;
        users::set_role(&mut *tx, &change, Role::Admin, now).await?;
        announce_admin(&mut tx, &change).await?;
        let detail = json!({ "from": account.role, "to": Role::Admin });
        tx.audit(Event::RoleChanged.about(id).detail(detail))
            .await?;
        tx.commit().await?;
    }
    Ok(true)
}

/// For an owner who has lost authenticator and recovery codes, and whose identity was checked. Ends all sessions.
pub async fn remove_second_factor(
    ctx: &Ctx,
    email: &EmailAddress,
) -> Result<(), Box<dyn std::error::Error>> {
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    let found = users::find_credentials(&mut *tx, email).await?;
    let id = found.ok_or(CommandError::NoAccount)?.user_id;
    let change = begin_credentials_change(&mut tx, id, None)
        .await?
        .ok_or(CommandError::NoAccount)?;
    if !mfa::turn_off(&mut tx, &change, FactorEvent::Removed).await? {
        return Err(CommandError::NoSecondFactor.into());
    }
    let ended = end_sessions(&mut *tx, &change, None, EndReason::EndedByAdmin, now).await?;
    let detail = json!({ "sessions": ended.len() });
    tx.audit(Event::SecondFactorRemoved.about(id).detail(detail))
        .await?;
    tx.commit().await?;
    middleware::invalidate_second_factor(ctx, id).await;
    Ok(())
}

/// Creates the account that smoke checks sign in as, unless it exists.
pub async fn create_synthetic_account(
    ctx: &Ctx,
    password: NewPassword,
) -> Result<(), Box<dyn std::error::Error>> {
    let account = CreateAccount {
        email: users::SYNTHETIC_ADDRESS.to_owned().try_into()?,
        password,
        first_name: None,
        last_name: None,
        is_verified: true,
        is_admin: false,
    };
    create_account(ctx, account).await?;
    Ok(())
}

/// Returns false if the address has an account.
pub async fn create_account(ctx: &Ctx, account: CreateAccount) -> Result<bool, Error> {
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
    let Some(id) = users::insert(&mut *tx, &new, role, verified_at, now).await? else {
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
        job_queue::enqueue(&mut *tx, &job, Some(&job.key())).await?;
    }
    tx.audit(Event::CreatedByOperator.about(id)).await?;
    tx.commit().await?;
    Ok(true)
}
