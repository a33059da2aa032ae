//! Objects of the fake as the types of async-stripe read them.

use serde_json::Value;
use stripe_client::{
    billing::{BillingMeter, BillingPortalConfiguration, BillingPortalSession},
    shared::{
        BalanceTransaction, Charge, CheckoutSession, Coupon, Customer, Discount, Dispute, Event,
        Invoice, InvoicePayment, PaymentIntent, PaymentMethod, Price, Product, PromotionCode,
        Refund, SetupIntent, Subscription, TestHelpersTestClock,
    },
};

use crate::{schema::live, support::Fake};

/// Reads every object of a kind as a type, and returns those that it refuses.
fn refused<T: miniserde::Deserialize>(fake: &Fake, kind: &str) -> Vec<String> {
    let objects = fake.account.objects(kind);
    assert!(!objects.is_empty(), "no {kind} was made");
    let fails = |object: &&Value| miniserde::json::from_str::<T>(&object.to_string()).is_err();
    objects
        .iter()
        .filter(fails)
        .map(|object| format!("{} {}", object["id"], object["type"]))
        .collect()
}

#[tokio::test]
async fn async_stripe_reads_every_object() {
    let fake = Fake::start().await;
    live(&fake).await;
    let all = [
        refused::<BalanceTransaction>(&fake, "balance_transaction"),
        refused::<BillingMeter>(&fake, "billing.meter"),
        refused::<BillingPortalConfiguration>(&fake, "billing_portal.configuration"),
        refused::<BillingPortalSession>(&fake, "billing_portal.session"),
        refused::<Charge>(&fake, "charge"),
        refused::<CheckoutSession>(&fake, "checkout.session"),
        refused::<Coupon>(&fake, "coupon"),
        refused::<Customer>(&fake, "customer"),
        refused::<Discount>(&fake, "discount"),
        refused::<Dispute>(&fake, "dispute"),
        refused::<Event>(&fake, "event"),
        refused::<Invoice>(&fake, "invoice"),
        refused::<InvoicePayment>(&fake, "invoice_payment"),
        refused::<PaymentIntent>(&fake, "payment_intent"),
        refused::<PaymentMethod>(&fake, "payment_method"),
        refused::<Price>(&fake, "price"),
        refused::<Product>(&fake, "product"),
        refused::<PromotionCode>(&fake, "promotion_code"),
        refused::<Refund>(&fake, "refund"),
        refused::<SetupIntent>(&fake, "setup_intent"),
        refused::<Subscription>(&fake, "subscription"),
        refused::<TestHelpersTestClock>(&fake, "test_helpers.test_clock"),
    ];
    assert_eq!(all.concat(), Vec::<String>::new());
}
