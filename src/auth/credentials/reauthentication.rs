//! Reauthentication (step-up) before credentials change: a session alone may be stolen, or left open on a
//! shared device.

use sqlx::PgConnection;

use crate::audit::{self, Entry, Event, Origin};
use crate::auth::error::Error;
use crate::auth::password::TriedPassword;
use crate::auth::sign_in::ReauthAttempt;
use crate::config::Limit;
use crate::infra::{Ask, LimitKey, PasswordForms, begin};
use crate::mfa::{self, Method, Proof, RecoveryCode, TotpCode};
use crate::state::AppState;
use crate::users::{self, OwnCredentials};
use crate::web::{Principal, spend};

/// The password and, where the account has one, the second factor. Request bodies spell its fields out:
/// `serde` neither rejects unknown fields beside a flattened struct nor says which field is wrong.
#[derive(Debug)]
pub struct ReauthProof {
    password: PasswordForms,
    /// The field that the password came in.
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
            second: Proof::at_most_one_of(code, recovery_code)?,
        })
    }
}

/// Verifies password and second factor. A code is used up by it. The transaction of the change must compare
/// the version of the credentials with the one that was proved: by [`recheck_proof`], or by beginning a
/// change at that version.
pub async fn reauthenticate(
    state: &AppState,
    me: Principal,
    shown: ReauthProof,
    origin: &Origin,
) -> Result<OwnCredentials, Error> {
    let known = check_password(state, me, shown.password, shown.field, origin).await?;
    match shown.second {
        Some(proof) => {
            let mut tx = begin(&state.db).await?;
            let is_right = check_second_factor(&mut tx, state, me, &proof, origin).await?;
            tx.commit().await?;
            if !is_right {
                return Err(mfa::Error::WrongCode(proof.field()).into());
            }
        }
        None if mfa::has_second_factor(&state.db, me.user_id).await? => {
            return Err(mfa::Error::CodeRequired.into());
        }
        None => {}
    }
    Ok(known)
}

/// Locks the account at the version of its credentials that was proved, until the transaction ends.
pub async fn recheck_proof(
    conn: &mut PgConnection,
    me: Principal,
    proven: &OwnCredentials,
) -> Result<(), Error> {
    users::lock_credentials_shared(conn, me.user_id, proven.version)
        .await?
        .then_some(())
        .ok_or(Error::CredentialsChanged)
}

/// Verifies the password, within the limits. Right passwords count as well: each costs a hash, and may send
/// an email to an address of the caller's choice.
pub(crate) async fn check_password(
    state: &AppState,
    me: Principal,
    password: PasswordForms,
    field: &'static str,
    origin: &Origin,
) -> Result<OwnCredentials, Error> {
    spend_own(state, me, state.limits.reauthentication).await?;
    let known = users::find_own_credentials(&state.db, me.user_id)
        .await?
        .ok_or(Error::Unauthenticated)?;
    let attempt = ReauthAttempt::begin(state, me.user_id).await?;
    let verified = state.hasher.verify(password, &known.password_hash).await?;
    if verified.is_some() {
        attempt.succeed().await?;
        return Ok(known);
    }
    attempt.fail().await?;
    let entry = own(Event::ReauthenticationFailed, me, origin);
    audit::record(&state.db, entry, state.clock.now(), &state.rng).await?;
    Err(Error::WrongPassword(field))
}

/// Spends a limit of the account.
pub(crate) async fn spend_own(state: &AppState, me: Principal, limit: Limit) -> Result<(), Error> {
    let ask = Ask::spend(limit, LimitKey::user(me.user_id.0));
    spend(&state.limiter, &[ask]).await.map_err(Error::Limited)
}

/// Verifies the second factor and records the outcome. The caller commits in either case, since a wrong code
/// counts.
pub(crate) async fn check_second_factor(
    tx: &mut PgConnection,
    state: &AppState,
    me: Principal,
    proof: &Proof,
    origin: &Origin,
) -> Result<bool, Error> {
    let method = mfa::prove(&mut *tx, state, me.user_id, proof).await?;
    let event = match method {
        None => Event::SecondFactorFailed,
        Some(Method::RecoveryCode) => Event::RecoveryCodeUsed,
        Some(Method::Totp) => return Ok(true), // told by what it was shown for
    };
    let now = state.clock.now();
    audit::record(tx, own(event, me, origin), now, &state.rng).await?;
    Ok(method.is_some())
}

/// Audit entry of an act of the caller.
pub(crate) fn own(event: Event, me: Principal, origin: &Origin) -> Entry<'_> {
    Entry::own(event, me.user_id, Some(me.session_id), origin)
}
