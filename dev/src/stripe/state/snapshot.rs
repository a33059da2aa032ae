//! An account as it is kept in a file between two runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AfterRetries, State, int};
use crate::stripe::events::KEPT_SECONDS;

/// Objects, counters and clock. The log of calls, idempotency keys, faults and held events are not kept.
#[derive(Serialize, Deserialize)]
pub(in crate::stripe) struct Snapshot {
    salt: String,
    counter: u64,
    offset: i64,
    after_retries: AfterRetries,
    /// Each with its hidden facts; those of one kind in their order.
    objects: Vec<(Value, Value)>,
    meter_events: Vec<Value>,
}

impl State {
    pub(in crate::stripe) fn snapshot(&self) -> Snapshot {
        let oldest = self.now() - KEPT_SECONDS;
        let is_kept = |value: &Value| value["object"] != "event" || int(value, "created") >= oldest;
        let stored = self
            .kinds
            .values()
            .flatten()
            .filter_map(|id| self.objects.get(id));
        Snapshot {
            salt: self.salt.clone(),
            counter: self.counter,
            offset: self.offset,
            after_retries: self.after_retries,
            objects: stored
                .filter(|stored| is_kept(&stored.value))
                .map(|stored| (stored.value.clone(), stored.hidden.clone()))
                .collect(),
            meter_events: self.meter_events.clone(),
        }
    }

    pub(in crate::stripe) fn restore(&mut self, snapshot: Snapshot) {
        self.salt = snapshot.salt;
        self.counter = snapshot.counter;
        self.offset = snapshot.offset;
        self.after_retries = snapshot.after_retries;
        self.meter_events = snapshot.meter_events;
        for (value, hidden) in snapshot.objects {
            self.insert_with(value, hidden);
        }
    }

    /// Sends again what no endpoint has accepted.
    pub(in crate::stripe) fn resend_pending(&mut self) {
        for event in self.ids_where("event", |event| int(event, "pending_webhooks") > 0) {
            self.send_event(&event, None);
        }
    }

    /// Grows with every change.
    pub(in crate::stripe) fn revision(&self) -> u64 {
        self.revision
    }
}
