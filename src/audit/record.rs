//! Entries of the log as they are read: whole by administrators, and by an account's owner without
//! what is somebody else's.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::model::Event;
use crate::ids::{AuditId, SessionId, UserId};
use crate::web::{Moment, RequestId, Timestamp};

/// An entry of the log, whole.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Record {
    /// The entry's id.
    pub id: AuditId,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// What happened. A newer release may have written a name that this one does not know.
    #[schema(example = "signed_in")]
    pub event: String,
    /// Whose account it happened to.
    pub user_id: Option<UserId>,
    /// Who did it; nobody where a stranger, an operator or the system did.
    pub actor_id: Option<UserId>,
    /// The session it concerns; where an administrator acted, theirs.
    pub session_id: Option<SessionId>,
    /// The id of the request, as every answer carries it.
    #[schema(example = "01980b6e7c0070008000000000000001")]
    pub request_id: Option<String>,
    /// Where the request came from.
    #[schema(value_type = Option<String>, example = "203.0.113.7")]
    pub ip: Option<IpAddr>,
    /// What the client called itself.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64)")]
    pub user_agent: Option<String>,
    /// What else is known of it.
    #[schema(value_type = Object, example = json!({ "from": "user", "to": "admin" }))]
    pub detail: Value,
}

impl Record {
    /// Where it stands in the log.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(self.created_at, self.id.0)
    }
}

/// Which entries.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecordFilter {
    /// Whose account it happened to.
    #[param(value_type = Option<uuid::Uuid>)]
    pub user_id: Option<UserId>,
    /// Who did it.
    #[param(value_type = Option<uuid::Uuid>)]
    pub actor_id: Option<UserId>,
    /// What happened.
    #[param(inline)]
    pub event: Option<Event>,
    /// From this moment on.
    #[param(value_type = Option<DateTime<Utc>>)]
    pub from: Option<Timestamp>,
    /// Before this moment.
    #[param(value_type = Option<DateTime<Utc>>)]
    pub to: Option<Timestamp>,
    /// The id of the request.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$",
        example = "01980b6e7c0070008000000000000001")]
    pub request_id: Option<RequestId>,
}

/// Who did what an entry tells, as far as the account's owner is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum DoneBy {
    /// The owner, signed in or by a link in a letter.
    Owner,
    /// An administrator, whose name is not told.
    Administrator,
    /// Nobody who is signed in: a stranger, perhaps, or the service itself.
    Unknown,
}

/// An entry of the log, as the account's owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OwnRecord {
    /// The entry's id.
    id: AuditId,
    /// When it happened.
    created_at: DateTime<Utc>,
    /// What happened.
    #[schema(example = "signed_in")]
    event: String,
    /// Who did it.
    done_by: DoneBy,
    /// The session it concerns.
    session_id: Option<SessionId>,
    /// The id of the request, for whoever asks for help about it.
    #[schema(example = "01980b6e7c0070008000000000000001")]
    request_id: Option<String>,
    /// Where the request came from; not told of administrators.
    #[schema(value_type = Option<String>, example = "203.0.113.7")]
    ip: Option<IpAddr>,
    /// What the client called itself; not told of administrators.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64)")]
    user_agent: Option<String>,
    /// What else is known of it.
    #[schema(value_type = Object, example = json!({ "fields": ["first_name"] }))]
    detail: Value,
}

/// What of an administrator's act its subject is told: what changed, and never why.
const VISIBLE_OF_ADMINS: [&str; 2] = ["from", "to"];

impl OwnRecord {
    /// What `owner` may see of an entry on their account.
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
    fn what_an_administrator_did_is_told_without_who_where_and_why() {
        let [ada, root] = [1, 2].map(|id| UserId(Uuid::from_u128(id)));
        let record = Record {
            id: AuditId(Uuid::nil()),
            created_at: DateTime::UNIX_EPOCH,
            event: "role_changed".to_owned(),
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
