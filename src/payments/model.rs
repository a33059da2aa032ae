//! Payments, their states, and the rules of a new one.

use std::fmt;

use chrono::{DateTime, Utc};
use http_toolkit::one_line_types;
use serde::{Deserialize, Serialize};
use stripe_client::CurrencyRules;
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use crate::config::PaymentsConfig;
use crate::ids::PaymentId;

mod read;

pub(super) use read::{PAYMENT, ReadPayment};

/// Payment of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payment {
    /// Id of the payment.
    pub id: PaymentId,
    /// In minor units of the currency, such as cents.
    #[schema(example = 2_900)]
    pub amount: i64,
    /// Refunded part of the amount.
    #[schema(example = 0)]
    pub amount_refunded: i64,
    /// Currency (ISO 4217).
    #[schema(example = "USD", min_length = 3, max_length = 3)]
    pub currency: String,
    /// Status.
    pub status: PaymentStatus,
    /// Description.
    #[schema(example = "Ten hours of consulting")]
    pub description: Option<String>,
    /// Stripe's code of why the last attempt was declined.
    #[schema(example = "insufficient_funds")]
    pub failure_code: Option<String>,
    /// Stripe's status of the dispute, such as `needs_response`.
    #[schema(example = "needs_response")]
    pub dispute_status: Option<String>,
    /// Time at which the payment was initiated.
    pub created_at: DateTime<Utc>,
}

/// Status of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Stored here, and not confirmed by Stripe yet.
    Pending,
    /// Waits for a payment method.
    RequiresPaymentMethod,
    /// Waits for the payer's confirmation.
    RequiresConfirmation,
    /// Waits for the payer's authentication, such as 3-D Secure.
    RequiresAction,
    /// Authorized, and not captured.
    RequiresCapture,
    /// Being processed.
    Processing,
    /// Received.
    Succeeded,
    /// Declined. The payer can try another payment method.
    Failed,
    /// Canceled without a payment.
    Canceled,
    /// Refunded in part.
    PartiallyRefunded,
    /// Refunded in full.
    Refunded,
    /// Disputed by the payer (chargeback).
    Disputed,
    /// The dispute was decided for the seller: the payment stands.
    DisputeWon,
    /// The dispute was decided for the payer, who has the money back.
    DisputeLost,
    /// A status of Stripe that this release does not know.
    Unknown,
}

impl PaymentStatus {
    /// Name in the database.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresAction => "requires_action",
            Self::RequiresCapture => "requires_capture",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Disputed => "disputed",
            Self::DisputeWon => "dispute_won",
            Self::DisputeLost => "dispute_lost",
            Self::Unknown => "unknown",
        }
    }

    /// Nearest status that the release before knows, for its column.
    pub(super) const fn legacy(self) -> &'static str {
        match self {
            Self::Pending
            | Self::RequiresPaymentMethod
            | Self::RequiresConfirmation
            | Self::RequiresAction
            | Self::RequiresCapture
            | Self::Processing
            | Self::Unknown => "pending",
            Self::Succeeded | Self::DisputeWon => "succeeded",
            Self::Failed | Self::Canceled => "failed",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Disputed | Self::DisputeLost => "disputed",
        }
    }
}

/// Amount in minor units of the currency, such as cents: at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "i64")]
#[schema(value_type = i64, minimum = 1, maximum = 99_999_999, example = 2_900)]
pub(super) struct Amount(i64);

impl Amount {
    pub(super) const fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Amount {
    type Error = &'static str;

    fn try_from(raw: i64) -> Result<Self, &'static str> {
        (raw > 0).then_some(Self(raw)).ok_or("must be at least 1")
    }
}

/// Currency that Stripe charges (ISO 4217), in upper case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[A-Z]{3}$", example = "USD")]
pub(super) struct ChargeCurrency(String);

impl ChargeCurrency {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ChargeCurrency {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let is_known = stripe_client::parse_currency(&raw).is_some();
        is_known
            .then_some(Self(raw))
            .ok_or("must be a currency in upper case, such as USD")
    }
}

one_line_types! {
    /// Description of a payment: 1 to 200 characters in one line.
    #[schema(example = "Ten hours of consulting")]
    pub(super) struct Description(200);
}

/// Request to create a payment.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPayment {
    pub(super) amount: Amount,
    pub(super) currency: ChargeCurrency,
    /// Shown to the payer at Stripe.
    #[serde(default)]
    pub(super) description: Option<Description>,
}

impl NewPayment {
    /// Checks the bounds of the settings and of Stripe.
    pub(super) fn check(&self, config: &PaymentsConfig) -> Result<(), Error> {
        let fault = |field, message| Err(Error::Field { field, message });
        let (code, amount) = (self.currency.as_str(), self.amount.get());
        if !config.currencies.iter().any(|allowed| allowed == code) {
            let allowed = config.currencies.join(", ");
            return fault("currency", format!("must be one of {allowed}"));
        }
        let CurrencyRules { step, smallest, .. } = CurrencyRules::of(code);
        if amount > config.max_amount {
            return fault("amount", format!("must be at most {}", config.max_amount));
        }
        if amount < smallest {
            return fault("amount", format!("must be at least {smallest} in {code}"));
        }
        if amount % step != 0 {
            let message = format!("must be a multiple of {step} in {code}");
            return fault("amount", message);
        }
        Ok(())
    }
}

/// Payment with what the payer's browser needs to pay it.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedPayment {
    #[serde(flatten)]
    pub(super) payment: Payment,
    /// Secret of the payment intent, for Stripe.js in the payer's browser. It permits the payment of this amount and
    /// nothing else.
    #[schema(example = "pi_3Qx2_secret_9nT")]
    pub(super) client_secret: String,
}

impl fmt::Debug for CreatedPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedPayment").finish_non_exhaustive()
    }
}

/// Filter of the list.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PaymentFilter {
    /// Status of the payments.
    #[param(inline)]
    pub(super) status: Option<PaymentStatus>,
}

/// Payment that a refund or a dispute at Stripe names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentRef<'a> {
    Intent(&'a str),
    Charge(&'a str),
}

/// Row of a request whose reply is not stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requested {
    pub(super) id: PaymentId,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) description: Option<String>,
    /// `None` until Stripe has confirmed it.
    pub(super) stripe_payment_intent_id: Option<String>,
    pub(super) created_at: DateTime<Utc>,
}

impl Requested {
    pub(super) fn new(id: PaymentId, new: &NewPayment, now: DateTime<Utc>) -> Self {
        Self {
            id,
            amount: new.amount.get(),
            currency: new.currency.as_str().to_owned(),
            description: new.description.as_ref().map(|it| it.as_str().to_owned()),
            stripe_payment_intent_id: None,
            created_at: now,
        }
    }

    pub(super) fn is_for(&self, new: &NewPayment) -> bool {
        let description = new.description.as_ref().map(Description::as_str);
        self.amount == new.amount.get()
            && self.currency == new.currency.as_str()
            && self.description.as_deref() == description
    }
}
