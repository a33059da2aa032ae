//! Exchanges recorded at Stripe, replayed against the fake: same statuses, same fields.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use groundwork_dev::stripe::{Catalog, CatalogPrice, CatalogProduct, Interval};
use serde_json::{Value, json};

use crate::{schema::stripe_data, support::Fake};

/// Fields that only the recorded version has, or that depend on settings of the recorded account.
const ONLY_RECORDED: &[&str] = &[
    "payment_method_options.acss_debit",
    "payment_method_options.afterpay_clearpay",
    "payment_method_options.alipay",
    "payment_method_options.cashapp",
    "payment_method_options.klarna",
    "payment_method_options.link",
    "payment_method_options.us_bank_account",
    "payment_method_options.wechat_pay",
];

/// Fields of the newer version 2026-09-30.endive, and those that the recordings lack by chance.
const ONLY_FAKE: &[&str] = &[
    "allowed_payment_method_types",
    "billing_schedules",
    "cancellation_details.feedback_option",
    "current_trial",
    "customer_account",
    "invoice_settings.custom_fields",
    "invoice_settings.description",
    "invoice_settings.footer",
    "invoiceitem net_amount",
    "invoiceitem quantity_decimal",
    "lines.data[].quantity_decimal",
    "lines.data[].subscription",
    "lines.data[].subtotal",
    "managed_payments",
    "payment_details",
    "payment_record",
    "refund customer",
    "refund payment_method",
    "trial_settings.end_behavior.billing_cycle_anchor",
];

/// Fields whose inside is not compared: the recorded account's charges settle later than the
/// answer, and its authentication carries certificates.
const INSIDE_DIFFERS: &[&str] = &["balance_transaction", "next_action.use_stripe_sdk"];

