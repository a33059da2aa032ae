//! Objects and events of the fake against the JSON Schema of Stripe's API version.

use std::{collections::BTreeSet, fs, path::PathBuf};

use groundwork_dev::stripe::{AfterRetries, Outcome, PortalAct};
use serde_json::{Value, json};

use crate::support::Fake;

/// The data beside the repository, unless it is not there.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn stripe_data() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/stripe-data");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}

/// The keywords of JSON Schema that the file uses; another one is a panic.
struct Schema(Value);

impl Schema {
    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let Some(keywords) = schema.as_object() else {
            return;
        };
        for (keyword, wanted) in keywords {
            let fits = match keyword.as_str() {
                "type" => has_type(wanted, value),
                "const" => wanted == value,
                "enum" => wanted.as_array().unwrap().contains(value),
                "pattern" => value.as_str().is_none_or(|text| {
                    text.starts_with(wanted.as_str().unwrap().trim_start_matches('^'))
                }),
                "anyOf" => wanted
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|schema| self.fits(schema, value)),
                "required" => {
                    for name in wanted.as_array().unwrap().iter().filter_map(Value::as_str) {
                        if value.is_object() && value.get(name).is_none() {
                            faults.push(format!("{at}.{name} is missing"));
                        }
                    }
                    true
                }
                "properties" => {
                    for (name, schema) in wanted.as_object().unwrap() {
                        if let Some(value) = value.get(name) {
                            self.check(schema, value, &format!("{at}.{name}"), faults);
                        }
                    }
                    true
                }
                "additionalProperties" => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        self.check(wanted, value, &format!("{at}.{name}"), faults);
                    }
                    true
                }
                "items" => {
                    for (place, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, value, &format!("{at}[{place}]"), faults);
                    }
                    true
                }
                "$ref" => {
                    let name = wanted.as_str().unwrap().trim_start_matches("#/$defs/");
                    self.check(&self.0["$defs"][name], value, at, faults);
                    true
                }
                "allOf" => {
                    for schema in wanted.as_array().unwrap() {
                        self.check(schema, value, at, faults);
                    }
                    true
                }
                "if" => {
                    if self.fits(wanted, value) {
                        self.check(&schema["then"], value, at, faults);
                    }
                    true
                }
                "then" | "examples" | "title" | "description" => true,
                other => panic!("the schema uses {other}"),
            };
            if !fits {
                let shown: String = value.to_string().chars().take(120).collect();
                faults.push(format!(
                    "{at}: {keyword} {} does not fit {shown}",
                    brief(wanted)
                ));
            }
        }
    }

    fn fits(&self, schema: &Value, value: &Value) -> bool {
        let mut faults = Vec::new();
        self.check(schema, value, "", &mut faults);
        faults.is_empty()
    }
}

fn brief(schema: &Value) -> String {
    schema.to_string().chars().take(120).collect()
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("the schema has a type {other}"),
    };
    match wanted {
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        name => is(name.as_str().unwrap()),
    }
}

/// Everything that can happen to an account, at least once.
pub(crate) async fn live(fake: &Fake) {
    let account = &fake.account;
    account.set_after_retries(AfterRetries::Unpaid);
    fake.account
        .add_endpoint("http://127.0.0.1:9/", "whsec_a", None, &["none"]);
    let customer = fake.customer().await;
    let code =
        "&allow_promotion_codes=true&automatic_tax[enabled]=true&customer_update[address]=auto";
    let session = fake.checkout(&customer, code).await;
    let session = session["id"].as_str().unwrap().to_owned();
    account.apply_promotion_code(&session, "HALF").unwrap();
    account
        .pay_checkout(&session, Outcome::Declined)
        .unwrap_err();
    account
        .pay_checkout(&session, Outcome::AuthenticationFailed)
        .unwrap_err();
    account
        .pay_checkout(&session, Outcome::PaidThenFails)
        .unwrap();
    account
        .portal(&customer, &PortalAct::ChangePrice("price_year".into()))
        .unwrap();
    account.portal(&customer, &PortalAct::Cancel).unwrap();
    account.portal(&customer, &PortalAct::Resume).unwrap();
    fake.post(
        "/v1/billing_portal/sessions",
        &format!("customer={customer}"),
    )
    .await;
    let charge = account
        .objects("charge")
        .into_iter()
        .find(|charge| charge["paid"] == true)
        .unwrap();
    account
        .refund(charge["id"].as_str().unwrap(), Some(100))
        .unwrap();
    let dispute = account
        .dispute(charge["id"].as_str().unwrap(), "fraudulent")
        .unwrap();
    account
        .close_dispute(dispute["id"].as_str().unwrap(), false)
        .unwrap();

    let second = fake.customer_with("pm_card_visa").await;
    let trial = "&trial_period_days=14&metadata[a]=b&items[1][price]=price_usage";
    let id = fake.subscribe(&second, trial).await;
    fake.post(
        &format!("/v1/subscriptions/{id}"),
        "pause_collection[behavior]=void",
    )
    .await;
    let third = fake.customer_with("pm_card_authenticationRequired").await;
    fake.subscribe(&third, "").await;
    let setup = format!("mode=setup&customer={second}&currency=usd&success_url=http%3A%2F%2Fa");
    let setup = fake.post("/v1/checkout/sessions", &setup).await.body;
    account
        .pay_checkout(setup["id"].as_str().unwrap(), Outcome::Paid)
        .unwrap();
    fake.post(
        "/v1/payment_intents",
        "amount=500&currency=usd&metadata[a]=b",
    )
    .await;
    fake.checkout(&third, "").await;
    let item = format!("event_name=requests&payload[stripe_customer_id]={second}&payload[value]=3");
    fake.post("/v1/billing/meter_events", &item).await;
    fake.post(
        "/v1/test_helpers/test_clocks",
        &format!("frozen_time={}", account.now()),
    )
    .await;
    fake.post(
        "/v1/prices",
        "currency=eur&unit_amount=5&product_data[name]=Extra",
    )
    .await;
    fake.post("/v1/coupons", "percent_off=12.5&duration=forever")
        .await;
    let now = account.now();
    account.advance_to(now + 500 * 86_400).await;
    account.delete_customer(&second).unwrap();
}

