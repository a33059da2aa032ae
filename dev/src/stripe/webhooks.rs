//! Webhooks: signed deliveries, retried until 2xx, which tests hold, drop, duplicate and reorder.

use std::{collections::HashMap, fmt::Write, sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use chrono::Utc;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    account::Account,
    events::pattern_matches,
    state::{State, text},
    versions,
};

/// Deliveries to one endpoint at the same time.
const PARALLEL: usize = 8;
/// Seconds before each further attempt.
const BACKOFF: [u64; 10] = [1, 2, 4, 8, 15, 30, 60, 120, 300, 600];
const TIMEOUT: Duration = Duration::from_secs(20);

/// The order in which held events are released.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// As they were emitted.
    AsSent,
    /// The newest first.
    Reversed,
    /// These event ids in this order; those not listed are dropped.
    Given(Vec<String>),
}

/// One attempt to deliver an event.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct DeliveryAttempt {
    /// Event id.
    pub event: String,
    /// Endpoint id.
    pub endpoint: String,
    /// Number of the attempt, from 1.
    pub attempt: usize,
    /// Status of the answer; absent where none came.
    pub status: Option<u16>,
}

#[derive(Clone, Debug)]
pub(super) struct Delivery {
    event: String,
    endpoint: String,
    version: Option<String>,
}

/// State of the deliveries of one account.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// Batches that are delivered side by side, each in its order.
    pub(super) ready: Vec<Vec<Delivery>>,
    held: Option<Vec<String>>,
    drop_next: usize,
    duplicate_next: usize,
    duplicate_under_new_id: bool,
    /// Seconds added to the time in signatures.
    pub(super) signature_offset: i64,
    pub(super) unfinished: usize,
    pub(super) attempts: Vec<DeliveryAttempt>,
    permits: HashMap<String, Arc<Semaphore>>,
}

impl State {
    /// Sends an event to the endpoints that want it, or holds it.
    pub(super) fn queue_event(&mut self, id: &str) {
        if let Some(held) = &mut self.deliveries.held {
            held.push(id.into());
            return;
        }
        if self.deliveries.drop_next > 0 {
            self.deliveries.drop_next -= 1;
            return;
        }
        self.send_event(id, None);
        if self.deliveries.duplicate_next > 0 {
            self.deliveries.duplicate_next -= 1;
            let second = if self.deliveries.duplicate_under_new_id {
                self.copy_event(id)
            } else {
                Some(id.into())
            };
            if let Some(second) = second {
                self.send_event(&second, None);
            }
        }
    }

    /// Sends an event to the endpoints that want it, under a version if one is given.
    pub(super) fn send_event(&mut self, id: &str, version: Option<&str>) {
        let kind = text(&self.read(id), "type").to_owned();
        let wants = |endpoint: &Value| {
            endpoint["status"] == "enabled"
                && endpoint["enabled_events"]
                    .as_array()
                    .is_some_and(|patterns| {
                        patterns.iter().any(|pattern| {
                            pattern_matches(pattern.as_str().unwrap_or_default(), &kind)
                        })
                    })
        };
        let endpoints = self.ids_where("webhook_endpoint", wants);
        self.edit(id, |event| {
            event["pending_webhooks"] = json!(endpoints.len());
        });
        self.deliveries.unfinished += endpoints.len();
        self.deliveries
            .ready
            .extend(endpoints.into_iter().map(|endpoint| {
                vec![Delivery {
                    event: id.into(),
                    endpoint,
                    version: version.map(Into::into),
                }]
            }));
    }

    pub(super) fn hold_events(&mut self) {
        self.deliveries.held.get_or_insert_default();
    }

    pub(super) fn held_events(&self) -> Vec<String> {
        self.deliveries.held.clone().unwrap_or_default()
    }

    pub(super) fn release_events(&mut self, order: &Release) {
        let mut held = self.deliveries.held.take().unwrap_or_default();
        match order {
            Release::AsSent => {}
            Release::Reversed => held.reverse(),
            Release::Given(ids) => held.clone_from(ids),
        }
        let before = std::mem::take(&mut self.deliveries.ready);
        for id in held {
            self.queue_event(&id);
        }
        let batch = std::mem::replace(&mut self.deliveries.ready, before).concat();
        self.deliveries.ready.push(batch);
    }

    pub(super) fn drop_events(&mut self, count: usize) {
        self.deliveries.drop_next = count;
    }

    pub(super) fn duplicate_events(&mut self, count: usize, under_new_id: bool) {
        self.deliveries.duplicate_next = count;
        self.deliveries.duplicate_under_new_id = under_new_id;
    }

