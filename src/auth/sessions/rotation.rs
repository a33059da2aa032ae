//! Refresh token rotation by generations, and detection of reuse.

use chrono::{DateTime, Utc};
use tracing::Instrument as _;

use super::model::{EndReason, TokenPair};
use super::refresh_token::SessionToken;
use super::service::{end, pair};
use super::store::{self, ROTATIONS_KEPT, Rotation, TokenState};
use crate::audit::Event;
use crate::auth::error::Error;
use crate::auth::opaque_token::TokenHash;
use crate::ctx::{Ctx, Principal};
use crate::ids::SessionId;
use crate::infra::{after, before};
use crate::metrics::TokenRefresh;

/// Tries of a rotation that lost a race.
const TRIES: usize = 3;

pub(crate) struct Refreshed {
    pub(crate) outcome: TokenRefresh,
    pub(crate) pair: Option<TokenPair>,
}

impl Refreshed {
    pub(crate) fn refused() -> Self {
        Self {
            outcome: TokenRefresh::Refused,
            pair: None,
        }
    }

    pub(crate) fn with(outcome: TokenRefresh, pair: TokenPair) -> Self {
        Self {
            outcome,
            pair: Some(pair),
        }
    }
}

pub(crate) async fn rotate(
    ctx: &Ctx,
    token: &SessionToken,
    of: Option<SessionId>,
) -> Result<Refreshed, Error> {
    let now = ctx.now();
    let is_foreign = of.is_some_and(|session| session != token.session());
    let mut from = (token.generation(), token.hash());
    for _ in 0..TRIES {
        if !is_foreign && let Some(pair) = replace(ctx, token, from, now).await? {
            return Ok(Refreshed::with(TokenRefresh::Rotated, pair));
        }
        let found = store::find_token_state(&ctx.db, token.session(), now).await?;
        let Some((row, current)) = found.and_then(|row| current_token(ctx, token, row)) else {
            return Ok(Refreshed::refused());
        };
        let who = Principal {
            user_id: row.user_id,
            session_id: token.session(),
        };
        if is_foreign {
            return Err(Error::ForeignSession);
        }
        match classify(&row, token, now, ctx.auth.refresh_grace) {
            TokenUse::InGrace => {
                let pair = pair(ctx, who, current.encode(), row.expires_at, now)?;
                return Ok(Refreshed::with(TokenRefresh::Repeated, pair));
            }
            TokenUse::Reused => return end_reused_session(ctx, who).await,
            TokenUse::Refused => return Ok(Refreshed::refused()),
            // The database lost rotations: it was restored, or a standby took over.
            TokenUse::Ahead => from = (row.generation, row.hash),
        }
    }
    Ok(Refreshed::refused())
}

/// Replaces the current token, whose generation and hash `from` are, by the successor of `token`.
async fn replace(
    ctx: &Ctx,
    token: &SessionToken,
    from: (i32, TokenHash),
    now: DateTime<Utc>,
) -> Result<Option<TokenPair>, Error> {
    let next = token.next(&ctx.refresh_macs);
    let rotation = Rotation {
        session: token.session(),
        from,
        to: (next.generation(), next.hash()),
        now,
        idle_expires_at: after(now, ctx.auth.session_idle_ttl),
        grace_since: before(now, ctx.auth.refresh_grace),
    };
    let Some(rotated) = store::rotate(&ctx.db, &rotation).await? else {
        return Ok(None);
    };
    let who = Principal {
        user_id: rotated.user_id,
        session_id: token.session(),
    };
    pair(ctx, who, next.encode(), rotated.expires_at, now).map(Some)
}

/// The session's current token, where `token` is one of the same session that we issued.
fn current_token(
    ctx: &Ctx,
    token: &SessionToken,
    row: TokenState,
) -> Option<(TokenState, SessionToken)> {
    let (macs, session) = (&ctx.refresh_macs, token.session());
    if token.hash() == row.hash {
        return Some((row, token.clone()));
    }
    let current = SessionToken::find(macs, session, row.generation, token.seed(), row.hash)?;
    token.is_genuine(macs).then_some((row, current))
}

