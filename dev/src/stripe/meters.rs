//! Meters, their events, and summaries by hour or day.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING, field_is},
    state::{State, int, text},
};

const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
const OLDEST: i64 = 35 * DAY;
const FUTURE: i64 = 300;

pub(super) fn value(
    state: &State,
    id: &str,
    name: &str,
    event_name: &str,
    formula: &str,
    window: Option<&str>,
) -> Value {
    let now = state.now();
    json!({
        "id": id, "object": "billing.meter", "created": now,
        "customer_mapping": { "event_payload_key": "stripe_customer_id", "type": "by_id" },
        "default_aggregation": { "formula": formula }, "display_name": name, "event_name": event_name,
        "event_time_window": window, "livemode": state.livemode, "status": "active",
        "status_transitions": { "deactivated_at": null }, "updated": now,
        "value_settings": { "event_payload_key": "value" },
    })
}

pub(super) fn create(state: &mut State, params: &Params) -> Result {
    params.allow("display_name event_name default_aggregation.formula event_time_window customer_mapping.event_payload_key customer_mapping.type value_settings.event_payload_key")?;
    let name = params.required("display_name")?;
    let event_name = params.required("event_name")?;
    let formula = params
        .choice("default_aggregation.formula", &["sum", "count", "last"])?
        .ok_or_else(|| StripeError::parameter_missing("default_aggregation[formula]"))?;
    if active(state, event_name).is_some() {
        return Err(StripeError::invalid(format!(
            "There is already an active meter with event name {event_name}."
        ))
        .param("event_name"));
    }
    let id = state.id("mtr");
    let mut meter = value(
        state,
        &id,
        name,
        event_name,
        formula,
        params.choice("event_time_window", &["hour", "day"])?,
    );
    for hash in ["customer_mapping", "value_settings"] {
        if let Some(key) = params.filled(&format!("{hash}.event_payload_key")) {
            meter[hash]["event_payload_key"] = json!(key);
        }
    }
    state.insert(meter);
    state.emit("billing.meter.created", &id);
    Ok(state.read(&id))
}

fn active<'a>(state: &'a State, event_name: &str) -> Option<&'a Value> {
    state
        .all("billing.meter")
        .find(|meter| meter["event_name"] == event_name && meter["status"] == "active")
}

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("billing.meter", id, "id").cloned()
}

pub(super) fn list(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("status{PAGING}"))?;
    list::page(
        state,
        params,
        "billing.meter",
        "/v1/billing/meters",
        |value| field_is(params, value, "status"),
    )
}

pub(super) fn update(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("display_name")?;
    state.find("billing.meter", id, "id")?;
    state.update(id, "billing.meter.updated", |meter| {
        super::customers::set_text(params, meter, "display_name", "display_name");
    });
    Ok(state.read(id))
}

pub(super) fn set_active(state: &mut State, params: &Params, id: &str, on: bool) -> Result {
    params.allow("")?;
    state.find("billing.meter", id, "id")?;
    let now = state.now();
    let event = if on {
        "billing.meter.reactivated"
    } else {
        "billing.meter.deactivated"
    };
    state.update(id, event, |meter| {
        meter["status"] = json!(if on { "active" } else { "inactive" });
        meter["status_transitions"]["deactivated_at"] = json!((!on).then_some(now));
    });
    Ok(state.read(id))
}

pub(super) fn create_event(state: &mut State, params: &Params) -> Result {
    params.allow("event_name payload.* identifier timestamp")?;
    let event_name = params.required("event_name")?;
    let now = state.now();
    let meter = active(state, event_name)
        .ok_or_else(|| {
            StripeError::invalid(format!(
                "No active meter found for event name {event_name}."
            ))
            .code("no_meter")
        })?
        .clone();
    let timestamp = params.int("timestamp")?.unwrap_or(now);
    if timestamp < now - OLDEST {
        return Err(
            StripeError::invalid("The timestamp must be within the past 35 days.")
                .code("timestamp_too_far_in_past")
                .param("timestamp"),
        );
    }
    if timestamp > now + FUTURE {
        return Err(StripeError::invalid(
            "The timestamp must not be more than 5 minutes in the future.",
        )
        .code("timestamp_in_future")
        .param("timestamp"));
    }
    let customer_key = text(&meter["customer_mapping"], "event_payload_key");
    let customer = params.required(&format!("payload.{customer_key}"))?;
    super::customers::living(state, customer, &format!("payload[{customer_key}]"))?;
    if text(&meter["default_aggregation"], "formula") != "count" {
        let value_key = text(&meter["value_settings"], "event_payload_key");
        params
            .required(&format!("payload.{value_key}"))?
            .parse::<f64>()
            .ok()
            .filter(|value| *value >= 0.0)
            .ok_or_else(|| {
                StripeError::invalid("The value must be a number that is not negative.")
                    .code("meter_event_invalid_value")
                    .param(format!("payload[{value_key}]"))
            })?;
    }
    let identifier = match params.filled("identifier") {
        Some(identifier) => {
            let known = state.meter_events.iter().rev().any(|event| {
                event["identifier"] == identifier && int(event, "created") > now - DAY
            });
            if known {
                return Err(StripeError::invalid(format!(
                    "An event already exists with identifier {identifier}."
                ))
                .code("duplicate_meter_event")
                .param("identifier"));
            }
            identifier.to_owned()
        }
        None => state.id("mevt"),
    };
    let event = json!({
        "object": "billing.meter_event", "created": now, "event_name": event_name, "identifier": identifier,
        "livemode": state.livemode, "payload": params.metadata("payload"), "timestamp": timestamp,
    });
    state.meter_events.push(event.clone());
    Ok(event)
}

