//! What happens at Stripe.

use std::time::Duration;

use groundwork_dev::stripe::{Outcome, PortalAct};
use serde_json::{Value, json};

use crate::kit::stripe::StripeApp;
use crate::organisations::property::Numbers;

const PRICES: [&str; 4] = [
    "price_pro",
    "price_pro_year",
    "price_enterprise",
    "price_other",
];

/// What happens to a customer, by its position.
#[derive(Clone, Debug)]
pub struct Act {
    customer: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Buy(&'static str, Outcome, i64, bool),
    ChangePrice(&'static str),
    ChangeQuantity(usize),
    CancelInPortal,
    ResumeInPortal,
    CancelAtPeriodEnd,
    Delete,
    NewCard(&'static str),
    PayInvoice,
    VoidInvoice,
    Refund(Option<i64>),
    Dispute,
    CloseDispute(bool),
    Pay(&'static str),
    Authenticate(bool),
    Pause(bool),
    Touch(usize),
    Advance(u64),
}

impl Act {
    pub fn random(numbers: &mut Numbers, customers: usize) -> Self {
        use Outcome::{Declined, Paid, PaidThenFails};
        let customer = numbers.below(customers);
        let is = numbers.below(2) == 0;
        let kind = match numbers.below(30) {
            0..=5 => {
                let outcome = [Paid, Paid, PaidThenFails, Declined][numbers.below(4)];
                let trial = [0, 0, 0, 5][numbers.below(4)];
                Kind::Buy(PRICES[numbers.below(4)], outcome, trial, is)
            }
            6 => Kind::ChangePrice(PRICES[numbers.below(4)]),
            7 => Kind::ChangeQuantity(1 + numbers.below(5)),
            8 => Kind::CancelInPortal,
            9 => Kind::ResumeInPortal,
            10 => Kind::CancelAtPeriodEnd,
            11 => Kind::Delete,
            12..=13 => Kind::NewCard(if is {
                "pm_card_visa"
            } else {
                "pm_card_chargeCustomerFail"
            }),
            14 => Kind::PayInvoice,
            15 => Kind::VoidInvoice,
            16..=17 => Kind::Refund(is.then_some(100)),
            18 => Kind::Dispute,
            19 => Kind::CloseDispute(is),
            20..=22 => Kind::Pay(
                [
                    "pm_card_visa",
                    "pm_card_chargeDeclined",
                    "pm_card_authenticationRequired",
                ][numbers.below(3)],
            ),
            23 => Kind::Authenticate(is),
            24 => Kind::Pause(is),
            25 => Kind::Touch(numbers.below(1_000)),
            _ => Kind::Advance([1, 2, 5, 31][numbers.below(4)]),
        };
        Self { customer, kind }
    }

    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Buy(_, Outcome::Declined, ..) => "declined checkout",
            Kind::Buy(..) => "checkout",
            Kind::ChangePrice(_) => "price",
            Kind::ChangeQuantity(_) => "quantity",
            Kind::CancelInPortal => "cancel in the portal",
            Kind::ResumeInPortal => "resume",
            Kind::CancelAtPeriodEnd => "cancel",
            Kind::Delete => "delete",
            Kind::NewCard(_) => "card",
            Kind::PayInvoice => "pay invoice",
            Kind::VoidInvoice => "void invoice",
            Kind::Refund(_) => "refund",
            Kind::Dispute => "dispute",
            Kind::CloseDispute(_) => "close dispute",
            Kind::Pay(_) => "payment",
            Kind::Authenticate(_) => "authenticate",
            Kind::Pause(_) => "pause",
            Kind::Touch(_) => "metadata",
            Kind::Advance(_) => "clock",
        }
    }

    /// Returns whether Stripe did it.
    pub async fn perform(&self, it: &StripeApp, customers: &[String]) -> bool {
        let customer = &customers[self.customer];
        if let Kind::Advance(days) = self.kind {
            it.advance(Duration::from_hours(24 * days + 2)).await;
            return true;
        }
        self.act(it, customer).is_some()
    }

    fn act(&self, it: &StripeApp, customer: &str) -> Option<()> {
        let account = &it.account;
        let newest = |kind: &str, fits: &dyn Fn(&Value) -> bool| {
            let all = account.objects(kind).into_iter().rev();
            let mut own = all.filter(|it| it["customer"] == *customer && fits(it));
            Some(own.next()?["id"].as_str()?.to_owned())
        };
        let living = || {
            newest("subscription", &|it| {
                it["status"] != "canceled" && it["status"] != "incomplete_expired"
            })
        };
        let update = |change: Value| account.update_subscription(&living()?, &change).ok();
        let portal = |act: &PortalAct| account.portal(customer, act).ok();
        let post = |path: String, body: Value| account.call("POST", &path, &body).ok();
        match &self.kind {
            Kind::Buy(price, outcome, trial, is_ours) => {
                let mut data = json!({});
                if *trial > 0 {
                    data["trial_period_days"] = json!(trial);
                }
                if *is_ours {
                    data["metadata"] = json!({ "checkout_id": "01980b6e-7c00-7000-8000-3f2a51d6c9b1" });
                }
                let session = json!({
                    "mode": "subscription", "customer": customer, "success_url": "https://example.com",
                    "line_items": [{ "price": price, "quantity": 1 }], "subscription_data": data,
                });
                let session = post("/v1/checkout/sessions".to_owned(), session)?;
                account.pay_checkout(session["id"].as_str()?, *outcome).ok()
            }
            Kind::ChangePrice(price) => portal(&PortalAct::ChangePrice((*price).to_owned())),
            Kind::ChangeQuantity(quantity) => {
                let subscription = account.object(&living()?)?;
                let item = &subscription["items"]["data"][0]["id"];
                update(json!({ "items": [{ "id": item, "quantity": quantity }] }))
            }
            Kind::CancelInPortal => portal(&PortalAct::Cancel),
            Kind::ResumeInPortal => portal(&PortalAct::Resume),
            Kind::CancelAtPeriodEnd => update(json!({ "cancel_at_period_end": true })),
            Kind::Delete => account.cancel_subscription(&living()?).ok(),
            Kind::NewCard(card) => portal(&PortalAct::NewCard((*card).to_owned())),
            Kind::PayInvoice | Kind::VoidInvoice => {
                let open = newest("invoice", &|it| it["status"] == "open")?;
                let verb = if matches!(self.kind, Kind::PayInvoice) { "pay" } else { "void" };
                post(format!("/v1/invoices/{open}/{verb}"), json!({}))
            }
            Kind::Refund(amount) => {
                let charge = newest("charge", &|it| it["paid"] == true && it["refunded"] == false)?;
                account.refund(&charge, *amount).ok()
            }
            Kind::Dispute => {
                let charge = newest("charge", &|it| it["paid"] == true && it["disputed"] == false)?;
                account.dispute(&charge, "fraudulent").ok()
            }
            Kind::CloseDispute(won) => {
                let charges = account.objects("charge").into_iter();
                let own: Vec<_> = charges.filter(|it| it["customer"] == *customer).map(|it| it["id"].clone()).collect();
                let disputes = account.objects("dispute").into_iter();
                let mut open = disputes.filter(|it| it["status"] == "needs_response" && own.contains(&it["charge"]));
                account.close_dispute(open.next()?["id"].as_str()?, *won).ok()
            }
            Kind::Pay(card) => {
                let body = json!({ "amount": 700, "currency": "usd", "customer": customer });
                let intent = post("/v1/payment_intents".to_owned(), body)?;
                account.confirm_payment_intent(intent["id"].as_str()?, card).ok()
            }
            Kind::Authenticate(approved) => {
                let intent = newest("payment_intent", &|it| it["status"] == "requires_action")?;
                account.authenticate(&intent, *approved).ok()
            }
            Kind::Pause(is_on) => {
                let behavior = json!({ "pause_collection": { "behavior": "void" } });
                update(if *is_on { behavior } else { json!({ "pause_collection": "" }) })
            }
            Kind::Touch(value) => update(json!({ "metadata": { "touched": value.to_string() } })),
            Kind::Advance(_) => None,
        }
        .map(|_| ())
    }
}
