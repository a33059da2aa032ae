//! Collects every validation error of a rejected body. Serde stops at the first one, so the body is deserialized
//! again without the values that were rejected before, until nothing more is rejected.
//!
//! Only rejected bodies pay for it. What was read once is removed as well, so the whole takes about
//! as long as reading the body twice, whatever the number of faults. Required fields come from the
//! OpenAPI schema of the type, since serde names the first missing one only.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use crate::fault::{self, Step};
use crate::problem::FieldError;

/// The most faults that a problem lists.
pub(super) const MAX: usize = 100;

const NUL: &str = "must not contain the character U+0000";

/// Every fault of a JSON text that cannot be a `T`, after the `first` one.
pub(super) fn of_body<T: DeserializeOwned + ToSchema>(
    text: &str,
    first: FieldError,
) -> Vec<FieldError> {
    let mut found = Found::default();
    found.add(first);
    if let Ok(body) = serde_json::from_str(text) {
        collect::<T>(&body, &mut found);
    }
    found.list
}

/// Every fault of a JSON text in which a text holds U+0000; none where no text does.
pub(super) fn with_nul<T: DeserializeOwned + ToSchema>(text: &str) -> Vec<FieldError> {
    let mut found = Found::default();
    if !fault::escapes_nul(text.as_bytes()) {
        return found.list;
    }
    if let Ok(mut body) = serde_json::from_str(text) {
        take_nul(&mut body, &mut Vec::new(), &mut found);
        if !found.list.is_empty() {
            collect::<T>(&body, &mut found);
        }
    }
    found.list
}

/// Faults, one for each field.
#[derive(Default)]
struct Found {
    list: Vec<FieldError>,
    fields: BTreeSet<String>,
}

impl Found {
    fn is_full(&self) -> bool {
        self.list.len() >= MAX
    }

    fn add(&mut self, fault: FieldError) {
        if !self.is_full() && self.fields.insert(fault.field.clone().into_owned()) {
            self.list.push(fault);
        }
    }

    fn add_required(&mut self, place: &[Step]) {
        self.add(fault::at(place, "required", "is required"));
    }
}

/// Notes each text with U+0000, and puts `null` in its place.
fn take_nul(value: &mut Value, place: &mut Vec<Step>, found: &mut Found) {
    match value {
        Value::String(text) if text.contains('\0') => {
            found.add(fault::at(place, "invalid", NUL));
            *value = Value::Null;
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                place.push(Step::Index(index));
                take_nul(item, place, found);
                place.pop();
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                place.push(Step::Key(key.clone()));
                if key.contains('\0') {
                    found.add(fault::at(place, "invalid", NUL));
                }
                take_nul(field, place, found);
                place.pop();
            }
        }
        _ => {}
    }
}

fn collect<T: DeserializeOwned + ToSchema>(body: &Value, found: &mut Found) {
    let mut reading = Reading {
        whole: body,
        rest: body.clone(),
        shifts: BTreeMap::new(),
        incomplete: BTreeSet::new(),
    };
    while !found.is_full() {
        let Err(error) = serde_path_to_error::deserialize::<_, T>(&reading.rest) else {
            break;
        };
        let path = fault::steps(error.path());
        reading.note(&path, &error.inner().to_string(), found);
        if !reading.skip(&path) {
            break;
        }
    }
    Schema::of::<T>().find_missing(body, found);
}

/// A body of which parts were read.
struct Reading<'a> {
    whole: &'a Value,
    /// Fields that are still to be read.
    rest: Value,
    /// How many items were removed from the start of an array.
    shifts: BTreeMap<Vec<Step>, usize>,
    /// Objects and arrays that have lost a part, so that what is said of them as a whole is void.
    incomplete: BTreeSet<Vec<Step>>,
}

