//! Who is signed in proves anew who they are, before what sign-in rests on changes: a session alone
//! may have been left open on somebody's desk, or stolen.

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

/// What somebody shows to prove who they are: the password and, where the account has one, the
/// second factor. Bodies spell its fields out instead of flattening it, since `serde` would neither
/// refuse unknown fields beside a flattened one nor say in which of them a fault is.
#[derive(Debug)]
pub struct Shown {
    password: PasswordForms,
    /// The field that the password came in.
    field: &'static str,
    second: Option<Proof>,
}

impl Shown {
    /// What these fields of a body show; of the two codes one at most.
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

/// The account, if whoever is signed in shows all that it is signed in to with. A code is used up by
/// this, whatever comes of what it was shown for. The transaction of that holds it against the version
/// of the credentials that was proved: by [`recheck_proof`], or by beginning a change at that version.
pub async fn reauthenticate(
    state: &AppState,
    me: Principal,
    shown: Shown,
    origin: &Origin,
) -> Result<OwnCredentials, Error> {
    let known = check_password(state, me, shown.password, shown.field, origin).await?;
    match shown.second {
        Some(proof) => {
            let mut tx = begin(&state.db).await?;
            let is_right = is_shown(&mut tx, state, me, &proof, origin).await?;
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

/// Holds what a reauthentication proved until the transaction ends, for what is created by it.
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

/// The account, if the password is its owner's and was not tried too often. Right passwords count as
/// well: each costs a hash, and what follows may be an email to a stranger.
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

/// Whether somebody signed in shows the second factor; what came of it is in the log. The caller
/// commits in either case, since a wrong code counts.
pub(crate) async fn is_shown(
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

/// An act of somebody signed in, for the log.
pub(crate) fn own(event: Event, me: Principal, origin: &Origin) -> Entry<'_> {
    Entry::own(event, me.user_id, Some(me.session_id), origin)
}
