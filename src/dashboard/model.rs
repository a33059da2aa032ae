//! Reply of the dashboard.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::ids::{AccountId, UserId};
use crate::organisations::Slug;
use crate::plans::{Offer, Payment, Subscription};
use crate::users::PersonName;

/// Dashboard of an account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Dashboard {
    /// Account.
    pub account: Account,
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

/// Account of the dashboard.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Account {
    Personal(PersonalAccount),
    Organisation(OrganisationAccount),
}

/// Account of an organisation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OrganisationAccount {
    /// Id of the account.
    pub id: AccountId,
    /// Name of the organisation.
    #[schema(example = "Analytical Engines")]
    pub name: String,
    /// Its name in URLs.
    #[schema(value_type = String, example = "analytical-engines")]
    pub slug: Slug,
    /// Time at which the organisation was created.
    pub created_at: DateTime<Utc>,
}

/// Personal account of a user.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct PersonalAccount {
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

impl Facts {
    /// The account that the row describes: a personal one has an address, an organisation name and slug.
    pub(super) fn account(&mut self, id: AccountId) -> Option<Account> {
        let created_at = self.created_at;
        if let Some(email) = self.email.take() {
            return Some(Account::Personal(PersonalAccount {
                id,
                email,
                first_name: self.first_name.take(),
                last_name: self.last_name.take(),
                created_at,
            }));
        }
        let (name, slug) = (self.name.take()?, self.slug.take()?);
        Some(Account::Organisation(OrganisationAccount {
            id,
            name,
            slug,
            created_at,
        }))
    }
}

/// Row of the dashboard.
pub(super) struct Facts {
    pub created_at: DateTime<Utc>,
    /// Of an organisation.
    pub name: Option<String>,
    /// Of an organisation.
    pub slug: Option<Slug>,
    /// Of a personal account, as are the next two.
    pub email: Option<EmailAddress>,
    pub first_name: Option<PersonName>,
    pub last_name: Option<PersonName>,
    pub subscription: Option<Json<Subscription>>,
    pub used: i64,
    pub days: Json<Vec<DayUsage>>,
    pub payments: Json<Vec<Payment>>,
}
