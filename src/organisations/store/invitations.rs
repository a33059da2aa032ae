//! Statements on `invitations` and `invitation_blocks`, and the one that makes a member of an invited user.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use http_toolkit::{PageSize, TimeCursor};
use job_queue::{Expired, OwnedRows};
use session_tokens::TokenHash;
use sqlx::PgExecutor;

use crate::ids::{AccountId, InvitationId, UserId};
use crate::organisations::model::invitations::{
    Added, Attempt, Invitation, OwnInvitation, Renewed,
};
use crate::roles::AccountRole;

pub(in crate::organisations) struct NewRow<'a> {
    pub(in crate::organisations) id: InvitationId,
    pub(in crate::organisations) account_id: AccountId,
    pub(in crate::organisations) email: &'a EmailAddress,
    pub(in crate::organisations) role: AccountRole,
    pub(in crate::organisations) invited_by: UserId,
    pub(in crate::organisations) expires_at: DateTime<Utc>,
}

/// Adds an invitation if a seat is free and fewer than `most` others are open, in one statement; replaces an earlier
/// one to the same address, whose link then stops working. `seats` is `None` without limit. The caller holds the lock
/// on the account.
pub(in crate::organisations) async fn insert(
    conn: impl PgExecutor<'_>,
    new: &NewRow<'_>,
    seats: Option<u32>,
    most: u32,
    now: DateTime<Utc>,
) -> Result<Added, sqlx::Error> {
    sqlx::query_as!(
        Added,
        r#"WITH counted AS MATERIALIZED (
               SELECT (SELECT count(*) FROM memberships WHERE account_id = $2) AS members,
                      (SELECT count(*) FROM invitations
                       WHERE account_id = $2 AND expires_at > $7 AND email <> $3) AS open
           ), added AS (
               INSERT INTO invitations AS i (id, account_id, email, role, invited_by, created_at, expires_at)
               SELECT $1, $2, $3, $4, $5, $7, $6 FROM counted
               WHERE ($8::int8 IS NULL OR members + open < $8) AND open < $9
               ON CONFLICT ON CONSTRAINT invitations_account_id_email_key DO UPDATE SET
                   id = excluded.id, role = excluded.role, invited_by = excluded.invited_by, token_hash = NULL,
                   created_at = excluded.created_at, expires_at = excluded.expires_at
               RETURNING id
           )
           SELECT (SELECT id FROM added) AS "id: InvitationId", open AS "open!" FROM counted"#,
        new.id.0,
        new.account_id.0,
        new.email.as_str(),
        new.role.to_string(),
        new.invited_by.0,
        new.expires_at,
        now,
        seats.map(i64::from),
        i64::from(most),
    )
    .fetch_one(conn)
    .await
}

/// Returns true if a member has this address.
pub(in crate::organisations) async fn is_member(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    email: &EmailAddress,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM memberships AS m JOIN users AS u ON u.id = m.user_id
               WHERE m.account_id = $1 AND u.email = $2
           ) AS "exists!""#,
        account_id.0,
        email.as_str(),
    )
    .fetch_one(conn)
    .await
}

/// Returns true if this address has declined an invitation of the organisation.
pub(in crate::organisations) async fn is_blocked(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    email: &EmailAddress,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM invitation_blocks WHERE account_id = $1 AND email = $2
           ) AS "exists!""#,
        account_id.0,
        email.as_str(),
    )
    .fetch_one(conn)
    .await
}

/// Newest first, expired ones included until they are purged.
pub(in crate::organisations) async fn list(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    after: Option<TimeCursor>,
    limit: PageSize,
) -> Result<Vec<Invitation>, sqlx::Error> {
    let (created_at, id) = after.map(|TimeCursor(at, id)| (at, id)).unzip();
    sqlx::query_as!(
        Invitation,
        r#"SELECT id AS "id: InvitationId", email AS "email: EmailAddress", role AS "role: AccountRole",
                  invited_by AS "invited_by: UserId", created_at, expires_at
           FROM invitations
           WHERE account_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
           ORDER BY created_at DESC, id DESC
           LIMIT $4"#,
        account_id.0,
        created_at,
        id,
        limit.one_more(),
    )
    .fetch_all(conn)
    .await
}

