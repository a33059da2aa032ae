//! Events in the form of other API versions.

use serde_json::{Value, json};

use super::state::API_VERSION;

/// The first version whose periods are on the items.
const PERIODS_ON_ITEMS: &str = "2025-03-31";

/// An event as an endpoint of a version receives it.
///
/// Older versions get the fields that moved in 2025-03-31 (periods, `invoice.subscription`,
/// `invoice.paid`) at their former places.
pub(super) fn event_for(event: &Value, version: Option<&str>) -> Value {
    let mut event = event.clone();
    let version = version.unwrap_or(API_VERSION);
    event["api_version"] = json!(version);
    if version < PERIODS_ON_ITEMS {
        former_places(&mut event["data"]["object"]);
    }
    event
}

fn former_places(object: &mut Value) {
    match object["object"].as_str() {
        Some("subscription") => {
            for field in ["current_period_start", "current_period_end"] {
                let value = object["items"]["data"][0][field].clone();
                object[field] = value;
                if let Some(items) = object["items"]["data"].as_array_mut() {
                    for item in items.iter_mut().filter_map(Value::as_object_mut) {
                        item.remove(field);
                    }
                }
            }
        }
        Some("invoice") => {
            object["subscription"] =
                object["parent"]["subscription_details"]["subscription"].clone();
            object["paid"] = json!(object["status"] == "paid");
            if let Some(fields) = object.as_object_mut() {
                fields.remove("parent");
            }
        }
        _ => {}
    }
}