    /// The signature and the body of an event for an endpoint.
    pub(super) fn signed(
        &self,
        event: &str,
        endpoint: &str,
        version: Option<&str>,
    ) -> Option<(String, Vec<u8>)> {
        let event = self.get(event)?;
        let known = self.get(endpoint)?;
        let body = versions::event_for(event, version.or(known["api_version"].as_str()));
        let body = serde_json::to_vec_pretty(&body).ok()?;
        let at = Utc::now().timestamp() + self.deliveries.signature_offset;
        let secrets = self.hidden(endpoint)["secrets"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let secrets: Vec<&str> = secrets.iter().filter_map(Value::as_str).collect();
        Some((signature(&secrets, at, &body), body))
    }
}

/// `Stripe-Signature` of a body at a time in Unix seconds: one `v1` for each secret.
#[must_use]
pub fn signature(secrets: &[&str], at: i64, body: &[u8]) -> String {
    let mut out = format!("t={at}");
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{at}.").as_bytes());
        context.update(body);
        out.push_str(",v1=");
        for byte in context.sign().as_ref() {
            let _ = write!(out, "{byte:02x}");
        }
    }
    out
}

/// Delivers a batch in its order; what is refused is retried on the side.
pub(super) async fn deliver(account: Arc<Account>, batch: Vec<Delivery>, client: reqwest::Client) {
    for delivery in batch {
        if !attempt(&account, &delivery, &client, 1).await {
            account.spawn(retry(Arc::clone(&account), delivery, client.clone()));
        }
    }
}

/// Retries a delivery until it is accepted or the attempts are used up.
async fn retry(account: Arc<Account>, delivery: Delivery, client: reqwest::Client) {
    for (number, seconds) in (2..).zip(BACKOFF) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        if attempt(&account, &delivery, &client, number).await {
            return;
        }
    }
    account.with(|state| state.deliveries.unfinished -= 1);
}

/// One attempt; whether the delivery is finished.
async fn attempt(
    account: &Account,
    delivery: &Delivery,
    client: &reqwest::Client,
    number: usize,
) -> bool {
    let permits = account.with(|state| {
        let permits = &mut state.deliveries.permits;
        let new = || Arc::new(Semaphore::new(PARALLEL));
        Arc::clone(permits.entry(delivery.endpoint.clone()).or_insert_with(new))
    });
    let permit = permits.acquire().await;
    let status = attempt_once(account, delivery, client).await;
    drop(permit);
    account.with(|state| {
        // Without a status the endpoint is deleted.
        let accepted = status.is_none_or(|status| matches!(status, Ok(200..=299)));
        if let Some(status) = status {
            state.deliveries.attempts.push(DeliveryAttempt {
                event: delivery.event.clone(),
                endpoint: delivery.endpoint.clone(),
                attempt: number,
                status: status.ok(),
            });
        }
        if accepted {
            state.deliveries.unfinished -= 1;
            state.edit(&delivery.event, |event| {
                let pending = event["pending_webhooks"].as_i64().unwrap_or(1);
                event["pending_webhooks"] = json!((pending - 1).max(0));
            });
        }
        accepted
    })
}

/// The status of one attempt; None where the endpoint or the event no longer exists.
async fn attempt_once(
    account: &Account,
    delivery: &Delivery,
    client: &reqwest::Client,
) -> Option<Result<u16, ()>> {
    let (url, (signature, body)) = account.with(|state| {
        let shown = text(state.get(&delivery.endpoint)?, "url");
        let forward = state.hidden(&delivery.endpoint)["forward_to"].as_str();
        let url = forward.unwrap_or(shown).to_owned();
        let signed = state.signed(
            &delivery.event,
            &delivery.endpoint,
            delivery.version.as_deref(),
        )?;
        Some((url, signed))
    })?;
    let sent = client
        .post(url)
        .header("Content-Type", "application/json; charset=utf-8")
        .header("User-Agent", "Stripe/1.0 (fake)")
        .header("Stripe-Signature", signature)
        .timeout(TIMEOUT)
        .body(body)
        .send()
        .await;
    Some(match sent {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let _ = answer.bytes().await;
            Ok(status)
        }
        Err(_) => Err(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_one_v1_for_each_secret() {
        let signature = signature(&["a", "b"], 12, b"{}");
        assert!(signature.starts_with("t=12,v1="));
        assert_eq!(signature.matches(",v1=").count(), 2);
    }
}