#[tokio::test]
async fn recorded_exchanges_have_the_same_statuses_and_fields() {
    let Some(folder) = stripe_data() else { return };
    let mut faults = BTreeSet::new();
    let mut files: Vec<_> = fs::read_dir(folder.join("recorded"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let exchanges: Vec<Value> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let fake = recorded_account().await;
        let mut ids = BTreeMap::new();
        for exchange in exchanges {
            replay(&fake, &name, &exchange, &mut ids, &mut faults).await;
        }
    }
    assert!(
        faults.is_empty(),
        "{} differences:\n{faults:#?}",
        faults.len()
    );
}

/// A fake with the catalog of the recorded account.
async fn recorded_account() -> Fake {
    let fake = Fake::start().await;
    let price = |id: &str, amount, interval| CatalogPrice {
        id: id.into(),
        amount: Some(amount),
        amount_decimal: None,
        currency: "usd".into(),
        interval,
        active: true,
    };
    fake.account.seed(&Catalog {
        products: vec![CatalogProduct {
            id: "prod_EYTX7RYhRjcwKD".into(),
            name: "Test Subscription".into(),
            prices: vec![
                price("default", 1000, Interval::Month),
                price("small-monthly", 2500, Interval::Month),
                price("small-annual", 25000, Interval::Year),
                price("price_1ILVZaKXBGcbgpbZQ26kgXWG", 1500, Interval::Once),
            ],
        }],
        portal: true,
        ..Catalog::default()
    });
    for (id, percent) in [("10OFF", 10), ("sirmAxRi", 50)] {
        let form = json!({ "id": id, "percent_off": percent, "duration": "forever" });
        fake.account.call("POST", "/v1/coupons", &form).unwrap();
    }
    fake
}

async fn replay(
    fake: &Fake,
    name: &str,
    exchange: &Value,
    ids: &mut BTreeMap<String, String>,
    faults: &mut BTreeSet<String>,
) {
    // The longest first: some fields hold the beginning of an id.
    let mut known: Vec<(&String, &String)> = ids.iter().collect();
    known.sort_by_key(|(theirs, _)| std::cmp::Reverse(theirs.len()));
    let with_ids = |text: &str| {
        known.iter().fold(text.to_owned(), |text, (theirs, ours)| {
            text.replace(*theirs, ours)
        })
    };
    let path = with_ids(exchange["path"].as_str().unwrap());
    let form = with_ids(exchange["params"].as_str().unwrap_or_default());
    let answer = fake
        .send(exchange["method"].as_str().unwrap(), &path, &form, None)
        .await
        .unwrap();
    let at = format!(
        "{name} {} {}",
        exchange["method"].as_str().unwrap(),
        path.split('?').next().unwrap()
    );
    if exchange["status"] != answer.status {
        faults.insert(format!(
            "{at}: status {} instead of {}: {}",
            answer.status, exchange["status"], answer.body
        ));
        return;
    }
    let (mut theirs, mut ours) = (BTreeSet::new(), BTreeSet::new());
    fields(&exchange["body"], "", &mut theirs);
    fields(&answer.body, "", &mut ours);
    let kind = exchange["body"]["object"].as_str().unwrap_or("error");
    for (set, other, sign, excepted) in [
        (&theirs, &ours, "-", ONLY_RECORDED),
        (&ours, &theirs, "+", ONLY_FAKE),
    ] {
        for field in set.difference(other) {
            let parent_is_there = field
                .rsplit_once('.')
                .is_none_or(|(parent, _)| other.contains(parent));
            let named = format!("{kind} {field}");
            let is_excepted = excepted.iter().any(|exception| named.ends_with(exception));
            if parent_is_there && !is_excepted && !field.ends_with("[]") {
                faults.insert(format!("{sign} {named}"));
            }
        }
    }
    let (mut theirs, mut ours) = (BTreeMap::new(), BTreeMap::new());
    values(&exchange["body"], "", &mut theirs);
    values(&answer.body, "", &mut ours);
    for (field, value) in theirs {
        if ours.get(&field).is_some_and(|ours| *ours != value) {
            faults.insert(format!("{at} {field}: {} instead of {value}", ours[&field]));
        }
    }
    learn(&exchange["body"], &answer.body, ids);
}

/// Fields whose values are compared besides.
const COMPARED: &[&str] = &[
    "amount",
    "amount_due",
    "amount_paid",
    "amount_received",
    "amount_refunded",
    "amount_remaining",
    "amount_requested",
    "amount_total",
    "attempt_count",
    "attempted",
    "auto_advance",
    "billing_reason",
    "cancel_at_period_end",
    "code",
    "currency",
    "decline_code",
    "object",
    "paid",
    "param",
    "payment_status",
    "quantity",
    "refunded",
    "status",
    "subtotal",
    "total",
    "type",
];

/// Values of the compared fields by their paths.
fn values(value: &Value, at: &str, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = format!("{at}.{name}");
                if COMPARED.contains(&name.as_str()) && !value.is_object() {
                    out.insert(path.clone(), value.clone());
                }
                if !INSIDE_DIFFERS.iter().any(|field| path.ends_with(field)) {
                    values(value, &path, out);
                }
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                values(item, &format!("{at}[{place}]"), out);
            }
        }
        _ => {}
    }
}

/// Paths of all fields; the elements of a list share theirs.
fn fields(value: &Value, at: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                out.insert(path.clone());
                if name != "metadata" && !INSIDE_DIFFERS.iter().any(|field| path.ends_with(field)) {
                    fields(value, &path, out);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                out.insert(format!("{at}[]"));
                fields(item, &format!("{at}[]"), out);
            }
        }
        _ => {}
    }
}

/// Remembers which id of the fake stands for a recorded one.
fn learn(theirs: &Value, ours: &Value, ids: &mut BTreeMap<String, String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, value) in theirs {
                learn(value, ours.get(name).unwrap_or(&Value::Null), ids);
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            for (theirs, ours) in theirs.iter().zip(ours) {
                learn(theirs, ours, ids);
            }
        }
        (Value::String(theirs), Value::String(ours)) => {
            let is_id =
                theirs.len() > 15 && theirs.contains('_') && !theirs.contains(['/', ' ', '@', '-']);
            if is_id && theirs.split('_').next() == ours.split('_').next() {
                ids.insert(theirs.clone(), ours.clone());
            }
        }
        _ => {}
    }
}