/// Gives an invitation its whole time again, within the limits of [`insert`]: an expired one takes no seat until then.
/// `None` if there is no such invitation. The caller holds the lock on the account.
pub(in crate::organisations) async fn renew(
    conn: impl PgExecutor<'_>,
    (account_id, id): (AccountId, InvitationId),
    expires_at: DateTime<Utc>,
    seats: Option<u32>,
    most: u32,
    now: DateTime<Utc>,
) -> Result<Option<Renewed>, sqlx::Error> {
    sqlx::query_as!(
        Renewed,
        r#"WITH counted AS MATERIALIZED (
               SELECT (SELECT count(*) FROM memberships WHERE account_id = $1) AS members,
                      (SELECT count(*) FROM invitations
                       WHERE account_id = $1 AND expires_at > $4 AND id <> $2) AS open
           ), renewed AS (
               UPDATE invitations SET expires_at = $3 FROM counted
               WHERE account_id = $1 AND id = $2 AND ($5::int8 IS NULL OR members + open < $5) AND open < $6
               RETURNING id
           )
           SELECT i.email AS "email: EmailAddress", i.role AS "role: AccountRole",
                  EXISTS (SELECT FROM renewed) AS "has_room!", counted.open AS "open!"
           FROM invitations AS i CROSS JOIN counted
           WHERE i.account_id = $1 AND i.id = $2"#,
        account_id.0,
        id.0,
        expires_at,
        now,
        seats.map(i64::from),
        i64::from(most),
    )
    .fetch_optional(conn)
    .await
}

/// Returns the address if the invitation was there.
pub(in crate::organisations) async fn delete(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: InvitationId,
) -> Result<Option<EmailAddress>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"DELETE FROM invitations WHERE account_id = $1 AND id = $2 RETURNING email AS "email: EmailAddress""#,
        account_id.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Deletes the open invitations that a member made, who may no longer grant what they grant.
pub(in crate::organisations) async fn delete_of_member(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    invited_by: UserId,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM invitations WHERE account_id = $1 AND invited_by = $2",
        account_id.0,
        invited_by.0,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Stores the token of an email that is about to be sent; the token before stops working. Returns what the email says:
/// the organisation and who invited.
pub(in crate::organisations) async fn set_token(
    conn: impl PgExecutor<'_>,
    id: InvitationId,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<(String, Option<EmailAddress>)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"UPDATE invitations AS i SET token_hash = $2
           FROM accounts AS a
           WHERE i.id = $1 AND i.expires_at > $3 AND a.id = i.account_id AND a.deleted_at IS NULL
           RETURNING a.name AS "name!",
                     (SELECT email FROM users WHERE id = i.invited_by) AS "inviter: EmailAddress""#,
        id.0,
        &token.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.name, row.inviter)))
}

/// Finds a valid invitation by the hash of its token or by its id; of one address, if `email` is given.
pub(in crate::organisations) async fn find_valid(
    conn: impl PgExecutor<'_>,
    token: Option<TokenHash>,
    id: Option<InvitationId>,
    email: Option<&EmailAddress>,
    now: DateTime<Utc>,
) -> Result<Option<(AccountId, OwnInvitation)>, sqlx::Error> {
    let token = token.map(|token| token.0.to_vec());
    let row = sqlx::query!(
        r#"SELECT i.account_id AS "account_id: AccountId", i.id AS "id: InvitationId", a.name AS "organisation!",
                  i.role AS "role: AccountRole", i.email AS "email: EmailAddress", i.created_at, i.expires_at,
                  coalesce(nullif(concat_ws(' ', u.first_name, u.last_name), '') || ' (' || u.email || ')', u.email) AS inviter
           FROM invitations AS i
           JOIN accounts AS a ON a.id = i.account_id AND a.deleted_at IS NULL
           LEFT JOIN users AS u ON u.id = i.invited_by
           WHERE (i.token_hash = $1 OR i.id = $2) AND ($3::text IS NULL OR i.email = $3) AND i.expires_at > $4"#,
        token,
        id.map(|id| id.0),
        email.map(EmailAddress::as_str),
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let invitation = OwnInvitation {
            id: row.id,
            organisation: row.organisation,
            role: row.role,
            inviter: row.inviter,
            email: row.email,
            created_at: row.created_at,
            expires_at: row.expires_at,
        };
        (row.account_id, invitation)
    }))
}

