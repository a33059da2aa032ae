//! Accounts that an operator makes at the command line.

use super::error::Error;
use super::jobs::SendVerification;
use super::password::NewPassword;
use super::policy;
use crate::audit::{self, Entry, Event, Origin};
use crate::ids::UserId;
use crate::infra::begin;
use crate::jobs;
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

/// Makes the account; answers false, and changes nothing, when the address has one already.
pub async fn create_account(state: &AppState, account: OperatorAccount) -> Result<bool, Error> {
    let password = policy::admit(state, account.password, &account.email, "password").await?;
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
