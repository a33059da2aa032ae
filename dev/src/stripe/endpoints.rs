//! Webhook endpoints.

use serde_json::{Value, json};

use super::{
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING},
    state::State,
};

pub(super) fn create(state: &mut State, params: &Params) -> Result {
    params.allow("url enabled_events[] api_version description metadata.* connect")?;
    let url = params.required("url")?;
    let events = params.texts("enabled_events");
    if events.is_empty() {
        return Err(StripeError::parameter_missing("enabled_events"));
    }
    let salt = state.salt().to_owned();
    let id = state.id("we");
    let secret = format!("whsec_{salt}{}", id.trim_start_matches("we_"));
    insert(
        state,
        &id,
        url,
        &secret,
        params.filled("api_version"),
        &events,
    );
    state.edit(&id, |value| {
        value["metadata"] = params.metadata("metadata");
        value["description"] = json!(params.filled("description"));
    });
    let mut shown = state.read(&id);
    shown["secret"] = json!(secret);
    Ok(shown)
}

pub(super) fn insert(
    state: &mut State,
    id: &str,
    url: &str,
    secret: &str,
    version: Option<&str>,
    events: &[String],
) {
    let endpoint = json!({
        "id": id, "object": "webhook_endpoint", "api_version": version, "application": null, "created": state.now(),
        "description": null, "enabled_events": events, "livemode": state.livemode, "metadata": {},
        "status": "enabled", "url": url,
    });
    state.insert_with(endpoint, json!({ "secrets": [secret] }));
}

/// Puts a new secret in front; the old ones stay while they roll.
pub(super) fn roll(state: &mut State, id: &str, secret: &str, keep_old: bool) {
    let mut secrets = vec![json!(secret)];
    if keep_old {
        secrets.extend(
            state.hidden(id)["secrets"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        );
    }
    state.hide(id, "secrets", Value::Array(secrets));
}

pub(super) fn update(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("url enabled_events[] description disabled metadata.*")?;
    state.find("webhook_endpoint", id, "id")?;
    let disabled = params.flag("disabled")?;
    let events = params.texts("enabled_events");
    state.edit(id, |value| {
        if let Some(url) = params.filled("url") {
            value["url"] = json!(url);
        }
        if !events.is_empty() {
            value["enabled_events"] = json!(events);
        }
        if let Some(disabled) = disabled {
            value["status"] = json!(if disabled { "disabled" } else { "enabled" });
        }
        super::customers::set_text(params, value, "description", "description");
        params.merge_metadata("metadata", &mut value["metadata"]);
    });
    Ok(state.read(id))
}

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("webhook_endpoint", id, "id").cloned()
}

pub(super) fn delete(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("webhook_endpoint", id, "id")?;
    state.remove(id);
    Ok(json!({ "id": id, "object": "webhook_endpoint", "deleted": true }))
}

pub(super) fn list(state: &mut State, params: &Params) -> Result {
    params.allow(PAGING)?;
    list::page(
        state,
        params,
        "webhook_endpoint",
        "/v1/webhook_endpoints",
        |_| true,
    )
}
