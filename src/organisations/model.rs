//! Organisations in requests and responses.

use chrono::{DateTime, Utc};
use crypto::TriedPassword;
use http_toolkit::one_line;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::slug::Slug;
use crate::ids::{AccountId, UserId};
use crate::mfa::{RecoveryCode, TotpCode};
use crate::roles::AccountRole;
use crate::users::SearchText;

const NAME_MAX: usize = 100;

/// Name of an organisation: 1 to 100 characters in one line, without `/`, `@` and `:`, since emails to strangers
/// quote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, min_length = 1, max_length = 100, pattern = "^[^/@:]+$", example = "Acme Inc.")]
pub(super) struct OrganisationName(String);

impl OrganisationName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OrganisationName {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        one_line(&raw, NAME_MAX)
            .filter(|name| !name.contains(['/', '@', ':']))
            .map(Self)
            .ok_or("must be 1 to 100 characters in one line, without / @ and :")
    }
}

/// An organisation, as its members see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Organisation {
    /// The account's id.
    pub(super) id: AccountId,
    /// Name.
    #[schema(value_type = OrganisationName)]
    pub(super) name: String,
    /// Name in URLs and in `X-Account`.
    pub(super) slug: Slug,
    /// The caller's role.
    pub(super) role: AccountRole,
    /// Number of members.
    #[schema(example = 3)]
    pub(super) members: i64,
    /// When the organisation was created.
    pub(super) created_at: DateTime<Utc>,
    /// When name or slug last changed.
    pub(super) updated_at: DateTime<Utc>,
    /// When it was deleted. Until `ORGANISATION_DELETION_GRACE` has passed an owner can restore it.
    pub(super) deleted_at: Option<DateTime<Utc>>,
}

/// An organisation, as returned to administrators.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrganisationSummary {
    /// The account's id.
    pub id: AccountId,
    /// Name.
    #[schema(example = "Acme Inc.")]
    pub name: String,
    /// Name in URLs; null after the purge of an organisation that has paid.
    pub slug: Option<Slug>,
    /// Number of members.
    #[schema(example = 3)]
    pub members: i64,
    /// When the organisation was created.
    pub created_at: DateTime<Utc>,
    /// When name or slug last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// Filter for organisations.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrganisationFilter {
    /// Prefix of the name or of a present or former slug; case-insensitive.
    #[param(value_type = Option<String>, min_length = 1, max_length = 100, example = "acme")]
    pub search: Option<SearchText>,
}

/// Request to create an organisation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrganisation {
    /// Name.
    pub(super) name: OrganisationName,
    /// Name in URLs and in `X-Account`.
    pub(super) slug: Slug,
}

/// Changes to an organisation. Omitted fields stay unchanged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OrganisationChanges {
    /// Name.
    #[serde(default)]
    pub(super) name: Option<OrganisationName>,
    /// Name in URLs and in `X-Account`. The former one leads to the organisation for another 90 days.
    #[serde(default)]
    pub(super) slug: Option<Slug>,
}

/// Proof of the caller's identity.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Deletion {
    /// Your password.
    pub(super) password: TriedPassword,
    /// Code of the authenticator app. This or a recovery code is required if you have a second factor.
    #[serde(default)]
    pub(super) code: Option<TotpCode>,
    /// One of your recovery codes.
    #[serde(default)]
    pub(super) recovery_code: Option<RecoveryCode>,
}

/// Request to make another member the owner.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Transfer {
    /// The new owner, who is a member.
    pub(super) user_id: UserId,
    /// Your password.
    pub(super) password: TriedPassword,
    /// Code of the authenticator app. This or a recovery code is required if you have a second factor.
    #[serde(default)]
    pub(super) code: Option<TotpCode>,
    /// One of your recovery codes.
    #[serde(default)]
    pub(super) recovery_code: Option<RecoveryCode>,
}
