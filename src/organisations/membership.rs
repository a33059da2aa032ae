//! Which account a request names, and the caller's role in it. Both are cached for ten seconds; a change invalidates
//! them on all replicas within a second.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use cache::CacheFamily;
use http_toolkit::Problem;

use super::slug::{AccountRef, Slug};
use super::store::members;
use super::store::{self, SlugTarget};
use crate::ids::{AccountId, UserId};
use crate::roles::AccountRole;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

const TTL: Duration = Duration::from_secs(10);

static SLUGS: CacheFamily<Slug, Option<SlugTarget>> =
    CacheFamily::in_process("account_slug", TTL, 20_000);

static MEMBERSHIPS: CacheFamily<MemberKey, Option<AccountRole>> =
    CacheFamily::in_process("membership", TTL, 50_000);

/// Key of a cached membership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct MemberKey {
    account_id: AccountId,
    user_id: UserId,
}

impl fmt::Display for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account_id, self.user_id)
    }
}

impl FromStr for MemberKey {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        let (account, user) = text.split_once('/').unwrap_or_default();
        Ok(Self {
            account_id: account.parse()?,
            user_id: user.parse()?,
        })
    }
}

/// The account that a reference names. An unknown one has an id that no account has, so that what follows takes the
/// same time.
pub(super) async fn find_target(
    state: &AppState,
    account: AccountRef,
) -> Result<SlugTarget, Problem> {
    let target = match account {
        AccountRef::Id(account_id) => Some(SlugTarget {
            account_id,
            renamed_to: None,
        }),
        AccountRef::Slug(slug) => {
            let since = state.clock.now() - state.organisations.slug_grace;
            let (db, wanted) = (state.db.clone(), slug.clone());
            let found = state.cache.get(&SLUGS, &slug, || async move {
                let mut tx = scope::begin(&db, Scope::Exception(Exception::Membership)).await?;
                let found = store::find_slug(&mut *tx, &wanted, since).await?;
                tx.commit().await?;
                Ok::<_, sqlx::Error>(found)
            });
            Option::clone(&*found.await?)
        }
        AccountRef::Unknown => None,
    };
    Ok(target.unwrap_or(SlugTarget {
        account_id: AccountId(uuid::Uuid::nil()),
        renamed_to: None,
    }))
}

/// The role of a member. Only a role is taken from the cache: a user who has just joined is admitted by every
/// replica at once.
pub(super) async fn find_role(
    state: &AppState,
    account_id: AccountId,
    user_id: UserId,
) -> Result<Option<AccountRole>, Problem> {
    let read = || {
        let db = state.db.clone();
        async move {
            let mut tx = scope::begin(&db, Scope::Exception(Exception::Membership)).await?;
            let role = members::find_role(&mut *tx, account_id, user_id).await?;
            tx.commit().await?;
            Ok::<_, sqlx::Error>(role)
        }
    };
    let key = MemberKey {
        account_id,
        user_id,
    };
    let cached = state.cache.get(&MEMBERSHIPS, &key, read).await?;
    match *cached {
        Some(role) => Ok(Some(role)),
        None => Ok(read().await?),
    }
}

/// Must be called after the commit of a change to a membership, or of the deletion of its account.
pub(super) async fn forget_membership(state: &AppState, account_id: AccountId, user_id: UserId) {
    let key = MemberKey {
        account_id,
        user_id,
    };
    state.cache.invalidate(&MEMBERSHIPS, &key).await;
}

/// Must be called after the commit of what makes a slug lead elsewhere.
pub(super) async fn forget_slug(state: &AppState, slug: &Slug) {
    state.cache.invalidate(&SLUGS, slug).await;
}