pub(crate) async fn find_principal(
    ctx: &Ctx,
    token: &SessionToken,
) -> Result<Option<Principal>, Error> {
    let found = store::find_token_state(&ctx.db, token.session(), ctx.now()).await?;
    let found = found.and_then(|row| current_token(ctx, token, row));
    Ok(found.map(|(row, _)| Principal {
        user_id: row.user_id,
        session_id: token.session(),
    }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenUse {
    InGrace,
    Reused,
    /// Expired unused, or too many rotations behind.
    Refused,
    /// Newer than the row.
    Ahead,
}

fn classify(
    row: &TokenState,
    token: &SessionToken,
    now: DateTime<Utc>,
    grace: std::time::Duration,
) -> TokenUse {
    let is_recent = |at: &DateTime<Utc>| now <= after(*at, grace);
    let behind = i64::from(row.generation) - i64::from(token.generation());
    match usize::try_from(behind) {
        Err(_) => TokenUse::Ahead,
        Ok(0) => TokenUse::Refused,
        Ok(behind) => match row.rotations.get(behind - 1) {
            Some(at) if is_recent(at) => TokenUse::InGrace,
            None if row.rotations.len() >= ROTATIONS_KEPT
                && row.rotations.last().is_some_and(is_recent) =>
            {
                TokenUse::Refused
            }
            _ => TokenUse::Reused,
        },
    }
}

/// In a task of its own: a disconnect must not keep the session alive.
pub(crate) async fn end_reused_session(ctx: &Ctx, who: Principal) -> Result<Refreshed, Error> {
    let ctx = ctx.clone();
    let ending = async move {
        let entry = Event::RefreshTokenReused.about(who.user_id);
        let entry = entry.session(who.session_id);
        end(&ctx, who, EndReason::TokenReused, entry).await
    };
    tokio::spawn(ending.in_current_span()).await??;
    Ok(Refreshed {
        outcome: TokenRefresh::Reused,
        pair: None,
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::config::Key32;
    use crate::ids::UserId;
    use crate::infra::{MacRing, Rng};

    const GRACE: std::time::Duration = std::time::Duration::from_secs(10);

    /// The classifyment on a token of this generation, `later` seconds after the newest rotation.
    fn classifyd(generation: i32, row: i32, ages: &[i64], later: i64) -> TokenUse {
        let start = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(1);
        let macs = MacRing::new(&[Key32::new([1; 32])]);
        let session = SessionId(uuid::Uuid::nil());
        let seed = Rng::seeded(1).bytes();
        let token = |generation| SessionToken::issue(&macs, session, generation, &seed);
        let row = TokenState {
            user_id: UserId(uuid::Uuid::nil()),
            generation: row,
            hash: token(row).hash(),
            expires_at: start,
            rotations: ages
                .iter()
                .map(|age| start - TimeDelta::seconds(*age))
                .collect(),
        };
        classify(
            &row,
            &token(generation),
            start + TimeDelta::seconds(later),
            GRACE,
        )
    }

    #[test]
    fn each_generation_has_a_grace_of_its_own() {
        let ages = [0, 4, 8];
        assert_eq!(classifyd(2, 3, &ages, 0), TokenUse::InGrace);
        assert_eq!(classifyd(0, 3, &ages, 2), TokenUse::InGrace);
        assert_eq!(classifyd(0, 3, &ages, 3), TokenUse::Reused);
        assert_eq!(classifyd(1, 3, &ages, 6), TokenUse::InGrace);
        assert_eq!(classifyd(2, 3, &ages, 11), TokenUse::Reused);
    }

    #[test]
    fn a_token_that_is_not_behind_the_row_was_not_used() {
        assert_eq!(classifyd(3, 3, &[0], 0), TokenUse::Refused);
        assert_eq!(classifyd(4, 3, &[0], 0), TokenUse::Ahead);
        assert_eq!(classifyd(i32::MAX, 0, &[], 0), TokenUse::Ahead);
    }

    #[test]
    fn an_unrecorded_generation_is_reuse_unless_it_may_be_within_the_grace() {
        assert_eq!(classifyd(0, 9, &[0, 4], 0), TokenUse::Reused);
        let full: Vec<i64> = (0..16).map(|age| age / 2).collect();
        assert_eq!(classifyd(0, 20, &full, 0), TokenUse::Refused);
        assert_eq!(classifyd(0, 20, &full, 4), TokenUse::Reused);
        assert_eq!(classifyd(i32::MIN, i32::MAX, &full, 4), TokenUse::Reused);
    }
}