impl Reading<'_> {
    fn note(&self, path: &[Step], message: &str, found: &mut Found) {
        let mut place = self.original(path);
        match fault::missing_field(message) {
            Some(name) => {
                place.push(Step::Key(name.to_owned()));
                if !is_there(self.whole, &place) {
                    found.add_required(&place);
                }
            }
            None if self.incomplete.contains(&place) => {}
            None => found.add(fault::describe(&place, message)),
        }
    }

    /// A path in the whole body, from one in what is left of it.
    fn original(&self, path: &[Step]) -> Vec<Step> {
        let mut place = Vec::with_capacity(path.len() + 1);
        for step in path {
            let step = match step {
                Step::Index(index) => Step::Index(index + self.shifts.get(&place).unwrap_or(&0)),
                Step::Key(key) => Step::Key(key.clone()),
            };
            place.push(step);
        }
        place
    }

    /// Removes the value at a path and all that was read before it. `false` when that is the body.
    fn skip(&mut self, path: &[Step]) -> bool {
        let depth = reachable(&self.rest, path);
        let Some((last, parents)) = path[..depth].split_last() else {
            return false;
        };
        let mut node = &mut self.rest;
        let mut place = Vec::new();
        for step in parents {
            self.incomplete.insert(place.clone());
            let next = match (step, node) {
                (Step::Key(key), Value::Object(fields)) => {
                    remove_before(fields, key);
                    place.push(step.clone());
                    fields.get_mut(key)
                }
                (Step::Index(index), Value::Array(items)) => {
                    items.drain(..*index);
                    let shift = self.shifts.entry(place.clone()).or_default();
                    *shift += index;
                    let first = *shift;
                    place.push(Step::Index(first));
                    items.first_mut()
                }
                _ => None,
            };
            let Some(next) = next else {
                return false;
            };
            node = next;
        }
        match (last, node) {
            (Step::Key(key), Value::Object(fields)) => {
                remove_before(fields, key);
                fields.remove(key);
            }
            (Step::Index(index), Value::Array(items)) => {
                items.drain(..=*index);
                *self.shifts.entry(place.clone()).or_default() += index + 1;
            }
            _ => return false,
        }
        self.incomplete.insert(place);
        true
    }
}

/// Removes the fields that come before `key`.
fn remove_before(fields: &mut serde_json::Map<String, Value>, key: &str) {
    let before: Vec<_> = fields
        .keys()
        .take_while(|name| *name != key)
        .cloned()
        .collect();
    for name in before {
        fields.remove(&name);
    }
}

fn child<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    }
}

/// How many steps of a path lead to a value.
fn reachable(value: &Value, path: &[Step]) -> usize {
    let mut at = value;
    let followed = path.iter().take_while(|step| match child(at, step) {
        Some(next) => {
            at = next;
            true
        }
        None => false,
    });
    followed.count()
}

fn is_there(value: &Value, path: &[Step]) -> bool {
    reachable(value, path) == path.len()
}

/// The OpenAPI schema of a type, with those that it refers to.
struct Schema {
    root: Value,
    named: BTreeMap<String, Value>,
}

impl Schema {
    fn of<T: ToSchema>() -> Self {
        let mut named = Vec::new();
        T::schemas(&mut named);
        let json = |schema| serde_json::to_value(schema).unwrap_or_default();
        Self {
            root: json(T::schema()),
            named: named
                .into_iter()
                .map(|(name, it)| (name, json(it)))
                .collect(),
        }
    }

    fn find_missing(&self, body: &Value, found: &mut Found) {
        self.walk(body, &self.root, &mut Vec::new(), found);
    }

    fn walk(&self, value: &Value, schema: &Value, place: &mut Vec<Step>, found: &mut Found) {
        let schema = self.resolve(schema);
        match value {
            Value::Object(fields) => {
                let required = schema["required"].as_array().into_iter().flatten();
                for name in required.filter_map(Value::as_str) {
                    if !fields.contains_key(name) {
                        place.push(Step::Key(name.to_owned()));
                        found.add_required(place);
                        place.pop();
                    }
                }
                for (name, field) in fields {
                    if let Some(schema) = schema["properties"].get(name) {
                        place.push(Step::Key(name.clone()));
                        self.walk(field, schema, place, found);
                        place.pop();
                    }
                }
            }
            Value::Array(items) if schema["items"].is_object() => {
                for (index, item) in items.iter().enumerate() {
                    if found.is_full() {
                        return;
                    }
                    place.push(Step::Index(index));
                    self.walk(item, &schema["items"], place, found);
                    place.pop();
                }
            }
            _ => {}
        }
    }

    /// The schema that is referred to; of a value that may be `null`, that of the value.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap_or_default();
            return self.named.get(name).unwrap_or(&Value::Null);
        }
        match schema["oneOf"].as_array().map(Vec::as_slice) {
            Some([null, value] | [value, null]) if null["type"] == "null" => self.resolve(value),
            _ => schema,
        }
    }
}

#[cfg(test)]
mod tests;
