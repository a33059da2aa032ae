//! Handle of one account for tests: its objects, what its customers do, its clock and its faults.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    account::Account,
    checkout, checkout_pay,
    checkout_pay::Outcome,
    disputes, endpoints,
    error::StripeError,
    faults::StripeFault,
    form::Params,
    intents,
    log::LoggedRequest,
    methods, payments, portal_acts,
    portal_acts::PortalAct,
    refunds, routes, seed,
    seed::Catalog,
    state::{AfterRetries, State, text},
    webhooks::{DeliveryAttempt, Release},
};

type Result<T = Value> = std::result::Result<T, StripeError>;

/// One account of the fake, in the process.
#[derive(Clone, Debug)]
pub struct StripeAccount(Arc<Account>);

impl StripeAccount {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self(account)
    }

    fn with<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        self.0.with(step)
    }

    /// Stores products, prices, codes, meters and the portal's configuration.
    pub fn seed(&self, catalog: &Catalog) {
        self.with(|state| seed::seed(state, catalog));
    }

    /// Performs an API call in the process, unlogged and without faults; parameters are JSON.
    pub fn call(&self, method: &str, path: &str, params: &Value) -> Result {
        self.with(|state| routes::route(state, method, path, &Params::of(params)))
    }

    /// Rejects accepted meter events, as Stripe does later when it cannot count them.
    pub fn reject_meter_events(&self) {
        self.with(|state| state.meter_events.clear());
    }

    /// Objects of one kind, such as `subscription`, the oldest first.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        self.with(|state| state.all(kind).cloned().collect())
    }

    /// One object.
    pub fn object(&self, id: &str) -> Option<Value> {
        self.with(|state| state.get(id).cloned())
    }

    /// Changes an object by hand; emits an event of the given type if it changed.
    pub fn edit_object(&self, id: &str, event: &str, change: impl FnOnce(&mut Value)) {
        self.with(|state| state.update(id, event, change));
    }

    /// The latest calls over HTTP, the oldest first.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.with(|state| state.log.iter().cloned().collect())
    }

    /// Empties the log of calls.
    pub fn clear_requests(&self) {
        self.with(|state| state.log.clear());
    }

    /// The account's time, in Unix seconds.
    pub fn now(&self) -> i64 {
        self.with(|state| state.now())
    }

    /// Moves the clock forward; everything that becomes due happens at its own time.
    #[expect(
        clippy::unused_async,
        reason = "callers need not change when it must wait"
    )]
    pub async fn advance_to(&self, unix: i64) {
        self.with(|state| state.advance_to(unix));
    }

    /// What becomes of a subscription after the last failed retry.
    pub fn set_after_retries(&self, after: AfterRetries) {
        self.with(|state| state.after_retries = after);
    }

    /// Pays a checkout session, or fails to; returns the session.
    pub fn pay_checkout(&self, session: &str, outcome: Outcome) -> Result {
        self.with(|state| checkout_pay::pay(state, session, outcome))
    }

    /// Types a promotion code on a checkout page.
    pub fn apply_promotion_code(&self, session: &str, code: &str) -> Result {
        self.with(|state| checkout::apply_code(state, session, code))
    }

    /// Confirms a payment intent with a card such as `pm_card_visa`, as a customer in a browser.
    pub fn confirm_payment_intent(&self, intent: &str, card: &str) -> Result {
        self.with(|state| {
            let customer = state.find("payment_intent", intent, "id")?["customer"].clone();
            let method = methods::resolve(state, card, customer.as_str(), "payment_method")?;
            intents::confirm_with(state, intent, &method, None)
        })
    }

    /// Approves or fails the authentication that a payment intent waits for.
    pub fn authenticate(&self, intent: &str, approved: bool) -> Result {
        self.with(|state| {
            let waiting = state.find("payment_intent", intent, "id")?;
            if waiting["status"] != "requires_action" {
                return Err(StripeError::invalid(
                    "This payment intent waits for no authentication.",
                ));
            }
            let attempt = payments::authenticate(state, intent, approved);
            payments::settle(state, intent, &attempt);
            Ok(state.read(intent))
        })
    }

    /// Performs what a customer does in the portal.
    pub fn portal(&self, customer: &str, act: &PortalAct) -> Result {
        self.with(|state| portal_acts::act(state, customer, act))
    }

    /// Updates a subscription as in the dashboard; parameters as of the API.
    pub fn update_subscription(&self, id: &str, params: &Value) -> Result {
        self.call("POST", &format!("/v1/subscriptions/{id}"), params)
    }

    /// Cancels a subscription now.
    pub fn cancel_subscription(&self, id: &str) -> Result {
        self.call("DELETE", &format!("/v1/subscriptions/{id}"), &json!({}))
    }

    /// Deletes a customer, whose subscriptions end.
    pub fn delete_customer(&self, id: &str) -> Result {
        self.call("DELETE", &format!("/v1/customers/{id}"), &json!({}))
    }

    /// Opens a dispute of a charge, such as `fraudulent`; returns it.
    pub fn dispute(&self, charge: &str, reason: &str) -> Result {
        self.with(|state| disputes::open(state, charge, reason))
    }

    /// Closes a dispute.
    pub fn close_dispute(&self, dispute: &str, won: bool) -> Result {
        self.with(|state| disputes::close(state, dispute, won))
    }

    /// Refunds a part of a charge, or all that is left.
    pub fn refund(&self, charge: &str, amount: Option<i64>) -> Result {
        self.with(|state| refunds::refund(state, charge, amount, None, &json!({})))
    }

    /// Adds a fault of the next matching calls.
    pub fn fault(&self, fault: StripeFault) {
        self.with(|state| state.faults.add(fault));
    }

    /// Removes every fault.
    pub fn clear_faults(&self) {
        self.with(|state| state.faults.clear());
    }

    /// Adds a webhook endpoint with a known secret; returns its id.
    pub fn add_endpoint(
        &self,
        url: &str,
        secret: &str,
        api_version: Option<&str>,
        events: &[&str],
    ) -> String {
        let id = self.with(|state| state.id("we"));
        self.put_endpoint(&id, url, secret, api_version, events);
        id
    }

    /// Adds or replaces the webhook endpoint with this id.
    pub fn put_endpoint(
        &self,
        id: &str,
        url: &str,
        secret: &str,
        api_version: Option<&str>,
        events: &[&str],
    ) {
        let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
        self.with(|state| endpoints::insert(state, id, url, secret, api_version, &events));
    }

    /// Sends the events of an endpoint to another address than the one that it shows.
    pub fn forward(&self, endpoint: &str, url: &str) {
        self.with(|state| state.hide(endpoint, "forward_to", json!(url)));
    }

    /// Sends again every event that an endpoint has not accepted.
    pub fn resend_pending(&self) {
        self.with(State::resend_pending);
    }

    /// Gives an endpoint a new secret; the old ones sign too while they are kept.
    pub fn roll_secret(&self, endpoint: &str, secret: &str, keep_old: bool) {
        self.with(|state| endpoints::roll(state, endpoint, secret, keep_old));
    }

    /// Holds every event back until `release`.
    pub fn hold(&self) {
        self.with(State::hold_events);
    }

    /// Ids of the held events, the oldest first.
    pub fn held(&self) -> Vec<String> {
        self.with(|state| state.held_events())
    }

    /// Sends the held events.
    pub fn release(&self, order: &Release) {
        self.with(|state| state.release_events(order));
    }

    /// Never delivers the next events.
    pub fn drop_next(&self, count: usize) {
        self.with(|state| state.drop_events(count));
    }

    /// Delivers each of the next events twice, the second time under a new id if asked.
    pub fn duplicate_next(&self, count: usize, under_new_id: bool) {
        self.with(|state| state.duplicate_events(count, under_new_id));
    }

    /// Every event, the oldest first.
    pub fn events(&self) -> Vec<Value> {
        self.objects("event")
    }

    /// Delivers an event again: under a new id, or in another API version, if asked. Returns its id.
    pub fn resend(
        &self,
        event: &str,
        under_new_id: bool,
        api_version: Option<&str>,
    ) -> Option<String> {
        self.with(|state| {
            let id = if under_new_id {
                state.copy_event(event)?
            } else {
                text(state.get(event)?, "id").to_owned()
            };
            state.send_event(&id, api_version);
            Some(id)
        })
    }

    /// Seconds added to the time in signatures, for a service whose clock is moved.
    pub fn signature_offset(&self, seconds: i64) {
        self.with(|state| state.deliveries.signature_offset = seconds);
    }

    /// The `Stripe-Signature` and the body of an event for the first endpoint, without sending.
    pub fn signed(&self, event: &str) -> Option<(String, Vec<u8>)> {
        self.with(|state| {
            let endpoint = text(state.all("webhook_endpoint").next()?, "id").to_owned();
            state.signed(event, &endpoint, None)
        })
    }

    /// Every attempt to deliver an event so far.
    pub fn deliveries(&self) -> Vec<DeliveryAttempt> {
        self.with(|state| state.deliveries.attempts.clone())
    }

    /// Waits until every event that is not held is delivered or given up.
    ///
    /// # Panics
    /// After thirty seconds.
    pub async fn delivered(&self) {
        let idle = async {
            while self.with(|state| state.deliveries.unfinished) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), idle)
            .await
            .unwrap_or_else(|_| panic!("webhooks are not delivered: {:?}", self.deliveries()));
    }
}
