//! Reply of the dashboard.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::ids::{AccountId, UserId};
use crate::organisations::Slug;
use crate::payments::Payment;
use crate::plans::{Offer, Subscription};
use crate::users::PersonName;

/// Dashboard of an account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Dashboard {
    /// Account.
    pub account: AccountInfo,
    /// Current plan.
    pub plan: Offer,
    /// Subscription, also if it is not paid; `null` without one.
    pub subscription: Option<Subscription>,
    /// Usage of this month.
    pub usage: MonthUsage,
    /// Last payments, the newest first.
    pub payments: Vec<Payment>,
    /// Time at which the data was read.
    #[schema(example = "2026-03-14T09:26:53Z")]
    pub as_of: DateTime<Utc>,
}

/// Account of the dashboard: a personal one, or an organisation.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum AccountInfo {
    Personal(Account),
    Organisation(OrganisationAccount),
}

/// Organisation of the dashboard.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OrganisationAccount {
    /// Id of the account.
    pub id: AccountId,
    /// Name.
    #[schema(example = "Acme")]
    pub name: String,
    /// Slug.
    pub slug: Option<Slug>,
    /// Time at which the organisation was created.
    pub created_at: DateTime<Utc>,
}

/// Personal account of the dashboard.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Account {
    /// Id of the account.
    // Keeps the schema's name in the document.
    #[schema(value_type = UserId)]
    pub id: AccountId,
    /// Email address.
    pub email: EmailAddress,
    /// Given name.
    pub first_name: Option<PersonName>,
    /// Family name.
    pub last_name: Option<PersonName>,
    /// Time at which the account was created.
    pub created_at: DateTime<Utc>,
}

/// Usage of a month.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct MonthUsage {
    /// Start of the month, in UTC.
    #[schema(example = "2026-03-01T00:00:00Z")]
    pub period_start: DateTime<Utc>,
    /// Start of the next month.
    #[schema(example = "2026-04-01T00:00:00Z")]
    pub period_end: DateTime<Utc>,
    /// Requests that count towards the quota.
    #[schema(example = 1_234)]
    pub used: i64,
    /// Rest of the quota; `null` is unlimited.
    #[schema(example = 8_766)]
    pub remaining: Option<i64>,
    /// Days with requests, the oldest first.
    pub days: Vec<DayUsage>,
}

/// Usage of a day.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct DayUsage {
    /// Start of the day, in UTC.
    #[schema(example = "2026-03-14T00:00:00Z")]
    pub start: DateTime<Utc>,
    /// Requests.
    #[schema(example = 120)]
    pub requests: i64,
    /// Requests with status 400 to 499.
    #[schema(example = 2)]
    pub client_errors: i64,
    /// Requests with status 500 to 599.
    #[schema(example = 0)]
    pub server_errors: i64,
}

/// Row of the dashboard.
pub(super) struct Facts {
    /// `None` of an organisation.
    pub email: Option<EmailAddress>,
    pub first_name: Option<PersonName>,
    pub last_name: Option<PersonName>,
    /// Of an organisation.
    pub name: Option<String>,
    pub slug: Option<Slug>,
    pub created_at: DateTime<Utc>,
    pub subscription: Option<Json<Subscription>>,
    pub used: i64,
    pub days: Json<Vec<DayUsage>>,
    pub payments: Json<Vec<Payment>>,
}
