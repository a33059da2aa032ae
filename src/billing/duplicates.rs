//! The end of a second subscription of an account: two checkouts were paid.

use stripe_client::billing::invoice::ListInvoice;
use stripe_client::core::refund::CreateRefund;
use stripe_client::shared::{Invoice, Refund};
use stripe_client::{CallError, Stripe};

use super::error::Error;
use super::manage::end_now;
use super::queue::EndDuplicate;
use super::sync::{self, Areas};
use crate::audit::Event;
use crate::ctx::Ctx;
use crate::customers;
use crate::scope::{Exception, Scope};
use crate::state::AppState;

impl EndDuplicate {
    pub(super) async fn run_with(&self, state: &AppState) -> Result<(), Error> {
        let ctx = Ctx::system(state);
        let stripe = customers::stripe(state)?;
        let id = &self.subscription;
        match end_now(stripe, id, &format!("end-duplicate-{id}")).await {
            Ok(()) => {}
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
        refund(stripe, id).await?;
        let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
        let customer = customers::find(&mut *tx, self.account_id).await?;
        let entry = Event::DuplicateSubscriptionEnded.in_account(self.account_id);
        tx.audit(entry.detail(serde_json::json!({ "subscription": id })))
            .await?;
        tx.commit().await?;
        if let Some(customer) = customer.and_then(|it| it.stripe_customer_id) {
            sync::sync(&ctx, self.account_id, &customer, Areas::ALL).await?;
        }
        Ok(())
    }
}

/// Refunds every payment of a subscription that is not refunded yet.
async fn refund(stripe: &Stripe, subscription: &str) -> Result<(), CallError> {
    let request = ListInvoice::new()
        .subscription(subscription)
        .expand(["data.payments".to_owned()])
        .limit(100);
    let page = stripe.list::<_, Invoice>(&request).await?;
    let lists = page.objects.iter().filter_map(|it| it.payments.as_ref());
    let payments = lists.flat_map(|list| &list.data);
    let paid = payments.filter(|it| it.status == "paid");
    for intent in paid.filter_map(|it| it.payment.payment_intent.as_ref()) {
        let intent = intent.id().to_string();
        let request = CreateRefund::new().payment_intent(&intent);
        let refunded = stripe.write(&request, &format!("refund-{intent}")).await;
        match refunded.map(|_: Refund| ()) {
            Ok(()) => {}
            Err(error) if error.code() == Some("charge_already_refunded") => {}
            // The bank has taken the money back, or decides about it.
            Err(error) if error.code() == Some("charge_disputed") => {
                tracing::warn!(
                    intent,
                    "a payment of a second subscription is disputed and not refunded"
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
