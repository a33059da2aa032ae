//! Totals of invoices: lines, discounts, usage, the customer's balance.

use serde_json::{Value, json};

use super::{
    catalog::{amount_of, is_metered},
    discounts, meters,
    state::{State, int, text},
};

/// Computes the totals of an invoice from its lines and discounts.
pub(super) fn compute(state: &mut State, id: &str) {
    let invoice = state.read(id);
    let mut data = invoice["lines"]["data"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut amounts = Vec::new();
    let mut subtotal = 0;
    for line in &mut data {
        let amount = int(line, "amount");
        let (reduced, own) = reduce(state, &line["discounts"], amount);
        set_discounts(line, &own);
        amounts.extend(own);
        subtotal += reduced;
    }
    let (left, general) = reduce(state, &invoice["discounts"], subtotal);
    if let Some(first) = data.iter_mut().find(|line| int(line, "amount") > 0)
        && !general.is_empty()
    {
        set_discounts(first, &general);
    }
    amounts.extend(general);
    let due = left.max(0);
    let credits = pretax_credits(&amounts);
    state.edit(id, |invoice| {
        invoice["lines"]["total_count"] = json!(data.len());
        invoice["lines"]["data"] = json!(data);
        invoice["subtotal"] = json!(subtotal);
        invoice["subtotal_excluding_tax"] = json!(subtotal);
        invoice["total"] = json!(left);
        invoice["total_excluding_tax"] = json!(left);
        invoice["amount_due"] = json!(due);
        invoice["amount_remaining"] = json!(due);
        invoice["total_discount_amounts"] = json!(amounts);
        invoice["total_pretax_credit_amounts"] = credits;
    });
}

/// What discounts leave of an amount, and what each takes.
fn reduce(state: &State, discounts: &Value, amount: i64) -> (i64, Vec<Value>) {
    let mut left = amount;
    let mut taken = Vec::new();
    for discount in discounts
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        let reduction = discounts::amount(state, discount, left.max(0));
        left -= reduction;
        taken.push(json!({ "amount": reduction, "discount": discount }));
    }
    (left, taken)
}

fn set_discounts(line: &mut Value, amounts: &[Value]) {
    line["discount_amounts"] = json!(amounts);
    line["pretax_credit_amounts"] = pretax_credits(amounts);
}

fn pretax_credits(amounts: &[Value]) -> Value {
    let of = |amount: &Value| json!({ "amount": amount["amount"], "discount": amount["discount"], "type": "discount" });
    amounts.iter().map(of).collect()
}

/// Counts the usage that came while the invoice was a draft.
pub(super) fn count_usage(state: &mut State, id: &str) {
    let mut invoice = state.read(id);
    let customer = text(&invoice, "customer").to_owned();
    for line in invoice["lines"]["data"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        let price = state.read(text(&line["pricing"]["price_details"], "price"));
        if !is_metered(&price) {
            continue;
        }
        let period = (int(&line["period"], "start"), int(&line["period"], "end"));
        let meter = text(&price["recurring"], "meter");
        let quantity = meters::total(state, meter, &customer, period);
        let amount = amount_of(&price, quantity);
        line["quantity"] = json!(quantity);
        line["quantity_decimal"] = json!(quantity.to_string());
        line["amount"] = json!(amount);
        line["subtotal"] = json!(amount);
    }
    state.edit(id, |value| *value = invoice);
    compute(state, id);
}

/// Takes the customer's credit, or adds to it where the total is negative.
pub(super) fn apply_balance(state: &mut State, id: &str) {
    let invoice = state.read(id);
    let customer = text(&invoice, "customer").to_owned();
    let balance = int(&state.read(&customer), "balance");
    let total = int(&invoice, "total");
    let due = (total + balance).max(0);
    let rest = if total + balance > 0 {
        0
    } else {
        total + balance
    };
    state.edit(id, |invoice| {
        invoice["starting_balance"] = json!(balance);
        invoice["ending_balance"] = json!(rest);
        invoice["amount_due"] = json!(due);
        invoice["amount_remaining"] = json!(due);
    });
    state.update(&customer, "customer.updated", |customer| {
        customer["balance"] = json!(rest);
    });
}
