//! Every API call, by method and path.

use serde_json::json;

use super::{
    catalog, checkout, customers, discounts, disputes, endpoints,
    error::{Result, StripeError},
    events,
    form::Params,
    intents, invoice_calls, item_calls, meters, methods, portal, refunds,
    state::State,
    subscription_calls, test_clocks,
};

#[expect(clippy::too_many_lines, reason = "it is a table")]
pub(super) fn route(state: &mut State, method: &str, path: &str, params: &Params) -> Result {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (s, p) = (state, params);
    match (method, parts.as_slice()) {
        ("GET", ["v1", "account"]) => account(s, p),

        ("POST", ["v1", "customers"]) => customers::create(s, p),
        ("GET", ["v1", "customers"]) => customers::list(s, p),
        ("GET", ["v1", "customers", id]) => customers::get(s, p, id),
        ("POST", ["v1", "customers", id]) => customers::update(s, p, id),
        ("DELETE", ["v1", "customers", id]) => customers::delete(s, p, id),
        ("GET", ["v1", "customers", id, "payment_methods"]) => methods::list(s, p, Some(id)),

        ("POST", ["v1", "products"]) => catalog::create_product(s, p),
        ("GET", ["v1", "products"]) => catalog::list_products(s, p),
        ("GET", ["v1", "products", id]) => read(s, p, "product", id),
        ("POST", ["v1", "products", id]) => catalog::update_product(s, p, id),
        ("DELETE", ["v1", "products", id]) => catalog::delete_product(s, p, id),
        ("POST", ["v1", "prices"]) => catalog::create_price(s, p),
        ("GET", ["v1", "prices"]) => catalog::list_prices(s, p),
        ("GET", ["v1", "prices", id]) => read(s, p, "price", id),
        ("POST", ["v1", "prices", id]) => catalog::update_price(s, p, id),
        ("POST", ["v1", "coupons"]) => discounts::create_coupon(s, p),
        ("GET", ["v1", "coupons"]) => discounts::list_coupons(s, p),
        ("GET", ["v1", "coupons", id]) => read(s, p, "coupon", id),
        ("DELETE", ["v1", "coupons", id]) => discounts::delete_coupon(s, p, id),
        ("POST", ["v1", "promotion_codes"]) => discounts::create_code(s, p),
        ("GET", ["v1", "promotion_codes"]) => discounts::list_codes(s, p),
        ("GET", ["v1", "promotion_codes", id]) => read(s, p, "promotion_code", id),
        ("POST", ["v1", "promotion_codes", id]) => discounts::update_code(s, p, id),

        ("POST", ["v1", "checkout", "sessions"]) => checkout::create(s, p),
        ("GET", ["v1", "checkout", "sessions"]) => checkout::list(s, p),
        ("GET", ["v1", "checkout", "sessions", id]) => checkout::get(s, p, id),
        ("GET", ["v1", "checkout", "sessions", id, "line_items"]) => checkout::line_items(s, p, id),
        ("POST", ["v1", "checkout", "sessions", id, "expire"]) => checkout::expire_call(s, p, id),

        ("POST", ["v1", "billing_portal", "sessions"]) => portal::create_session(s, p),
        ("POST", ["v1", "billing_portal", "configurations"]) => portal::create_configuration(s, p),
        ("GET", ["v1", "billing_portal", "configurations"]) => portal::list_configurations(s, p),
        ("GET", ["v1", "billing_portal", "configurations", id]) => {
            portal::get_configuration(s, p, id)
        }
        ("POST", ["v1", "billing_portal", "configurations", id]) => {
            portal::update_configuration(s, p, id)
        }

        ("POST", ["v1", "subscriptions"]) => subscription_calls::create(s, p),
        ("GET", ["v1", "subscriptions"]) => subscription_calls::list(s, p),
        ("GET", ["v1", "subscriptions", id]) => subscription_calls::get(s, p, id),
        ("POST", ["v1", "subscriptions", id]) => subscription_calls::update(s, p, id),
        ("DELETE", ["v1", "subscriptions", id]) => subscription_calls::cancel(s, p, id),
        ("POST", ["v1", "subscriptions", id, "resume"]) => subscription_calls::resume(s, p, id),
        ("GET", ["v1", "subscription_items"]) => item_calls::list_items(s, p),
        ("POST", ["v1", "subscription_items"]) => item_calls::create_item(s, p),
        ("DELETE", ["v1", "subscription_items", id]) => item_calls::delete_item(s, p, id),
        ("GET", ["v1", "subscription_items", id]) => item_calls::get_item(s, p, id),
        ("POST", ["v1", "subscription_items", id]) => item_calls::update_item(s, p, id),

        ("POST", ["v1", "invoices"]) => invoice_calls::create(s, p),
        ("GET", ["v1", "invoices"]) => invoice_calls::list(s, p),
        ("GET", ["v1", "invoices", id]) => invoice_calls::get(s, p, id),
        ("POST", ["v1", "invoices", id]) => invoice_calls::update(s, p, id),
        ("GET", ["v1", "invoices", id, "lines"]) => invoice_calls::list_lines(s, p, id),
        ("POST", ["v1", "invoices", id, "finalize"]) => invoice_calls::finalize(s, p, id),
        ("POST", ["v1", "invoices", id, "pay"]) => invoice_calls::pay(s, p, id),
        ("POST", ["v1", "invoices", id, "void"]) => invoice_calls::void(s, p, id),
        ("POST", ["v1", "invoices", id, "mark_uncollectible"]) => {
            invoice_calls::mark_uncollectible(s, p, id)
        }
        ("POST", ["v1", "invoiceitems"]) => invoice_calls::create_item(s, p),
        ("GET", ["v1", "invoice_payments"]) => invoice_calls::list_payments(s, p),
        ("GET", ["v1", "invoice_payments", id]) => invoice_calls::get_payment(s, p, id),

        ("POST", ["v1", "payment_intents"]) => intents::create(s, p),
        ("GET", ["v1", "payment_intents"]) => intents::list(s, p),
        ("GET", ["v1", "payment_intents", id]) => intents::get(s, p, id),
        ("POST", ["v1", "payment_intents", id]) => intents::update(s, p, id),
        ("POST", ["v1", "payment_intents", id, "confirm"]) => intents::confirm(s, p, id),
        ("POST", ["v1", "payment_intents", id, "cancel"]) => intents::cancel(s, p, id),
        ("POST", ["v1", "payment_methods"]) => methods::create(s, p),
        ("GET", ["v1", "payment_methods"]) => methods::list(s, p, None),
        ("GET", ["v1", "payment_methods", id]) => methods::get(s, p, id),
        ("POST", ["v1", "payment_methods", id, "attach"]) => methods::attach(s, p, id),
        ("POST", ["v1", "payment_methods", id, "detach"]) => methods::detach(s, p, id),
        ("GET", ["v1", "setup_intents", id]) => read(s, p, "setup_intent", id),
        ("GET", ["v1", "charges"]) => intents::list_charges(s, p),
        ("GET", ["v1", "charges", id]) => intents::get_charge(s, p, id),
        ("POST", ["v1", "charges", id]) => intents::update_charge(s, p, id),
        ("GET", ["v1", "balance_transactions", id]) => read(s, p, "balance_transaction", id),

        ("POST", ["v1", "refunds"]) => refunds::create(s, p),
        ("GET", ["v1", "refunds"]) => refunds::list(s, p),
        ("GET", ["v1", "refunds", id]) => refunds::get(s, p, id),
        ("POST", ["v1", "refunds", id]) => refunds::update(s, p, id),
        ("GET", ["v1", "disputes"]) => disputes::list(s, p),
        ("GET", ["v1", "disputes", id]) => disputes::get(s, p, id),
        ("POST", ["v1", "disputes", id]) => disputes::update(s, p, id),
        ("POST", ["v1", "disputes", id, "close"]) => disputes::close_call(s, p, id),

        ("GET", ["v1", "events"]) => events::list(s, p),
        ("GET", ["v1", "events", id]) => events::get(s, p, id),
        ("POST", ["v1", "webhook_endpoints"]) => endpoints::create(s, p),
        ("GET", ["v1", "webhook_endpoints"]) => endpoints::list(s, p),
        ("GET", ["v1", "webhook_endpoints", id]) => endpoints::get(s, p, id),
        ("POST", ["v1", "webhook_endpoints", id]) => endpoints::update(s, p, id),
        ("DELETE", ["v1", "webhook_endpoints", id]) => endpoints::delete(s, p, id),

        ("POST", ["v1", "billing", "meters"]) => meters::create(s, p),
        ("GET", ["v1", "billing", "meters"]) => meters::list(s, p),
        ("GET", ["v1", "billing", "meters", id]) => meters::get(s, p, id),
        ("POST", ["v1", "billing", "meters", id]) => meters::update(s, p, id),
        ("POST", ["v1", "billing", "meters", id, "deactivate"]) => {
            meters::set_active(s, p, id, false)
        }
        ("POST", ["v1", "billing", "meters", id, "reactivate"]) => {
            meters::set_active(s, p, id, true)
        }
        ("GET", ["v1", "billing", "meters", id, "event_summaries"]) => meters::summaries(s, p, id),
        ("POST", ["v1", "billing", "meter_events"]) => meters::create_event(s, p),

        ("POST", ["v1", "test_helpers", "test_clocks"]) => test_clocks::create(s, p),
        ("GET", ["v1", "test_helpers", "test_clocks"]) => test_clocks::list(s, p),
        ("GET", ["v1", "test_helpers", "test_clocks", id]) => test_clocks::get(s, p, id),
        ("POST", ["v1", "test_helpers", "test_clocks", id, "advance"]) => {
            test_clocks::advance(s, p, id)
        }
        ("DELETE", ["v1", "test_helpers", "test_clocks", id]) => test_clocks::delete(s, p, id),

        _ => Err(StripeError::unknown_url(method, path)),
    }
}

fn read(state: &mut State, params: &Params, kind: &str, id: &str) -> Result {
    params.allow("")?;
    state.find(kind, id, "id").cloned()
}

fn account(state: &mut State, params: &Params) -> Result {
    params.allow("")?;
    Ok(json!({
        "id": state.account_id(), "object": "account", "business_profile": { "name": "Fake Stripe" },
        "business_type": null, "capabilities": {}, "charges_enabled": true, "controller": { "type": "account" },
        "country": "US", "created": 0, "default_currency": "usd", "details_submitted": true,
        "email": "fake@example.com", "external_accounts": {
            "object": "list", "data": [], "has_more": false, "url": "/v1/account/external_accounts" },
        "future_requirements": null, "metadata": {}, "payouts_enabled": true, "requirements": null,
        "settings": { "dashboard": { "display_name": "Fake Stripe", "timezone": "Etc/UTC" } },
        "tos_acceptance": {}, "type": "standard",
    }))
}
