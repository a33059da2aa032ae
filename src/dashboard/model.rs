//! What the dashboard shows.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::UserId;
use crate::plans::{Offer, Payment, Subscription};
use crate::users::{EmailAddress, PersonName};

/// An account in one look.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Dashboard {
    /// The account.
    pub account: Account,
    /// The plan that it has now.
    pub plan: Offer,
    /// What gives it that plan, or would if it were paid; `null` when it subscribes to nothing.
    pub subscription: Option<Subscription>,
    /// What it called this month.
    pub usage: MonthUsage,
    /// Its last payments, the newest first.
    pub payments: Vec<Payment>,
    /// When all of this was so.
    #[schema(example = "2026-03-14T09:26:53Z")]
    pub as_of: DateTime<Utc>,
}

/// Whose dashboard it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Account {
    /// The account's id.
    pub id: UserId,
    /// Where letters go.
    pub email: EmailAddress,
    /// Given name.
    pub first_name: Option<PersonName>,
    /// Family name.
    pub last_name: Option<PersonName>,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
}

/// The use of a month.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct MonthUsage {
    /// The start of the month, in UTC.
    #[schema(example = "2026-03-01T00:00:00Z")]
    pub period_start: DateTime<Utc>,
    /// The start of the next one.
    #[schema(example = "2026-04-01T00:00:00Z")]
    pub period_end: DateTime<Utc>,
    /// Requests that count towards the quota.
    #[schema(example = 1_234)]
    pub used: i64,
    /// What of the quota is left; `null` is without end.
    #[schema(example = 8_766)]
    pub remaining: Option<i64>,
    /// The days that had requests, the first one first.
    pub days: Vec<DayUsage>,
}

/// The use of a day.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct DayUsage {
    /// When it begins, in UTC.
    #[schema(example = "2026-03-14T00:00:00Z")]
    pub start: DateTime<Utc>,
    /// Requests.
    #[schema(example = 120)]
    pub requests: i64,
    /// Those of them that were refused: answers 400 to 499.
    #[schema(example = 2)]
    pub client_errors: i64,
    /// Those of them that we failed: answers 500 to 599.
    #[schema(example = 0)]
    pub server_errors: i64,
}

/// What the database says of an account.
pub(super) struct Facts {
    pub account: Account,
    pub subscription: Option<Subscription>,
    pub used: i64,
    pub days: Vec<DayUsage>,
    pub payments: Vec<Payment>,
}