/// The events of a meter's customer in a period, the oldest first.
fn events_in(
    state: &State,
    meter: &Value,
    customer: &str,
    (start, end): (i64, i64),
) -> Vec<(i64, f64)> {
    let customer_key = text(&meter["customer_mapping"], "event_payload_key");
    let value_key = text(&meter["value_settings"], "event_payload_key");
    let mut found: Vec<(i64, f64)> = state
        .meter_events
        .iter()
        .filter(|event| {
            event["event_name"] == meter["event_name"]
                && event["payload"][customer_key] == customer
                && (start..end).contains(&int(event, "timestamp"))
        })
        .map(|event| {
            let value = text(&event["payload"], value_key).parse().unwrap_or(0.0);
            (int(event, "timestamp"), value)
        })
        .collect();
    found.sort_by_key(|(at, _)| *at);
    found
}

fn aggregate(meter: &Value, events: &[(i64, f64)]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let count = events.len() as f64;
    match text(&meter["default_aggregation"], "formula") {
        "count" => count,
        "last" => {
            // With a window the last value of each window counts, and the windows are summed.
            let Some(window) = window_of(meter) else {
                return events.last().map_or(0.0, |(_, value)| *value);
            };
            let lasts: BTreeMap<i64, f64> = events
                .iter()
                .map(|(at, value)| (at / window, *value))
                .collect();
            lasts.values().sum()
        }
        _ => events.iter().map(|(_, value)| value).sum(),
    }
}

fn window_of(meter: &Value) -> Option<i64> {
    match meter["event_time_window"].as_str()? {
        "hour" => Some(HOUR),
        _ => Some(DAY),
    }
}

/// What a meter counted for a customer in a period.
pub(super) fn total(state: &State, meter: &str, customer: &str, period: (i64, i64)) -> i64 {
    let meter = state.read(meter);
    let events = events_in(state, &meter, customer, period);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a quantity is far below 2^63"
    )]
    let total = aggregate(&meter, &events).round() as i64;
    total
}

pub(super) fn summaries(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow(
        "customer start_time end_time value_grouping_window limit starting_after ending_before",
    )?;
    let meter = state.find("billing.meter", id, "id")?.clone();
    let customer = params.required("customer")?.to_owned();
    super::customers::living(state, &customer, "customer")?;
    let start = params.required_int("start_time")?;
    let end = params.required_int("end_time")?;
    let grouping = params.choice("value_grouping_window", &["hour", "day"])?;
    let step = match grouping {
        Some("hour") => HOUR,
        Some(_) => DAY,
        None => 60,
    };
    for (name, at) in [("start_time", start), ("end_time", end)] {
        if at % step != 0 {
            return Err(StripeError::invalid(format!(
                "{name} must align with {step} second boundaries."
            ))
            .param(name));
        }
    }
    let events = events_in(state, &meter, &customer, (start, end));
    let mut groups: BTreeMap<i64, Vec<(i64, f64)>> = BTreeMap::new();
    for event in events {
        let group = if grouping.is_some() {
            event.0 - event.0.rem_euclid(step)
        } else {
            start
        };
        groups.entry(group).or_default().push(event);
    }
    let limit = usize::try_from(params.int("limit")?.unwrap_or(10).clamp(1, 100)).unwrap_or(10);
    let mut data: Vec<Value> = groups
        .iter()
        .rev()
        .map(|(from, events)| json!({
            "id": format!("mtrusg_{id}_{customer}_{from}"), "object": "billing.meter_event_summary",
            "aggregated_value": aggregate(&meter, events),
            "end_time": if grouping.is_some() { from + step } else { end }, "livemode": state.livemode, "meter": id,
            "start_time": from,
        }))
        .collect();
    if let Some(cursor) = params.filled("starting_after") {
        let place = data.iter().position(|summary| summary["id"] == cursor);
        data.drain(..place.map_or(data.len(), |place| place + 1));
    }
    let has_more = data.len() > limit;
    data.truncate(limit);
    Ok(json!({
        "object": "list", "data": data, "has_more": has_more, "url": format!("/v1/billing/meters/{id}/event_summaries"),
    }))
}
