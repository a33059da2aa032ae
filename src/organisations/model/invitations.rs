//! Invitations in requests and responses.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use serde::{Deserialize, Serialize};
use session_tokens::OpaqueToken;
use utoipa::ToSchema;

use crate::ids::{AccountId, InvitationId, UserId};
use crate::roles::AccountRole;

/// An invitation, as the organisation sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::organisations) struct Invitation {
    /// The invitation's id.
    pub(in crate::organisations) id: InvitationId,
    /// Invited address.
    pub(in crate::organisations) email: EmailAddress,
    /// Role that the invited person gets.
    pub(in crate::organisations) role: AccountRole,
    /// The member who invited; null if the user was deleted.
    pub(in crate::organisations) invited_by: Option<UserId>,
    /// When it was made.
    pub(in crate::organisations) created_at: DateTime<Utc>,
    /// When it can no longer be accepted.
    pub(in crate::organisations) expires_at: DateTime<Utc>,
}

/// Request to invite somebody.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::organisations) struct NewInvitation {
    /// Address to invite. Only a user with this verified address can accept.
    pub(in crate::organisations) email: EmailAddress,
    /// Role that the invited person gets.
    pub(in crate::organisations) role: AccountRole,
}

/// Ids in the paths of invitations.
#[derive(Debug, Deserialize)]
pub(in crate::organisations) struct InvitationPath {
    /// The organisation, which the middleware has resolved.
    #[serde(rename = "id")]
    pub(in crate::organisations) _id: String,
    pub(in crate::organisations) invitation_id: InvitationId,
}

/// Token of the link in an invitation's email.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::organisations) struct InvitationToken {
    /// Token of the link in the email.
    pub(in crate::organisations) token: OpaqueToken,
}

/// Request to accept an invitation: by the token of its email, or by the id of one of mine.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "RawAcceptance")]
pub(in crate::organisations) struct Acceptance {
    /// Token of the link in the email.
    pub(in crate::organisations) token: Option<OpaqueToken>,
    /// Id of one of my invitations.
    pub(in crate::organisations) id: Option<InvitationId>,
}

/// [`Acceptance`], of whose fields one must be given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAcceptance {
    #[serde(default)]
    token: Option<OpaqueToken>,
    #[serde(default)]
    id: Option<InvitationId>,
}

impl TryFrom<RawAcceptance> for Acceptance {
    type Error = &'static str;

    fn try_from(raw: RawAcceptance) -> Result<Self, &'static str> {
        let RawAcceptance { token, id } = raw;
        (token.is_some() != id.is_some())
            .then_some(Self { token, id })
            .ok_or("must have either token or id")
    }
}

/// An invitation, as the invited person sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::organisations) struct OwnInvitation {
    /// The invitation's id.
    pub(in crate::organisations) id: InvitationId,
    /// Name of the organisation.
    #[schema(value_type = String, example = "Acme Inc.")]
    pub(in crate::organisations) organisation: String,
    /// Role that you get.
    pub(in crate::organisations) role: AccountRole,
    /// Name and address of the member who invites, unless the user is gone.
    #[schema(example = "Ada Lovelace (ada@example.com)")]
    pub(in crate::organisations) inviter: Option<String>,
    /// Invited address.
    pub(in crate::organisations) email: EmailAddress,
    /// When it was made.
    pub(in crate::organisations) created_at: DateTime<Utc>,
    /// When it can no longer be accepted.
    pub(in crate::organisations) expires_at: DateTime<Utc>,
}

/// A membership that began.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::organisations) struct Joined {
    /// The organisation, for `X-Account`.
    pub(in crate::organisations) account_id: AccountId,
    /// Name of the organisation.
    #[schema(value_type = String, example = "Acme Inc.")]
    pub(in crate::organisations) organisation: String,
    /// Your role.
    pub(in crate::organisations) role: AccountRole,
}

/// How an attempt to accept ended.
pub(in crate::organisations) struct Attempt {
    pub(in crate::organisations) role: AccountRole,
    pub(in crate::organisations) organisation: String,
    pub(in crate::organisations) has_joined: bool,
    pub(in crate::organisations) was_member: bool,
}

/// How an attempt to invite ended: with the invitation, or what stood against it.
pub(in crate::organisations) struct Added {
    pub(in crate::organisations) id: Option<InvitationId>,
    /// Open invitations to other addresses.
    pub(in crate::organisations) open: i64,
}

/// An invitation that was to be renewed.
pub(in crate::organisations) struct Renewed {
    pub(in crate::organisations) email: EmailAddress,
    pub(in crate::organisations) role: AccountRole,
    pub(in crate::organisations) has_room: bool,
    /// Other open invitations.
    pub(in crate::organisations) open: i64,
}