#[tokio::test]
async fn every_object_and_event_fits_the_schema() {
    let Some(folder) = stripe_data() else { return };
    let text = fs::read(folder.join("objects-2026-09-30.endive.schema.json")).unwrap();
    let schema = Schema(serde_json::from_slice(&text).unwrap());
    let fake = Fake::start().await;
    live(&fake).await;
    let mut faults = Vec::new();
    let mut missing = Vec::new();
    for (kind, definition) in schema.0["$defs"].as_object().unwrap() {
        if matches!(kind.as_str(), "entitlements.active_entitlement") {
            continue;
        }
        let objects = objects_of(&fake, kind).await;
        if objects.is_empty() {
            missing.push(kind);
        }
        for object in objects {
            let at = format!("{kind} {} ({})", object["id"], object["type"]);
            schema.check(definition, &object, &at, &mut faults);
        }
    }
    let distinct: BTreeSet<&String> = faults.iter().collect();
    assert!(faults.is_empty(), "{} faults:\n{distinct:#?}", faults.len());
    assert!(missing.is_empty(), "never made: {missing:?}");
}

/// Objects of a kind, also those that are only inside others.
async fn objects_of(fake: &Fake, kind: &str) -> Vec<Value> {
    let inside = |kind: &str, list: &str| -> Vec<Value> {
        let lists = fake.account.objects(kind);
        lists
            .iter()
            .flat_map(|object| object[list]["data"].as_array().unwrap().clone())
            .collect()
    };
    match kind {
        "line_item" => inside("invoice", "lines"),
        "subscription_item" => inside("subscription", "items"),
        "billing.meter_event" => vec![meter_event(fake).await],
        "billing.meter_event_summary" => {
            let event = meter_event(fake).await;
            let customer = event["payload"]["stripe_customer_id"].as_str().unwrap();
            let hour = fake.account.now() / 3600 * 3600;
            let path = format!(
                "/v1/billing/meters/mtr_requests/event_summaries?customer={customer}&start_time={hour}&end_time={}&value_grouping_window=hour",
                hour + 7200
            );
            fake.get(&path).await.body["data"]
                .as_array()
                .unwrap()
                .clone()
        }
        kind => fake.account.objects(kind),
    }
}

async fn meter_event(fake: &Fake) -> Value {
    let customer = fake.customer().await;
    let form =
        format!("event_name=requests&payload[stripe_customer_id]={customer}&payload[value]=3");
    fake.post("/v1/billing/meter_events", &form).await.body
}

#[tokio::test]
async fn events_of_every_type_that_billing_reads_are_made() {
    let fake = Fake::start().await;
    live(&fake).await;
    let made: BTreeSet<String> = fake.event_types().into_iter().collect();
    let wanted = [
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.failed",
        "charge.refunded",
        "charge.succeeded",
        "checkout.session.completed",
        "checkout.session.expired",
        "customer.created",
        "customer.deleted",
        "customer.subscription.created",
        "customer.subscription.deleted",
        "customer.subscription.trial_will_end",
        "customer.subscription.updated",
        "customer.updated",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_action_required",
        "invoice.payment_failed",
        "invoice.payment_succeeded",
        "invoice.updated",
        "invoice.voided",
        "invoice_payment.paid",
        "payment_intent.created",
        "payment_intent.payment_failed",
        "payment_intent.requires_action",
        "payment_intent.succeeded",
        "refund.created",
    ];
    let absent: Vec<&&str> = wanted
        .iter()
        .filter(|kind| !made.contains(**kind))
        .collect();
    assert!(absent.is_empty(), "never emitted: {absent:?}");
    let updates = fake.account.events();
    let update = updates
        .iter()
        .find(|event| event["type"] == "customer.subscription.updated")
        .unwrap();
    assert!(update["data"]["previous_attributes"].is_object());
    assert_eq!(update["api_version"], json!("2026-09-30.endive"));
}