/// The valid invitations of an address, newest first.
pub(in crate::organisations) async fn list_of_address(
    conn: impl PgExecutor<'_>,
    email: &EmailAddress,
    now: DateTime<Utc>,
    after: Option<TimeCursor>,
    limit: PageSize,
) -> Result<Vec<OwnInvitation>, sqlx::Error> {
    let (created_at, id) = after.map(|TimeCursor(at, id)| (at, id)).unzip();
    sqlx::query_as!(
        OwnInvitation,
        r#"SELECT i.id AS "id: InvitationId", a.name AS "organisation!", i.role AS "role: AccountRole",
                  i.email AS "email: EmailAddress", i.created_at, i.expires_at,
                  coalesce(nullif(concat_ws(' ', u.first_name, u.last_name), '') || ' (' || u.email || ')', u.email) AS inviter
           FROM invitations AS i
           JOIN accounts AS a ON a.id = i.account_id AND a.deleted_at IS NULL
           LEFT JOIN users AS u ON u.id = i.invited_by
           WHERE i.email = $1 AND i.expires_at > $2 AND ($3::timestamptz IS NULL OR (i.created_at, i.id) < ($3, $4))
           ORDER BY i.created_at DESC, i.id DESC
           LIMIT $5"#,
        email.as_str(),
        now,
        created_at,
        id,
        limit.one_more(),
    )
    .fetch_all(conn)
    .await
}

/// Uses up an invitation and makes the user a member if a seat is free, in one statement. `None` if the invitation is
/// no longer valid. A user who is a member already stays as they are. The caller holds the lock on the account.
pub(in crate::organisations) async fn accept(
    conn: impl PgExecutor<'_>,
    (account_id, id): (AccountId, InvitationId),
    (user_id, email): (UserId, &EmailAddress),
    seats: Option<u32>,
    now: DateTime<Utc>,
) -> Result<Option<Attempt>, sqlx::Error> {
    sqlx::query_as!(
        Attempt,
        r#"WITH used AS (
               DELETE FROM invitations WHERE account_id = $1 AND id = $2 AND email = $4 AND expires_at > $6
               RETURNING account_id, role
           ), present AS MATERIALIZED (
               SELECT role FROM memberships WHERE account_id = $1 AND user_id = $3
           ), joined AS (
               INSERT INTO memberships (account_id, user_id, role, created_at, updated_at)
               SELECT account_id, $3, role, $6, $6 FROM used
               WHERE NOT EXISTS (SELECT FROM present)
                 AND ($5::int8 IS NULL OR (SELECT count(*) FROM memberships WHERE account_id = $1) < $5)
               RETURNING role
           )
           SELECT coalesce((SELECT role FROM present), used.role) AS "role!: AccountRole",
                  (SELECT name FROM accounts WHERE id = $1) AS "organisation!",
                  EXISTS (SELECT FROM joined) AS "has_joined!", EXISTS (SELECT FROM present) AS "was_member!"
           FROM used"#,
        account_id.0,
        id.0,
        user_id.0,
        email.as_str(),
        seats.map(i64::from),
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Deletes an invitation and blocks further emails of the organisation to its address.
pub(in crate::organisations) async fn decline(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: InvitationId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "WITH declined AS (
             DELETE FROM invitations WHERE account_id = $1 AND id = $2 RETURNING email
         )
         INSERT INTO invitation_blocks (account_id, email, created_at) SELECT $1, email, $3 FROM declined
         ON CONFLICT ON CONSTRAINT invitation_blocks_pkey DO UPDATE SET created_at = excluded.created_at",
        account_id.0,
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(in crate::organisations) const EXPIRED: Expired =
    Expired::new("expired invitations", "invitations", "expires_at");

/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub const ERASED: [OwnedRows; 1] = [OwnedRows::new("invitations", "invited_by")];
