//! Audit log entries as read: complete for administrators, and for an account's owner without the data of
//! administrators.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use http_toolkit::{RequestId, TimeCursor, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::model::Event;
use crate::ids::{AccountId, AuditId, SessionId, UserId};

/// An audit log entry.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Record {
    /// The entry's id.
    pub id: AuditId,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// Name of the event. A newer release may have written one that this release does not know.
    #[schema(example = "signed_in")]
    pub event: String,
    /// The account that the event belongs to: an organisation, or the personal account of the user.
    pub account_id: Option<AccountId>,
    /// The user whom the event is about.
    pub user_id: Option<UserId>,
    /// Who caused it; null for an unauthenticated client, a CLI command or the system.
    pub actor_id: Option<UserId>,
    /// The session concerned; for actions of an administrator, theirs.
    pub session_id: Option<SessionId>,
    /// The id of the request, as in every response.
    #[schema(example = "01980b6e7c0070008000000000000001")]
    pub request_id: Option<String>,
    /// IP address of the client.
    #[schema(value_type = Option<String>, example = "203.0.113.7")]
    pub ip: Option<IpAddr>,
    /// The client's `User-Agent`.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64)")]
    pub user_agent: Option<String>,
    /// Further details.
    #[schema(value_type = Object, example = json!({ "from": "user", "to": "admin" }))]
    pub detail: Value,
}

impl Record {
    pub fn moment(&self) -> TimeCursor {
        TimeCursor(self.created_at, self.id.0)
    }
}

/// Filter for audit log entries.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecordFilter {
    /// The account that the event belongs to.
    #[param(value_type = Option<uuid::Uuid>)]
    pub account_id: Option<AccountId>,
    /// The user whom the event is about.
    #[param(value_type = Option<uuid::Uuid>)]
    pub user_id: Option<UserId>,
    /// Who caused it.
    #[param(value_type = Option<uuid::Uuid>)]
    pub actor_id: Option<UserId>,
    /// Name of the event.
    #[param(inline)]
    pub event: Option<Event>,
    /// At or after this time.
    #[param(value_type = Option<DateTime<Utc>>)]
    pub from: Option<Timestamp>,
    /// Before this time.
    #[param(value_type = Option<DateTime<Utc>>)]
    pub to: Option<Timestamp>,
    /// The id of the request.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$",
        example = "01980b6e7c0070008000000000000001")]
    pub request_id: Option<RequestId>,
}

/// Who caused an event, as visible to the owner of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum DoneBy {
    /// The owner, signed in or by a link in an email.
    Owner,
    /// An administrator, whose identity is not disclosed.
    Administrator,
    /// An unauthenticated client, or the service itself.
    Unknown,
}

/// An audit log entry, as returned to the owner of the account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OwnRecord {
    /// The entry's id.
    id: AuditId,
    /// When it happened.
    created_at: DateTime<Utc>,
    /// Name of the event.
    #[schema(example = "signed_in")]
    event: String,
    /// Who caused it.
    done_by: DoneBy,
    /// The session concerned.
    session_id: Option<SessionId>,
    /// The id of the request, for support.
    #[schema(example = "01980b6e7c0070008000000000000001")]
    request_id: Option<String>,
    /// IP address of the client; null for administrators.
    #[schema(value_type = Option<String>, example = "203.0.113.7")]
    ip: Option<IpAddr>,
    /// The client's `User-Agent`; null for administrators.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64)")]
    user_agent: Option<String>,
    /// Further details.
    #[schema(value_type = Object, example = json!({ "fields": ["first_name"] }))]
    detail: Value,
}

/// Detail fields of an administrator's action that the owner sees: what changed, not why.
const VISIBLE_OF_ADMINS: [&str; 2] = ["from", "to"];

impl OwnRecord {
    pub(super) fn of(owner: UserId, record: Record) -> Self {
        let done_by = match record.actor_id {
            Some(actor) if actor == owner => DoneBy::Owner,
            Some(_) => DoneBy::Administrator,
            None => DoneBy::Unknown,
        };
        let is_own = done_by != DoneBy::Administrator;
        Self {
            id: record.id,
            created_at: record.created_at,
            event: record.event,
            done_by,
            session_id: record.session_id.filter(|_| is_own),
            request_id: record.request_id,
            ip: record.ip.filter(|_| is_own),
            user_agent: record.user_agent.filter(|_| is_own),
            detail: if is_own {
                record.detail
            } else {
                visible_of_admin(record.detail)
            },
        }
    }
}

fn visible_of_admin(detail: Value) -> Value {
    let Value::Object(mut fields) = detail else {
        return Value::Object(Map::new());
    };
    fields.retain(|name, _| VISIBLE_OF_ADMINS.contains(&name.as_str()));
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_owner_sees_what_an_administrator_did_but_not_who_where_and_why() {
        let [ada, root] = [1, 2].map(|id| UserId(Uuid::from_u128(id)));
        let record = Record {
            id: AuditId(Uuid::nil()),
            created_at: DateTime::UNIX_EPOCH,
            event: "role_changed".to_owned(),
            account_id: Some(ada.personal_account()),
            user_id: Some(ada),
            actor_id: Some(root),
            session_id: Some(SessionId(Uuid::max())),
            request_id: Some("r-1".to_owned()),
            ip: Some([203, 0, 113, 7].into()),
            user_agent: Some("Root's own browser".to_owned()),
            detail: json!({ "from": "user", "to": "admin", "reason": "hired" }),
        };
        let own = OwnRecord::of(
            root,
            Record {
                user_id: Some(root),
                ..record.clone()
            },
        );
        assert_eq!(own.done_by, DoneBy::Owner);
        assert_eq!((own.ip, own.detail), (record.ip, record.detail.clone()));

        let seen = serde_json::to_value(OwnRecord::of(ada, record)).expect("it is JSON");
        let expected = json!({
            "id": Uuid::nil(), "created_at": "1970-01-01T00:00:00Z", "event": "role_changed",
            "done_by": "administrator", "session_id": null, "request_id": "r-1",
            "ip": null, "user_agent": null, "detail": { "from": "user", "to": "admin" },
        });
        assert_eq!(seen, expected);
    }
}
