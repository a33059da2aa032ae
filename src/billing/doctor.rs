//! `doctor`: compares the settings with the account at Stripe.

use std::collections::HashSet;

use health_checks::{Findings, none_of};
use serde::Deserialize;
use serde_json::Value;
use stripe_client::product::price::RetrievePrice;
use stripe_client::shared::{Price, PriceId, RecurringInterval};
use stripe_client::{API_VERSION, CallError, RequestBuilder, Stripe, StripeMethod};

use crate::config::{Meter, PlansConfig};
use crate::plans::{Interval, Offer, Plan};
use crate::state::AppState;

/// Types of events that the endpoint must be subscribed to.
const EVENTS: [&str; 20] = [
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.refunded",
    "checkout.session.completed",
    "customer.deleted",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.updated",
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.payment_failed",
    "invoice.voided",
    "payment_intent.canceled",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.succeeded",
];

/// Adds the findings about Stripe, if billing is configured.
pub async fn findings(state: &AppState, findings: &mut Findings) {
    let Some(stripe) = &state.stripe else {
        return;
    };
    let account = stripe.read_raw(RequestBuilder::new(StripeMethod::Get, "/account"));
    if !findings
        .run("Stripe accepts the key", account, |_| Ok(()))
        .await
    {
        return;
    }
    let name = "Stripe has the prices as `/pricing` shows them";
    findings
        .run(name, price_faults(stripe, &state.plans), |all| {
            none_of(&all)
        })
        .await;
    let portal = portal(stripe, state.billing.portal_configuration.as_deref());
    findings
        .run(
            "Stripe has a configuration of the customer portal",
            portal,
            |found| {
                found.then_some(()).ok_or_else(|| {
                    "there is none: save one at Stripe, or set STRIPE_PORTAL_CONFIGURATION"
                        .to_owned()
                })
            },
        )
        .await;
    if let Some(meter) = &state.billing.meter {
        let name = "Stripe has the meter and the prices of usage";
        let faults = usage_faults(stripe, meter, &state.plans);
        findings.run(name, faults, |all| none_of(&all)).await;
    }
    let url = format!(
        "{}/api/v1/webhooks/stripe",
        state.billing.public_url.as_str().trim_end_matches('/')
    );
    findings
        .run(
            "Stripe has the webhook endpoint",
            endpoints(stripe),
            |all| endpoint_fault(&all, &url).map_or(Ok(()), Err),
        )
        .await;
}

/// Faults of the prices for sale, by their ids.
async fn price_faults(stripe: &Stripe, config: &PlansConfig) -> Result<Vec<String>, CallError> {
    let mut faults = Vec::new();
    for plan in [Plan::Pro, Plan::Enterprise] {
        for interval in [Interval::Month, Interval::Year] {
            let Some(id) = plan.price_id(interval, config) else {
                continue;
            };
            let request = RetrievePrice::new(PriceId::from(id.as_str()));
            let fault = match stripe.read(&request).await {
                Ok(price) => compare(&price, plan, interval, config).err(),
                Err(error) if error.is_missing() => Some("it does not exist".to_owned()),
                Err(error) => return Err(error),
            };
            faults.extend(fault.map(|fault| format!("{}: {fault}", id.as_str())));
        }
    }
    Ok(faults)
}

/// Compares amount, currency and interval with those of the price list.
fn compare(
    price: &Price,
    plan: Plan,
    interval: Interval,
    config: &PlansConfig,
) -> Result<(), String> {
    let offer = Offer::of(plan, config);
    let wanted = match interval {
        Interval::Month => Some(offer.price),
        Interval::Year => offer.yearly_price,
    };
    let wanted = wanted.ok_or("it is not in the price list")?;
    let recurring = price.recurring.as_ref();
    let is_interval = recurring.is_some_and(|it| {
        it.interval_count == 1
            && match interval {
                Interval::Month => it.interval == RecurringInterval::Month,
                Interval::Year => it.interval == RecurringInterval::Year,
            }
    });
    let currency = price.currency.to_string();
    let faults = [
        (!price.active, "it is archived".to_owned()),
        (
            price.unit_amount != Some(wanted.amount.into()),
            format!(
                "its amount is {}, not {}",
                price
                    .unit_amount
                    .map_or_else(|| "none".to_owned(), |amount| amount.to_string()),
                wanted.amount
            ),
        ),
        (
            !currency.eq_ignore_ascii_case(&wanted.currency),
            format!("its currency is {currency}, not {}", wanted.currency),
        ),
        (!is_interval, "its interval is another one".to_owned()),
    ];
    let faults: Vec<_> = faults
        .into_iter()
        .filter_map(|(is_fault, text)| is_fault.then_some(text))
        .collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(faults.join("; "))
}

