//! Envelope of an event. It is read leniently, since endpoints of other API versions and thin events have other fields:
//! only what is needed to find the customer counts.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::billing::sync::Areas;

/// The end of the year 9999.
const LATEST: i64 = 253_402_300_799;

/// An event, as far as it is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub id: Option<String>,
    pub kind: String,
    pub api_version: Option<String>,
    pub is_live: Option<bool>,
    /// Of Stripe Connect: the account that the event belongs to.
    pub connected_account: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub customer: Option<String>,
    pub object_id: Option<String>,
    /// Of refunds and disputes, which name no customer.
    pub payment_intent: Option<String>,
    pub charge: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    id: Value,
    #[serde(rename = "type")]
    kind: Value,
    api_version: Value,
    livemode: Value,
    account: Value,
    created: Value,
    data: Value,
}

impl Event {
    /// `None` if the body is no JSON object.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        // A struct with defaults could also be read from an array.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let raw: Raw = serde_json::from_slice(body).ok().filter(|_| is_object)?;
        // Longer texts, and those that PostgreSQL cannot store, name nothing of ours.
        let is_name = |text: &&str| text.len() <= 255 && !text.contains('\0');
        let text = |value: &Value| value.as_str().filter(is_name).map(str::to_owned);
        let id_of = |value: &Value| text(value).or_else(|| text(&value["id"]));
        let object = &raw.data["object"];
        let is_customer = object["object"] == "customer";
        Some(Self {
            id: text(&raw.id).filter(|id| !id.is_empty()),
            kind: text(&raw.kind).unwrap_or_default(),
            api_version: text(&raw.api_version),
            is_live: raw.livemode.as_bool(),
            connected_account: text(&raw.account),
            created_at: raw
                .created
                .as_i64()
                .filter(|seconds| (0..=LATEST).contains(seconds))
                .and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
            customer: id_of(if is_customer {
                &object["id"]
            } else {
                &object["customer"]
            }),
            object_id: id_of(&object["id"]),
            payment_intent: id_of(&object["payment_intent"]),
            charge: id_of(&object["charge"]),
        })
    }
}

/// What a type of event makes necessary to read; `None` if it changes nothing here.
pub(super) fn areas(kind: &str) -> Option<Areas> {
    let (family, _) = kind.rsplit_once('.')?;
    match family {
        "customer.subscription" | "checkout.session" => Some(Areas::SUBSCRIPTIONS),
        "customer" if kind == "customer.deleted" => Some(Areas::SUBSCRIPTIONS),
        // A payment changes the status of its subscription.
        "invoice" | "invoice_payment" => Some(Areas::ALL),
        "payment_intent" | "charge" | "refund" | "charge.refund" | "charge.dispute" => {
            Some(Areas::PAYMENTS)
        }
        _ => None,
    }
}
