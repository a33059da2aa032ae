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
pub(super) struct Invitation {
    /// The invitation's id.
    pub(super) id: InvitationId,
    /// Invited address.
    pub(super) email: EmailAddress,
    /// Role that the invited person gets.
    pub(super) role: AccountRole,
    /// Who invited, unless the user is gone.
    pub(super) invited_by: Option<UserId>,
    /// When it was made.
    pub(super) created_at: DateTime<Utc>,
    /// When it can no longer be accepted.
    pub(super) expires_at: DateTime<Utc>,
}

/// Request to invite somebody.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewInvitation {
    /// Address to invite. Only a user with this verified address can accept.
    pub(super) email: EmailAddress,
    /// Role that the invited person gets.
    pub(super) role: AccountRole,
}

/// Ids in the paths of invitations.
#[derive(Debug, Deserialize)]
pub(super) struct InvitationPath {
    /// The organisation, which the middleware has resolved.
    #[serde(rename = "id")]
    pub(super) _id: String,
    pub(super) invitation_id: InvitationId,
}

/// Token of the link in an invitation's email.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InvitationToken {
    /// Token of the link in the email.
    pub(super) token: OpaqueToken,
}

/// Request to accept an invitation: by the token of its email, or by the id of one of mine.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "RawAcceptance")]
pub(super) struct Acceptance {
    /// Token of the link in the email.
    pub(super) token: Option<OpaqueToken>,
    /// Id of one of my invitations.
    pub(super) id: Option<InvitationId>,
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
pub(super) struct OwnInvitation {
    /// The invitation's id.
    pub(super) id: InvitationId,
    /// Name of the organisation.
    #[schema(value_type = String, example = "Acme Inc.")]
    pub(super) organisation: String,
    /// Role that you get.
    pub(super) role: AccountRole,
    /// Name and address of the member who invites, unless the user is gone.
    #[schema(example = "Ada Lovelace (ada@example.com)")]
    pub(super) inviter: Option<String>,
    /// Invited address.
    pub(super) email: EmailAddress,
    /// When it was made.
    pub(super) created_at: DateTime<Utc>,
    /// When it can no longer be accepted.
    pub(super) expires_at: DateTime<Utc>,
}

/// A membership that began.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Joined {
    /// The organisation, for `X-Account`.
    pub(super) account_id: AccountId,
    /// Name of the organisation.
    #[schema(value_type = String, example = "Acme Inc.")]
    pub(super) organisation: String,
    /// Your role.
    pub(super) role: AccountRole,
}

/// How an attempt to accept ended.
pub(super) struct Attempt {
    pub(super) role: AccountRole,
    pub(super) organisation: String,
    pub(super) has_joined: bool,
    pub(super) was_member: bool,
}

/// How an attempt to invite ended: with the invitation, or what stood against it.
pub(super) struct Added {
    pub(super) id: Option<InvitationId>,
    /// Open invitations to other addresses.
    pub(super) open: i64,
}

/// An invitation that was to be renewed.
pub(super) struct Renewed {
    pub(super) email: EmailAddress,
    pub(super) role: AccountRole,
    pub(super) is_renewed: bool,
    /// Other open invitations.
    pub(super) open: i64,
}
