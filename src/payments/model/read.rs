//! Payments as read from Stripe.

use chrono::{DateTime, Utc};
use stripe_client::shared::{self, Charge, DisputeStatus, PaymentIntent, PaymentIntentStatus};

use super::PaymentStatus;
use crate::ids::PaymentId;

/// Name of the payment's id in the metadata of a payment intent.
pub(in crate::payments) const PAYMENT: &str = "payment_id";

/// Longest text that is stored.
const MAX_TEXT: usize = 1_000;

/// A payment intent, with what its charge and disputes add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::payments) struct ReadPayment {
    pub(in crate::payments) intent: String,
    /// From the metadata, which does not prove that the row is the account's.
    pub(in crate::payments) payment_id: Option<PaymentId>,
    pub(in crate::payments) charge: Option<String>,
    pub(in crate::payments) invoice: Option<String>,
    pub(in crate::payments) amount: i64,
    pub(in crate::payments) amount_refunded: i64,
    /// In upper case.
    pub(in crate::payments) currency: String,
    pub(in crate::payments) status: PaymentStatus,
    pub(in crate::payments) description: Option<String>,
    pub(in crate::payments) failure_code: Option<String>,
    pub(in crate::payments) dispute_status: Option<String>,
    pub(in crate::payments) created_at: DateTime<Utc>,
}

fn charge_of(intent: &PaymentIntent) -> Option<&Charge> {
    intent.latest_charge.as_ref()?.as_object()
}

impl ReadPayment {
    pub(in crate::payments) fn of(intent: &PaymentIntent, disputes: &[shared::Dispute]) -> Self {
        let charge = charge_of(intent);
        let refunded = charge.map_or(0, |charge| charge.amount_refunded);
        let worst = disputes
            .iter()
            .filter_map(|dispute| Some((Dispute::of(&dispute.status)?, dispute)))
            .max_by_key(|(state, _)| *state);
        let shown = worst.map(|(_, dispute)| dispute).or(disputes.first());
        // A dispute that cannot be read is taken for an open one.
        let is_unread = disputes.is_empty() && charge.is_some_and(|charge| charge.disputed);
        let dispute = worst.map(|(state, _)| state);
        let failure_code = failure_code(intent);
        let status = PaymentStatus::of(&Facts {
            intent: &intent.status,
            is_declined: failure_code.is_some(),
            amount_refunded: refunded,
            is_refunded: charge.is_some_and(|charge| charge.refunded),
            dispute: dispute.or(is_unread.then_some(Dispute::Open)),
        });
        if status == PaymentStatus::Unknown {
            let (intent, status) = (intent.id.as_str(), intent.status.as_str());
            tracing::warn!(intent, status, "a payment intent has an unknown status");
        }
        let details = intent.payment_details.as_ref();
        let invoice = details.and_then(|details| details.order_reference.clone());
        Self {
            intent: intent.id.to_string(),
            payment_id: intent
                .metadata
                .get(PAYMENT)
                .and_then(|id| id.parse().ok())
                .map(PaymentId),
            charge: intent
                .latest_charge
                .as_ref()
                .map(|charge| charge.id().to_string()),
            invoice: invoice.filter(|id| id.starts_with("in_")),
            amount: intent.amount,
            amount_refunded: refunded,
            currency: intent.currency.to_string().to_ascii_uppercase(),
            status,
            description: intent.description.as_deref().map(shortened),
            failure_code: failure_code.as_deref().map(shortened),
            dispute_status: shown.map(|dispute| shortened(dispute.status.as_str())),
            created_at: DateTime::from_timestamp(intent.created, 0).unwrap_or_default(),
        }
    }

    /// Whether the table accepts it.
    pub(in crate::payments) fn is_storable(&self) -> bool {
        let is_code =
            self.currency.len() == 3 && self.currency.bytes().all(|byte| byte.is_ascii_uppercase());
        is_code && self.amount >= 0 && self.amount_refunded >= 0
    }
}

/// Why the last attempt was declined; `None` once the payment has gone on.
fn failure_code(intent: &PaymentIntent) -> Option<String> {
    let error = intent.last_payment_error.as_ref()?;
    let code = error.code.as_ref().map(|code| code.as_str().to_owned());
    let code = error.decline_code.clone().or(code);
    code.or_else(|| Some("declined".to_owned()))
}

fn shortened(text: &str) -> String {
    let text = text.chars().filter(|c| *c != '\0');
    text.take(MAX_TEXT).collect()
}

impl PaymentStatus {
    pub(in crate::payments) fn of(facts: &Facts<'_>) -> Self {
        use PaymentIntentStatus as At;
        match facts.intent {
            At::Canceled => Self::Canceled,
            At::Processing => Self::Processing,
            At::RequiresAction => Self::RequiresAction,
            At::RequiresCapture => Self::RequiresCapture,
            At::RequiresConfirmation => Self::RequiresConfirmation,
            At::RequiresPaymentMethod if facts.is_declined => Self::Failed,
            At::RequiresPaymentMethod => Self::RequiresPaymentMethod,
            At::Succeeded => Self::of_received(facts),
            _ => Self::Unknown,
        }
    }

