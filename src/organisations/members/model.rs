//! Members in requests and responses.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::UserId;
use crate::roles::AccountRole;
use crate::users::PersonName;

/// A member of an organisation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Member {
    /// The user's id.
    pub user_id: UserId,
    /// Email address.
    pub email: EmailAddress,
    /// Given name.
    pub first_name: Option<PersonName>,
    /// Family name.
    pub last_name: Option<PersonName>,
    /// Role in the organisation.
    pub role: AccountRole,
    /// When the user joined.
    pub created_at: DateTime<Utc>,
}

/// Request to change the role of a member.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleChange {
    /// New role.
    pub(super) role: AccountRole,
}

/// Ids in the paths of members.
#[derive(Debug, Deserialize)]
pub(super) struct MemberPath {
    /// The organisation, which the middleware has resolved.
    #[serde(rename = "id")]
    pub(super) _id: String,
    pub(super) user_id: UserId,
}
