//! Invoices.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::InvoiceId;

/// Invoice of an account. Amounts are in minor units of the currency, such as cents.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Invoice {
    /// Id of the invoice.
    pub(super) id: InvoiceId,
    /// Number on the invoice.
    #[schema(example = "A1B2C3D4-0001")]
    pub(super) number: Option<String>,
    /// Status.
    pub(super) status: InvoiceStatus,
    /// Total.
    #[schema(example = 2_900)]
    pub(super) total: i64,
    /// Part of the total that is charged, after credit.
    #[schema(example = 2_900)]
    pub(super) amount_due: i64,
    /// Paid part.
    #[schema(example = 2_900)]
    pub(super) amount_paid: i64,
    /// Unpaid part.
    #[schema(example = 0)]
    pub(super) amount_remaining: i64,
    /// Currency (ISO 4217).
    #[schema(example = "USD", min_length = 3, max_length = 3)]
    pub(super) currency: String,
    /// Page at Stripe that shows the invoice, and where an open one can be paid.
    #[schema(example = "https://invoice.stripe.com/i/acct_1Qx2/test_9nT")]
    pub(super) hosted_url: Option<String>,
    /// The invoice as PDF, at Stripe.
    #[schema(example = "https://pay.stripe.com/invoice/acct_1Qx2/test_9nT/pdf")]
    pub(super) pdf_url: Option<String>,
    /// Start of the billing period.
    pub(super) period_start: DateTime<Utc>,
    /// End of the billing period.
    pub(super) period_end: DateTime<Utc>,
    /// Time at which the invoice was created.
    pub(super) created_at: DateTime<Utc>,
}

/// Status of an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum InvoiceStatus {
    /// To be paid.
    Open,
    /// Paid.
    Paid,
    /// Given up.
    Uncollectible,
    /// Void.
    Void,
}
