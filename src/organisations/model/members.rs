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
    /// Public address of the picture.
    #[schema(
        example = "https://api.example.com/api/v1/avatars/8b3f6a0e-93c1-4f0e-a8a4-1f0d5c2b7e69"
    )]
    pub avatar_url: Option<String>,
    /// Role in the organisation.
    pub role: AccountRole,
    /// When the user joined.
    pub created_at: DateTime<Utc>,
}

/// Request to change the role of a member.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::organisations) struct RoleChange {
    /// New role.
    pub(in crate::organisations) role: AccountRole,
}

/// Ids in the paths of members.
#[derive(Debug, Deserialize)]
pub(in crate::organisations) struct MemberPath {
    /// The organisation, which the middleware has resolved.
    #[serde(rename = "id")]
    pub(in crate::organisations) _id: String,
    pub(in crate::organisations) user_id: UserId,
}