/// Faults of the meter, and of the prices of usage.
async fn usage_faults(
    stripe: &Stripe,
    meter: &Meter,
    config: &PlansConfig,
) -> Result<Vec<String>, CallError> {
    let path = format!("/billing/meters/{}", meter.id);
    let found = stripe
        .read_raw(RequestBuilder::new(StripeMethod::Get, path))
        .await;
    let mut faults = Vec::new();
    match found {
        Ok(body) => {
            let found: Value = serde_json::from_slice(&body).map_err(|_| CallError::Malformed)?;
            for (pointer, wanted) in [
                ("/status", "active"),
                ("/event_name", &meter.event_name),
                ("/default_aggregation/formula", "last"),
                ("/event_time_window", "hour"),
                ("/customer_mapping/event_payload_key", "stripe_customer_id"),
                ("/value_settings/event_payload_key", "value"),
            ] {
                let value = found.pointer(pointer).unwrap_or(&Value::Null);
                if value != wanted {
                    faults.push(format!("{}: {pointer} is {value}, not {wanted}", meter.id));
                }
            }
        }
        Err(error) if error.is_missing() => faults.push(format!("{} does not exist", meter.id)),
        Err(error) => return Err(error),
    }
    for plan in Plan::ALL {
        let Some(id) = &plan.tier(config).usage_price_id else {
            continue;
        };
        let fault = match stripe.read(&RetrievePrice::new(id.as_str())).await {
            Ok(price) if !price.active => "it is archived",
            Ok(price) => {
                let recurring = price.recurring.as_ref();
                let is_it = recurring.and_then(|it| it.meter.as_ref()) == Some(&meter.id);
                if is_it {
                    continue;
                }
                "it is not of the meter"
            }
            Err(error) if error.is_missing() => "it does not exist",
            Err(error) => return Err(error),
        };
        faults.push(format!("{}: {fault}", id.as_str()));
    }
    Ok(faults)
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
}

#[derive(Deserialize)]
struct PortalConfiguration {
    id: String,
    is_default: bool,
    active: bool,
}

/// Returns whether the portal can be opened.
async fn portal(stripe: &Stripe, wanted: Option<&str>) -> Result<bool, String> {
    let path = "/billing_portal/configurations";
    let request = RequestBuilder::new(StripeMethod::Get, path).query(&[("limit", "100")]);
    let body = stripe
        .read_raw(request)
        .await
        .map_err(|error| error.to_string())?;
    let page: Page<PortalConfiguration> =
        serde_json::from_slice(&body).map_err(|_| "a response cannot be read".to_owned())?;
    let is_it = |it: &PortalConfiguration| match wanted {
        Some(id) => it.id == id && it.active,
        None => it.is_default && it.active,
    };
    Ok(page.data.iter().any(is_it))
}

#[derive(Deserialize)]
struct Endpoint {
    url: String,
    status: String,
    api_version: Option<String>,
    enabled_events: Vec<String>,
}

async fn endpoints(stripe: &Stripe) -> Result<Vec<Endpoint>, String> {
    let request =
        RequestBuilder::new(StripeMethod::Get, "/webhook_endpoints").query(&[("limit", "100")]);
    let body = stripe
        .read_raw(request)
        .await
        .map_err(|error| error.to_string())?;
    let page: Page<Endpoint> =
        serde_json::from_slice(&body).map_err(|_| "a response cannot be read".to_owned())?;
    Ok(page.data)
}

fn endpoint_fault(all: &[Endpoint], url: &str) -> Option<String> {
    let Some(endpoint) = all.iter().find(|endpoint| endpoint.url == url) else {
        return Some(format!("there is none for {url}"));
    };
    if endpoint.status != "enabled" {
        return Some(format!("it is {}", endpoint.status));
    }
    if endpoint.api_version.as_deref() != Some(API_VERSION) {
        let version = endpoint
            .api_version
            .as_deref()
            .unwrap_or("the account's default");
        return Some(format!("its version is {version}, not {API_VERSION}"));
    }
    let enabled: HashSet<_> = endpoint.enabled_events.iter().map(String::as_str).collect();
    let missing: Vec<_> = EVENTS
        .into_iter()
        .filter(|event| !enabled.contains("*") && !enabled.contains(event))
        .collect();
    (!missing.is_empty()).then(|| format!("it is not subscribed to {}", missing.join(", ")))
}
