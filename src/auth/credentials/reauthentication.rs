//! Reauthentication (step-up) before credentials change: a session alone may be stolen, or left open on a
//! shared device.

use crypto::{PasswordForms, TriedPassword};
use http_toolkit::spend;
use rate_limit::{Key, Limit, LimitCheck};
use sqlx::PgConnection;

use crate::audit::Event;
use crate::auth::error::Error;
use crate::auth::sign_in::ReauthAttempt;
use crate::ctx::UserCtx;
use crate::ids::UserId;
use crate::mfa::{self, Proof, RecoveryCode, TotpCode};
use crate::users::{self, OwnCredentials};

/// The password and, where the account has one, the second factor. Request bodies spell its fields out:
/// `serde` neither rejects unknown fields beside a flattened struct nor says which field is wrong.
#[derive(Debug)]
pub struct ReauthProof {
    password: PasswordForms,
    /// Request field of the password.
    field: &'static str,
    second: Option<Proof>,
}

impl ReauthProof {
    /// At most one of the two codes.
    pub fn new(
        field: &'static str,
        password: TriedPassword,
        code: Option<TotpCode>,
        recovery_code: Option<RecoveryCode>,
    ) -> Result<Self, Error> {
        Ok(Self {
            password: password.into_secret(),
            field,
            second: Proof::at_most_one_of(code, recovery_code).map_err(mfa::Error::from)?,
        })
    }

    /// The password and exactly one of the two codes.
    pub(crate) fn of_both_factors(
        password: TriedPassword,
        code: Option<TotpCode>,
        recovery_code: Option<RecoveryCode>,
    ) -> Result<Self, Error> {
        Ok(Self {
            password: password.into_secret(),
            field: "password",
            second: Some(Proof::one_of(code, recovery_code).map_err(mfa::Error::from)?),
        })
    }
}

/// Verifies password and second factor. Uses up the code even if the change fails. The transaction of the change
/// must check the proved version: with [`recheck_proof`], or by beginning a change at that version.
pub async fn reauthenticate(ctx: &UserCtx, proof: ReauthProof) -> Result<OwnCredentials, Error> {
    let known = check_password(ctx, proof.password, proof.field).await?;
    match proof.second {
        Some(proof) => verify_second_factor(ctx, &proof).await?,
        None if mfa::has_second_factor(&ctx.db, ctx.user_id()).await? => {
            return Err(mfa::Error::CodeRequired.into());
        }
        None => {}
    }
    Ok(known)
}

async fn verify_second_factor(ctx: &UserCtx, proof: &Proof) -> Result<(), Error> {
    let mut tx = ctx.begin().await?;
    let is_right = mfa::verify(&mut tx, ctx, ctx.user_id(), proof).await?;
    match proof {
        _ if !is_right => tx.audit(Event::SecondFactorFailed).await?,
        Proof::Recovery(_) => tx.audit(Event::RecoveryCodeUsed).await?,
        Proof::Totp(_) => {} // the change has its own entry
    }
    tx.commit().await?; // a wrong code counts
    is_right
        .then_some(())
        .ok_or_else(|| mfa::Error::WrongCode(proof.field()).into())
}

/// Fails if the credentials have changed since the proof.
pub async fn recheck_proof(
    conn: &mut PgConnection,
    user_id: UserId,
    proven: &OwnCredentials,
) -> Result<(), Error> {
    users::lock_credentials_shared(conn, user_id, proven.version)
        .await?
        .then_some(())
        .ok_or(Error::CredentialsChanged)
}

/// Verifies the password, within the limits. Right passwords count as well: each costs a hash, and may send
/// an email to an address of the caller's choice.
pub(crate) async fn check_password(
    ctx: &UserCtx,
    password: PasswordForms,
    field: &'static str,
) -> Result<OwnCredentials, Error> {
    spend_own(ctx, ctx.limits.reauthentication).await?;
    let known = users::find_own_credentials(&ctx.db, ctx.user_id())
        .await?
        .ok_or(Error::Unauthenticated)?;
    let attempt = ReauthAttempt::begin(ctx, ctx.user_id()).await?;
    let verified = ctx.hasher.verify(password, &known.password_hash).await?;
    if verified.is_some() {
        attempt.succeed().await?;
        return Ok(known);
    }
    attempt.fail().await?;
    Err(Error::WrongPassword(field))
}

pub(crate) async fn spend_own(ctx: &UserCtx, limit: Limit) -> Result<(), Error> {
    let check = LimitCheck::spend(limit, Key::user(ctx.user_id().0));
    spend(&ctx.limiter, &[check]).await.map_err(Error::Limited)
}
