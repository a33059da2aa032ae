//! Objects of one account, their ids, and its clock.

pub(super) mod snapshot;

use std::collections::{HashMap, VecDeque};

use chrono::Utc;
use serde_json::{Map, Value, json};

use super::{
    error::{Result, StripeError},
    faults::Faults,
    idempotency::Keys,
    log::LoggedRequest,
    webhooks::Deliveries,
};

/// The API version that the fake speaks.
pub(super) const API_VERSION: &str = "2026-09-30.endive";

/// An object, and facts about it that the API does not show.
#[derive(Debug)]
struct Stored {
    value: Value,
    hidden: Value,
}

/// What becomes of a subscription after the last failed retry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterRetries {
    /// The subscription is canceled.
    #[default]
    Cancel,
    /// The subscription is unpaid and its later invoices stay drafts.
    Unpaid,
}

/// Everything of one account.
#[derive(Debug)]
pub(super) struct State {
    pub(super) livemode: bool,
    /// Base of the pages' addresses, without a slash at the end.
    pub(super) url: String,
    salt: String,
    counter: u64,
    revision: u64,
    objects: HashMap<String, Stored>,
    kinds: HashMap<String, Vec<String>>,
    /// Seconds that the account's clock is ahead of real time.
    offset: i64,
    /// The time at which something that is due happens.
    pinned: Option<i64>,
    pub(super) cause: Option<(String, Option<String>)>,
    pub(super) after_retries: AfterRetries,
    pub(super) keys: Keys,
    pub(super) faults: Faults,
    pub(super) log: VecDeque<LoggedRequest>,
    pub(super) deliveries: Deliveries,
    pub(super) meter_events: Vec<Value>,
}

impl State {
    pub(super) fn new(key: &str, epoch: i64, url: &str) -> Self {
        let livemode = key.starts_with("sk_live_") || key.starts_with("rk_live_");
        Self {
            livemode,
            url: url.into(),
            salt: salt(key, epoch),
            counter: 0,
            revision: 0,
            objects: HashMap::new(),
            kinds: HashMap::new(),
            offset: 0,
            pinned: None,
            cause: None,
            after_retries: AfterRetries::default(),
            keys: Keys::default(),
            faults: Faults::default(),
            log: VecDeque::new(),
            deliveries: Deliveries::default(),
            meter_events: Vec::new(),
        }
    }

    pub(super) fn account_id(&self) -> String {
        format!("acct_{}", self.salt)
    }

    /// The account's time, in Unix seconds.
    pub(super) fn now(&self) -> i64 {
        self.pinned
            .unwrap_or_else(|| Utc::now().timestamp() + self.offset)
    }

    /// Holds the clock at one time until it is released.
    pub(super) fn pin(&mut self, at: Option<i64>) {
        self.pinned = at;
    }

    /// Moves the clock forward to a time; a time in the past is ignored.
    pub(super) fn move_to(&mut self, unix: i64) {
        self.revision += 1;
        self.offset = self.offset.max(unix - Utc::now().timestamp());
    }

    /// The next id with a prefix such as `cus`.
    pub(super) fn id(&mut self, prefix: &str) -> String {
        self.counter += 1;
        self.revision += 1;
        format!("{prefix}_{}{}", self.salt, base36(self.counter))
    }

    /// Stores a new object and returns its id.
    pub(super) fn insert(&mut self, value: Value) -> String {
        self.insert_with(value, Value::Object(Map::new()))
    }

