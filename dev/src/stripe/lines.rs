//! Lines of invoices, and invoice items that wait for an invoice.

use serde_json::{Value, json};

use super::state::{State, text};

/// A line to be put on an invoice.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) price: Value,
    pub(super) subscription: Option<String>,
    pub(super) item: Option<String>,
    /// Invoice item that the line comes from.
    pub(super) invoice_item: Option<String>,
    /// Discounts of this line alone.
    pub(super) discounts: Vec<String>,
    pub(super) quantity: i64,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) period: (i64, i64),
    pub(super) proration: bool,
    pub(super) description: String,
}

impl Line {
    pub(super) fn value(&self, state: &mut State, invoice: &str) -> Value {
        let id = state.id("il");
        let proration_details = json!({ "credited_items": self.credited_items(state) });
        let parent = match &self.item {
            Some(item) => json!({
                "invoice_item_details": null, "type": "subscription_item_details",
                "subscription_item_details": {
                    "invoice_item": self.invoice_item, "proration": self.proration,
                    "proration_details": proration_details,
                    "subscription": self.subscription, "subscription_item": item,
                },
            }),
            None => json!({
                "subscription_item_details": null, "type": "invoice_item_details",
                "invoice_item_details": {
                    "invoice_item": self.invoice_item, "proration": self.proration,
                    "proration_details": proration_details, "subscription": self.subscription,
                },
            }),
        };
        let pricing = if self.price.is_object() {
            json!({
                "price_details": { "price": self.price["id"], "product": self.price["product"] },
                "type": "price_details", "unit_amount_decimal": self.price["unit_amount_decimal"],
            })
        } else {
            Value::Null
        };
        json!({
            "id": id, "object": "line_item", "amount": self.amount, "currency": self.currency,
            "description": self.description, "discount_amounts": [], "discountable": !self.proration,
            "discounts": self.discounts, "invoice": invoice, "livemode": state.livemode, "metadata": {}, "parent": parent,
            "period": { "end": self.period.1, "start": self.period.0 }, "pretax_credit_amounts": [],
            "pricing": pricing, "quantity": self.quantity, "quantity_decimal": self.quantity.to_string(),
            "subscription": self.subscription, "subtotal": self.amount, "taxes": [],
        })
    }

    /// The charge that a credit takes back.
    fn credited_items(&self, state: &State) -> Value {
        let Some(item) = self
            .item
            .as_deref()
            .filter(|_| self.proration && self.amount < 0)
        else {
            return Value::Null;
        };
        let charged = state.all("invoice").rev().find_map(|invoice| {
            let lines = invoice["lines"]["data"].as_array()?;
            let line = lines.iter().find(|line| {
                line["parent"]["subscription_item_details"]["subscription_item"] == item
                    && line["amount"].as_i64() > Some(0)
            })?;
            Some(json!({ "invoice": invoice["id"], "invoice_line_items": [line["id"]] }))
        });
        charged.unwrap_or(Value::Null)
    }

    /// Stores the line as an invoice item that the next invoice takes up.
    pub(super) fn wait(&self, state: &mut State, customer: &str) -> String {
        let id = state.id("ii");
        let parent = self.subscription.as_ref().map(|subscription| {
            json!({
                "type": "subscription_details",
                "subscription_details": { "subscription": subscription, "subscription_item": self.item },
            })
        });
        let item = json!({
            "id": id, "object": "invoiceitem", "amount": self.amount, "currency": self.currency, "customer": customer,
            "customer_account": null, "date": state.now(), "description": self.description,
            "discountable": !self.proration, "discounts": [], "invoice": null, "livemode": state.livemode,
            "metadata": {}, "net_amount": self.amount, "parent": parent,
            "period": { "end": self.period.1, "start": self.period.0 },
            "pricing": {
                "price_details": { "price": self.price["id"], "product": self.price["product"] },
                "type": "price_details", "unit_amount_decimal": self.price["unit_amount_decimal"],
            },
            "proration": self.proration, "quantity": self.quantity, "quantity_decimal": self.quantity.to_string(),
            "tax_rates": [], "test_clock": null,
        });
        state.insert(item);
        state.emit("invoiceitem.created", &id);
        id
    }
}

/// Takes the waiting invoice items of a subscription, or of a customer without one.
pub(super) fn take_waiting(
    state: &mut State,
    customer: &str,
    subscription: Option<&str>,
) -> Vec<Line> {
    let waiting = state.ids_where("invoiceitem", |item| {
        item["customer"] == customer
            && item["invoice"].is_null()
            && item["parent"]["subscription_details"]["subscription"].as_str() == subscription
    });
    waiting
        .into_iter()
        .map(|id| {
            let item = state.read(&id);
            state.edit(&id, |item| item["invoice"] = json!("taken"));
            of_item(state, &item)
        })
        .collect()
}

/// The line of an invoice item.
pub(super) fn of_item(state: &State, item: &Value) -> Line {
    let price = state.read(text(&item["pricing"]["price_details"], "price"));
    let details = &item["parent"]["subscription_details"];
    Line {
        price,
        subscription: details["subscription"].as_str().map(Into::into),
        item: details["subscription_item"].as_str().map(Into::into),
        invoice_item: item["id"].as_str().map(Into::into),
        discounts: item["discounts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|discount| discount.as_str().map(Into::into))
            .collect(),
        quantity: item["quantity"].as_i64().unwrap_or(1),
        amount: item["amount"].as_i64().unwrap_or(0),
        currency: text(item, "currency").into(),
        period: (
            item["period"]["start"].as_i64().unwrap_or(0),
            item["period"]["end"].as_i64().unwrap_or(0),
        ),
        proration: item["proration"] == true,
        description: text(item, "description").into(),
    }
}

/// Gives the invoice items of an invoice's lines its id.
pub(super) fn link_items(state: &mut State, invoice: &str) {
    let lines = state.read(invoice)["lines"]["data"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for line in lines {
        let details = ["invoice_item_details", "subscription_item_details"];
        let item = details
            .iter()
            .find_map(|details| line["parent"][*details]["invoice_item"].as_str());
        if let Some(item) = item {
            state.edit(item, |item| item["invoice"] = json!(invoice));
        }
    }
}
