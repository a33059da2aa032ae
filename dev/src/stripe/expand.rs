//! `expand`: ids replaced by their objects, at most four levels deep.

use serde_json::{Value, json};

use super::{
    error::{Result, StripeError},
    form::Params,
    invoices::payment_of,
    state::{State, sublist, text},
};

const DEEPEST: usize = 4;

/// Replaces the ids that `expand` names in an answer.
pub(super) fn expand(state: &State, params: &Params, answer: &mut Value) -> Result<()> {
    for path in params.texts("expand") {
        let keys: Vec<&str> = path.split('.').collect();
        if keys.len() > DEEPEST {
            return Err(StripeError::invalid(format!(
                "You cannot expand more than {DEEPEST} levels of a property. Property: {path}"
            ))
            .param("expand"));
        }
        if answer["object"] == "list" && keys[0] != "data" {
            return Err(cannot(&path));
        }
        walk(state, answer, &keys, &path)?;
    }
    Ok(())
}

fn walk(state: &State, node: &mut Value, keys: &[&str], path: &str) -> Result<()> {
    if let Value::Array(items) = node {
        return items
            .iter_mut()
            .try_for_each(|item| walk(state, item, keys, path));
    }
    if let Some(id) = node.as_str()
        && let Some(object) = state.get(id)
    {
        *node = if state.hidden(id)["deleted"] == true {
            json!({ "id": id, "object": object["object"], "deleted": true })
        } else {
            object.clone()
        };
    }
    let Some((key, rest)) = keys.split_first() else {
        return Ok(());
    };
    if node.is_null() || node.is_string() {
        return Ok(());
    }
    if let Some(included) = includable(state, node, key) {
        node[*key] = included;
    }
    match node.get_mut(*key) {
        None => Err(cannot(path)),
        Some(child) => walk(state, child, rest, path),
    }
}

fn cannot(path: &str) -> StripeError {
    StripeError::invalid(format!(
        "This property cannot be expanded ({path}). You may want to try expanding 'data.{path}' instead."
    ))
    .param("expand")
}

/// Fields that are there only when they are asked for.
fn includable(state: &State, node: &Value, key: &str) -> Option<Value> {
    let id = text(node, "id");
    let belonging = |kind: &str, field: &str| -> Vec<Value> {
        state
            .all(kind)
            .rev()
            .filter(|value| value[field] == id)
            .cloned()
            .collect()
    };
    match (text(node, "object"), key) {
        ("invoice", "payments") => Some(json!({
            "object": "list", "data": belonging("invoice_payment", "invoice"), "has_more": false,
            "url": "/v1/invoice_payments",
        })),
        ("invoice", "confirmation_secret") => Some(confirmation_secret(state, id)),
        ("checkout.session", "line_items") => {
            let lines = state.hidden(id)["line_items"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            Some(sublist(
                &lines,
                &format!("/v1/checkout/sessions/{id}/line_items"),
            ))
        }
        ("charge", "refunds") => Some(sublist(
            &belonging("refund", "charge"),
            &format!("/v1/charges/{id}/refunds"),
        )),
        ("customer", "subscriptions") => {
            let mut living = belonging("subscription", "customer");
            living.retain(|subscription| {
                !matches!(
                    text(subscription, "status"),
                    "canceled" | "incomplete_expired"
                )
            });
            Some(sublist(
                &living,
                &format!("/v1/customers/{id}/subscriptions"),
            ))
        }
        ("customer", "sources") => Some(sublist(&[], &format!("/v1/customers/{id}/sources"))),
        ("customer", "tax_ids") => Some(sublist(&[], &format!("/v1/customers/{id}/tax_ids"))),
        ("customer", "invoice_credit_balance") => Some(json!({})),
        ("customer", "tax") => Some(json!({
            "automatic_tax": "unrecognized_location", "ip_address": null, "location": null, "provider": "stripe",
        })),
        _ => None,
    }
}

fn confirmation_secret(state: &State, invoice: &str) -> Value {
    let intent = payment_of(state, invoice).and_then(|(_, intent)| state.get(&intent));
    intent.map_or(
        Value::Null,
        |intent| json!({ "client_secret": intent["client_secret"], "type": "payment_intent" }),
    )
}