    pub(super) fn insert_with(&mut self, value: Value, hidden: Value) -> String {
        self.revision += 1;
        let id = value["id"].as_str().unwrap_or_default().to_owned();
        let kind = value["object"].as_str().unwrap_or_default().to_owned();
        let ids = self.kinds.entry(kind).or_default();
        if self
            .objects
            .insert(id.clone(), Stored { value, hidden })
            .is_none()
        {
            ids.push(id.clone());
        }
        id
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.revision += 1;
        if let Some(stored) = self.objects.remove(id)
            && let Some(ids) = stored.value["object"]
                .as_str()
                .and_then(|kind| self.kinds.get_mut(kind))
        {
            ids.retain(|other| other != id);
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Value> {
        self.objects.get(id).map(|stored| &stored.value)
    }

    /// A copy of an object that exists; `null` where it does not.
    pub(super) fn read(&self, id: &str) -> Value {
        self.get(id).cloned().unwrap_or(Value::Null)
    }

    /// An object of one kind, or Stripe's `resource_missing` for a parameter.
    pub(super) fn find(&self, kind: &str, id: &str, param: &str) -> Result<&Value> {
        self.get(id)
            .filter(|value| value["object"] == kind)
            .ok_or_else(|| StripeError::missing(kind, id, param))
    }

    pub(super) fn hidden(&self, id: &str) -> &Value {
        self.objects
            .get(id)
            .map_or(&Value::Null, |stored| &stored.hidden)
    }

    pub(super) fn hide(&mut self, id: &str, name: &str, value: Value) {
        if let Some(stored) = self.objects.get_mut(id) {
            self.revision += 1;
            stored.hidden[name] = value;
        }
    }

    /// Objects of one kind, the oldest first.
    pub(super) fn all(&self, kind: &str) -> impl DoubleEndedIterator<Item = &Value> {
        self.kinds
            .get(kind)
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(|id| self.get(id))
    }

    pub(super) fn ids_where(&self, kind: &str, test: impl Fn(&Value) -> bool) -> Vec<String> {
        self.all(kind)
            .filter(|value| test(value))
            .map(|value| text(value, "id").to_owned())
            .collect()
    }

    /// Changes an object and returns the former values of its fields that changed.
    pub(super) fn edit(&mut self, id: &str, change: impl FnOnce(&mut Value)) -> Map<String, Value> {
        let Some(stored) = self.objects.get_mut(id) else {
            return Map::new();
        };
        let before = stored.value.clone();
        change(&mut stored.value);
        let changed = changed(&before, &stored.value);
        self.revision += u64::from(!changed.is_empty());
        changed
    }

    /// Changes an object and emits an event if that changed anything.
    pub(super) fn update(&mut self, id: &str, event: &str, change: impl FnOnce(&mut Value)) {
        let previous = self.edit(id, change);
        if !previous.is_empty() {
            self.emit_change(event, id, previous);
        }
    }

    /// The requests' and the ids' part of the account's secret.
    pub(super) fn salt(&self) -> &str {
        &self.salt
    }
}

/// Former values of changed fields; inside a hash only the changed keys.
fn changed(before: &Value, after: &Value) -> Map<String, Value> {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else {
        return Map::new();
    };
    let mut out = Map::new();
    for (key, old) in before {
        let new = after.get(key).unwrap_or(&Value::Null);
        if old == new {
            continue;
        }
        let inner = changed(old, new);
        let is_hash = old.is_object() && new.is_object() && !inner.is_empty();
        out.insert(
            key.clone(),
            if is_hash {
                Value::Object(inner)
            } else {
                old.clone()
            },
        );
    }
    for key in after.keys().filter(|key| !before.contains_key(*key)) {
        out.insert(key.clone(), Value::Null);
    }
    out
}

/// A text field; empty where it is absent or null.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// An integer field; zero where it is absent or null.
pub(super) fn int(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or_default()
}

/// A secret that belongs to an id.
pub(super) fn secret_of(id: &str) -> String {
    format!("{id}_secret_{}", salt(id, 7))
}

/// A list inside an object, complete.
pub(super) fn sublist(data: &[Value], url: &str) -> Value {
    json!({ "object": "list", "total_count": data.len(), "data": data, "has_more": false, "url": url })
}

/// Eight letters and digits that a text determines.
fn salt(text: &str, epoch: i64) -> String {
    let hash = text
        .bytes()
        .chain(epoch.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let digits = base36(hash ^ (hash >> 29));
    digits[digits.len() - 8..].to_owned()
}

/// A number in base 36, at least eight digits.
fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 || digits.len() < 8 {
        let digit = u8::try_from(number % 36).unwrap_or(0);
        digits.push(if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        });
        number /= 36;
    }
    digits.reverse();
    digits.into_iter().map(char::from).collect()
}
