//! Events: one for every change, kept for thirty days.

use serde_json::{Map, Value, json};

use super::{
    error::Result,
    form::Params,
    list,
    state::{API_VERSION, State, int, text},
};

pub(super) const KEPT_SECONDS: i64 = 30 * 86_400;

impl State {
    /// Emits an event about an object as it is now.
    pub(super) fn emit(&mut self, kind: &str, id: &str) {
        let object = self.read(id);
        self.emit_value(kind, &object, None);
    }

    pub(super) fn emit_change(&mut self, kind: &str, id: &str, previous: Map<String, Value>) {
        let object = self.read(id);
        self.emit_value(kind, &object, Some(previous));
    }

    pub(super) fn emit_value(
        &mut self,
        kind: &str,
        object: &Value,
        previous: Option<Map<String, Value>>,
    ) {
        let id = self.id("evt");
        let mut data = json!({ "object": object });
        if let Some(previous) = previous {
            data["previous_attributes"] = Value::Object(previous);
        }
        let (request, key) = self.cause.clone().unzip();
        let event = json!({
            "id": id, "object": "event", "api_version": API_VERSION, "created": self.now(),
            "data": data, "livemode": self.livemode, "pending_webhooks": 0,
            "request": { "id": request, "idempotency_key": key.flatten() }, "type": kind,
        });
        self.insert(event);
        self.queue_event(&id);
    }

    /// A copy of an event under a new id.
    pub(super) fn copy_event(&mut self, id: &str) -> Option<String> {
        let mut event = self.get(id)?.clone();
        event["id"] = json!(self.id("evt"));
        Some(self.insert(event))
    }
}

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    let event = state.find("event", id, "id")?;
    if int(event, "created") < state.now() - KEPT_SECONDS {
        return Err(super::error::StripeError::missing("event", id, "id"));
    }
    Ok(event.clone())
}

pub(super) fn list(state: &mut State, params: &Params) -> Result {
    params.allow(
        "type types created.* created delivery_success limit starting_after ending_before",
    )?;
    let oldest = state.now() - KEPT_SECONDS;
    let types = params.texts("types");
    let kind = params.filled("type");
    let matches = |event: &Value| {
        let name = text(event, "type");
        let fits = |pattern: &str| pattern_matches(pattern, name);
        int(event, "created") >= oldest
            && kind.is_none_or(fits)
            && (types.is_empty() || types.iter().any(|pattern| fits(pattern)))
    };
    list::page(state, params, "event", "/v1/events", matches)
}

/// `invoice.*` matches every type below it.
pub(super) fn pattern_matches(pattern: &str, name: &str) -> bool {
    pattern == "*"
        || pattern == name
        || pattern
            .strip_suffix('*')
            .is_some_and(|prefix| name.starts_with(prefix))
}