    /// Status of money that was received.
    fn of_received(facts: &Facts<'_>) -> Self {
        match facts.dispute {
            Some(Dispute::Open) => Self::Disputed,
            Some(Dispute::Lost) => Self::DisputeLost,
            _ if facts.is_refunded => Self::Refunded,
            _ if facts.amount_refunded > 0 => Self::PartiallyRefunded,
            Some(Dispute::Won) => Self::DisputeWon,
            None => Self::Succeeded,
        }
    }
}

/// What the status of a payment follows from.
#[derive(Clone, Copy, Debug)]
pub(in crate::payments) struct Facts<'a> {
    pub(in crate::payments) intent: &'a PaymentIntentStatus,
    /// Whether the last attempt was declined.
    pub(in crate::payments) is_declined: bool,
    pub(in crate::payments) amount_refunded: i64,
    /// In full.
    pub(in crate::payments) is_refunded: bool,
    pub(in crate::payments) dispute: Option<Dispute>,
}

/// State of a dispute in which money was taken back. An inquiry is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::payments) enum Dispute {
    Won,
    Lost,
    Open,
}

impl Dispute {
    pub(in crate::payments) fn of(status: &DisputeStatus) -> Option<Self> {
        match status {
            DisputeStatus::Won => Some(Self::Won),
            DisputeStatus::Lost => Some(Self::Lost),
            DisputeStatus::WarningClosed
            | DisputeStatus::WarningNeedsResponse
            | DisputeStatus::WarningUnderReview
            | DisputeStatus::Prevented => None,
            _ => Some(Self::Open),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(
        intent: &PaymentIntentStatus,
        refunded: i64,
        dispute: Option<Dispute>,
    ) -> PaymentStatus {
        PaymentStatus::of(&Facts {
            intent,
            is_declined: false,
            amount_refunded: refunded,
            is_refunded: refunded == 1_000,
            dispute,
        })
    }

    #[test]
    fn a_status_follows_from_the_intent_the_refunds_and_the_dispute() {
        use PaymentIntentStatus as At;
        use PaymentStatus as Is;
        let odd = At::Unknown("requires_review".to_owned());
        for (intent, refunded, dispute, expected) in [
            (
                &At::RequiresPaymentMethod,
                0,
                None,
                Is::RequiresPaymentMethod,
            ),
            (&At::RequiresConfirmation, 0, None, Is::RequiresConfirmation),
            (&At::RequiresAction, 0, None, Is::RequiresAction),
            (&At::RequiresCapture, 0, None, Is::RequiresCapture),
            (&At::Processing, 0, None, Is::Processing),
            (&At::Canceled, 0, None, Is::Canceled),
            (&odd, 0, None, Is::Unknown),
            (&At::Succeeded, 0, None, Is::Succeeded),
            (&At::Succeeded, 400, None, Is::PartiallyRefunded),
            (&At::Succeeded, 1_000, None, Is::Refunded),
            (&At::Succeeded, 0, Some(Dispute::Open), Is::Disputed),
            (&At::Succeeded, 400, Some(Dispute::Open), Is::Disputed),
            (&At::Succeeded, 0, Some(Dispute::Lost), Is::DisputeLost),
            (&At::Succeeded, 0, Some(Dispute::Won), Is::DisputeWon),
            (
                &At::Succeeded,
                400,
                Some(Dispute::Won),
                Is::PartiallyRefunded,
            ),
        ] {
            assert_eq!(status(intent, refunded, dispute), expected);
        }
        let declined = PaymentStatus::of(&Facts {
            intent: &At::RequiresPaymentMethod,
            is_declined: true,
            amount_refunded: 0,
            is_refunded: false,
            dispute: None,
        });
        assert_eq!(declined, Is::Failed);
    }

    #[test]
    fn an_inquiry_is_no_dispute_and_an_unknown_one_is_open() {
        let odd = DisputeStatus::Unknown("in_heaven".to_owned());
        for (at, expected) in [
            (DisputeStatus::WarningNeedsResponse, None),
            (DisputeStatus::WarningClosed, None),
            (DisputeStatus::Prevented, None),
            (DisputeStatus::NeedsResponse, Some(Dispute::Open)),
            (DisputeStatus::UnderReview, Some(Dispute::Open)),
            (DisputeStatus::Won, Some(Dispute::Won)),
            (DisputeStatus::Lost, Some(Dispute::Lost)),
            (odd, Some(Dispute::Open)),
        ] {
            assert_eq!(Dispute::of(&at), expected);
        }
    }
}
