//! Portal sessions and configurations.

use serde_json::{Value, json};

use super::{
    customers,
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING, field_is},
    state::{State, text},
};

const CONFIGURATION: &str =
    "business_profile.* default_return_url features.* login_page.enabled metadata.* name active";

pub(super) fn create_session(state: &mut State, params: &Params) -> Result {
    params.allow("customer return_url configuration locale flow_data.* on_behalf_of")?;
    let customer = params.required("customer")?;
    customers::living(state, customer, "customer")?;
    let configuration = match params.filled("configuration") {
        Some(id) => text(state.find("billing_portal.configuration", id, "configuration")?, "id").to_owned(),
        None => default_configuration(state).ok_or_else(|| {
            StripeError::invalid(
                "You can't create a portal session in test mode until you save your customer portal settings in test mode at \
                 https://dashboard.stripe.com/test/settings/billing/portal.",
            )
        })?,
    };
    let flow = match params.filled("flow_data.type") {
        Some(kind) => json!({
            "after_completion": { "hosted_confirmation": null, "redirect": null, "type": "portal_homepage" },
            "customer_update": null,
            "subscription_cancel": subscription_of(params, "subscription_cancel", json!({ "retention": null })),
            "subscription_update": subscription_of(params, "subscription_update", json!({})),
            "subscription_update_confirm": null, "type": kind,
        }),
        None => Value::Null,
    };
    let id = state.id("bps");
    let session = json!({
        "id": id, "object": "billing_portal.session", "configuration": configuration, "created": state.now(),
        "customer": customer, "customer_account": null, "flow": flow, "livemode": state.livemode,
        "locale": params.filled("locale"), "on_behalf_of": null, "return_url": params.filled("return_url"),
        "url": format!("{}/p/session/{id}", state.url),
    });
    state.insert(session);
    state.emit("billing_portal.session.created", &id);
    Ok(state.read(&id))
}

fn subscription_of(params: &Params, flow: &str, mut value: Value) -> Value {
    match params.filled(&format!("flow_data.{flow}.subscription")) {
        Some(id) => {
            value["subscription"] = json!(id);
            value
        }
        None => Value::Null,
    }
}

pub(super) fn default_configuration(state: &State) -> Option<String> {
    state
        .all("billing_portal.configuration")
        .find(|value| value["is_default"] == true && value["active"] == true)
        .map(|value| text(value, "id").to_owned())
}

/// Stores a configuration in which everything is enabled.
pub(super) fn insert_default(state: &mut State) -> String {
    let id = state.id("bpc");
    let value = configuration_value(state, &id, true);
    state.insert(value)
}

fn configuration_value(state: &State, id: &str, is_default: bool) -> Value {
    let now = state.now();
    json!({
        "id": id, "object": "billing_portal.configuration", "active": true, "application": null,
        "business_profile": { "headline": null, "privacy_policy_url": null, "terms_of_service_url": null },
        "created": now, "default_return_url": null,
        "features": {
            "customer_update": { "allowed_updates": ["email", "tax_id"], "enabled": true },
            "invoice_history": { "enabled": true },
            "payment_method_update": { "enabled": true, "payment_method_configuration": null },
            "subscription_cancel": {
                "cancellation_reason": { "enabled": false, "feedback_options": null, "options": [] },
                "enabled": true, "mode": "at_period_end", "proration_behavior": "none",
            },
            "subscription_update": {
                "billing_cycle_anchor": null, "default_allowed_updates": ["price"], "enabled": true,
                "products": [], "proration_behavior": "create_prorations",
                "schedule_at_period_end": { "conditions": [] }, "trial_update_behavior": "continue_trial",
            },
        },
        "is_default": is_default, "livemode": state.livemode, "login_page": { "enabled": false, "url": null },
        "metadata": {}, "name": null, "updated": now,
    })
}

pub(super) fn create_configuration(state: &mut State, params: &Params) -> Result {
    params.allow(CONFIGURATION)?;
    if !params.has("features") {
        return Err(StripeError::parameter_missing("features"));
    }
    let id = state.id("bpc");
    let is_default = default_configuration(state).is_none();
    let mut value = configuration_value(state, &id, is_default);
    for feature in [
        "customer_update",
        "invoice_history",
        "payment_method_update",
        "subscription_cancel",
        "subscription_update",
    ] {
        value["features"][feature]["enabled"] = json!(false);
    }
    fill(params, &mut value)?;
    state.insert(value);
    state.emit("billing_portal.configuration.created", &id);
    Ok(state.read(&id))
}

fn fill(params: &Params, value: &mut Value) -> Result<()> {
    for feature in [
        "customer_update",
        "invoice_history",
        "payment_method_update",
        "subscription_cancel",
        "subscription_update",
    ] {
        if let Some(enabled) = params.flag(&format!("features.{feature}.enabled"))? {
            value["features"][feature]["enabled"] = json!(enabled);
        }
    }
    for (feature, field) in [
        ("subscription_cancel", "mode"),
        ("subscription_cancel", "proration_behavior"),
        ("subscription_update", "proration_behavior"),
    ] {
        if let Some(word) = params.filled(&format!("features.{feature}.{field}")) {
            value["features"][feature][field] = json!(word);
        }
    }
    for (feature, field) in [
        ("customer_update", "allowed_updates"),
        ("subscription_update", "default_allowed_updates"),
    ] {
        let path = format!("features.{feature}.{field}");
        if params.has(&path) {
            value["features"][feature][field] = json!(params.texts(&path));
        }
    }
    let products: Vec<Value> = params
        .list("features.subscription_update.products")
        .iter()
        .map(|product| {
            json!({
                "adjustable_quantity": { "enabled": false, "maximum": null, "minimum": 1 },
                "prices": product.texts("prices"), "product": product.filled("product"),
            })
        })
        .collect();
    if !products.is_empty() {
        value["features"]["subscription_update"]["products"] = json!(products);
    }
    for field in ["headline", "privacy_policy_url", "terms_of_service_url"] {
        if let Some(said) = params.filled(&format!("business_profile.{field}")) {
            value["business_profile"][field] = json!(said);
        }
    }
    for field in ["default_return_url", "name"] {
        customers::set_text(params, value, field, field);
    }
    if let Some(active) = params.flag("active")? {
        value["active"] = json!(active);
    }
    params.merge_metadata("metadata", &mut value["metadata"]);
    Ok(())
}

pub(super) fn update_configuration(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow(CONFIGURATION)?;
    let mut value = state
        .find("billing_portal.configuration", id, "id")?
        .clone();
    fill(params, &mut value)?;
    value["updated"] = json!(state.now());
    state.update(id, "billing_portal.configuration.updated", |old| {
        *old = value;
    });
    Ok(state.read(id))
}

pub(super) fn get_configuration(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state
        .find("billing_portal.configuration", id, "id")
        .cloned()
}

pub(super) fn list_configurations(state: &mut State, params: &Params) -> Result {
    params.allow(&format!("active is_default{PAGING}"))?;
    list::page(
        state,
        params,
        "billing_portal.configuration",
        "/v1/billing_portal/configurations",
        |value| field_is(params, value, "active") && field_is(params, value, "is_default"),
    )
}
