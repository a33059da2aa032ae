//! The statements that decide who may try a password, and that end what nobody ever confirmed.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::auth::token::TokenHash;
use crate::ids::UserId;

/// Whether a client of this network has signed in to the account since then, and was not turned out
/// of it. Nobody's account has no such client, which takes as long to find out.
pub(in crate::auth) async fn is_known_client(
    conn: impl PgExecutor<'_>,
    user_id: Option<UserId>,
    network: IpAddr,
    since: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM sessions
               WHERE user_id = $1 AND created_at > $3 AND ip <<= $2
                 AND (end_reason IS NULL OR end_reason IN ('signed_out', 'session_limit'))
           ) AS "is_known!""#,
        user_id.map_or(Uuid::nil(), |id| id.0),
        customer(network),
        since,
    )
    .fetch_one(conn)
    .await
}

/// All addresses of a customer: an IPv4 one is one, an IPv6 one has a /64.
fn customer(network: IpAddr) -> IpNetwork {
    let whole = match network {
        IpAddr::V4(v4) => Ipv4Network::new(v4, 32).map(IpNetwork::from),
        IpAddr::V6(v6) => Ipv6Network::new(v6, 64).map(IpNetwork::from),
    };
    whole.unwrap_or_else(|_| network.into())
}

/// Whether a link that unlocks this account was made since then.
pub(in crate::auth) async fn unlock_is_recent(
    conn: impl PgExecutor<'_>,
    user_id: Option<UserId>,
    since: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM one_time_tokens WHERE user_id = $1 AND purpose = 'unlock' AND created_at > $2
           ) AS "is_recent!""#,
        user_id.map_or(Uuid::nil(), |id| id.0),
        since,
    )
    .fetch_one(conn)
    .await
}

/// Uses up a link that unlocks an account; of any number that race, one gets it.
///
/// The row stays, as one that has run out, so that the next letter waits for its time.
pub(in crate::auth) async fn take_unlock(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"UPDATE one_time_tokens AS t SET expires_at = $2
           FROM users AS u
           WHERE t.token_hash = $1 AND t.purpose = 'unlock' AND t.expires_at > $2
             AND u.id = t.user_id AND u.credentials_version = t.credentials_version
           RETURNING t.user_id AS "user_id: UserId""#,
        &token.0,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Deletes some accounts that nobody confirmed and that have no link left to do so; answers which.
/// One that is being confirmed at this moment is passed over.
pub(in crate::auth) async fn purge_unverified(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
    most: i64,
) -> Result<Vec<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"DELETE FROM users WHERE email_verified_at IS NULL AND id IN (
               SELECT id FROM users AS u
               WHERE email_verified_at IS NULL AND created_at < $1 AND updated_at < $1
                 AND NOT EXISTS (
                     SELECT FROM one_time_tokens AS t WHERE t.user_id = u.id AND t.expires_at > $2
                 )
               ORDER BY created_at
               LIMIT $3
               FOR UPDATE SKIP LOCKED
           )
           RETURNING id AS "id: UserId""#,
        before,
        now,
        most,
    )
    .fetch_all(conn)
    .await
}
