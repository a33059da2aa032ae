//! Invoices at Stripe as rows.

use stripe_client::shared::{Invoice, InvoiceStatus};

use crate::billing::model::ProvidedInvoice;
use crate::billing::subscriptions::time;

/// An invoice as a row; `None` for a draft.
pub(in crate::billing) fn provided_invoice(invoice: &Invoice) -> Option<ProvidedInvoice> {
    let status = match invoice.status.as_ref()? {
        InvoiceStatus::Open => "open",
        InvoiceStatus::Paid => "paid",
        InvoiceStatus::Uncollectible => "uncollectible",
        InvoiceStatus::Void => "void",
        _ => return None,
    };
    let parent = invoice.parent.as_ref();
    let subscription = parent.and_then(|parent| parent.subscription_details.as_ref());
    let payments = invoice.payments.iter().flat_map(|list| &list.data);
    Some(ProvidedInvoice {
        stripe_invoice_id: invoice.id.as_ref()?.to_string(),
        stripe_subscription_id: subscription.map(|details| details.subscription.id().to_string()),
        number: invoice.number.clone(),
        status,
        total: invoice.total,
        amount_due: invoice.amount_due,
        amount_paid: invoice.amount_paid,
        amount_remaining: invoice.amount_remaining,
        currency: invoice.currency.to_string().to_ascii_uppercase(),
        attempt_count: invoice.attempt_count.try_into().unwrap_or(i64::MAX),
        next_attempt_at: invoice.next_payment_attempt.map(time),
        hosted_url: invoice.hosted_invoice_url.clone(),
        pdf_url: invoice.invoice_pdf.clone(),
        period_start: time(invoice.period_start),
        period_end: time(invoice.period_end),
        paid_at: invoice.status_transitions.paid_at.map(time),
        created_at: time(invoice.created),
        payment_intents: payments
            .filter_map(|payment| payment.payment.payment_intent.as_ref())
            .map(|intent| intent.id().to_string())
            .collect(),
    })
}
