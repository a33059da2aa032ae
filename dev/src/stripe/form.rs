//! Form bodies and queries with nested brackets: `items[0][price]=…`, `expand[]=…`.

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::error::{Result, StripeError};

/// Parameters of one request, as a tree whose leaves are strings.
#[derive(Clone, Debug)]
pub(super) struct Params {
    tree: Value,
    /// The name in front of this subtree, as errors give it.
    prefix: String,
}

impl Params {
    pub(super) fn parse(texts: &[&[u8]]) -> Self {
        let mut tree = Value::Object(Map::new());
        for (key, value) in texts.iter().flat_map(|text| form_urlencoded::parse(text)) {
            insert(&mut tree, &segments(&key), &value);
        }
        normalise(&mut tree);
        if tree.is_array() {
            tree = Value::Object(Map::new());
        }
        Self {
            tree,
            prefix: String::new(),
        }
    }

    /// Parameters from JSON, for calls in the process.
    pub(super) fn of(value: &Value) -> Self {
        let mut tree = value.clone();
        stringify(&mut tree);
        Self {
            tree,
            prefix: String::new(),
        }
    }

    pub(super) fn tree(&self) -> &Value {
        &self.tree
    }

    /// Refuses every parameter that is not in the list: names separated by spaces, `a.b` nested,
    /// `a[].b` in a list, `a.*` for any subtree. `expand` is always accepted.
    pub(super) fn allow(&self, names: &str) -> Result<()> {
        let mut leaves = Vec::new();
        leaf_paths(&self.tree, String::new(), String::new(), &mut leaves);
        for (path, written) in leaves {
            let known = path == "expand[]"
                || names.split_whitespace().any(|name| match name.strip_suffix(".*") {
                    Some(subtree) => path.starts_with(subtree),
                    None => path == name || path.strip_suffix("[]") == Some(name),
                })
                // An empty string unsets a whole hash or list.
                || (self.value(&path).and_then(Value::as_str) == Some("")
                    && names.split_whitespace().any(|name| {
                        name.starts_with(&format!("{path}.")) || name.starts_with(&format!("{path}["))
                    }));
            if !known {
                return Err(StripeError::unknown_parameter(&written));
            }
        }
        Ok(())
    }

    fn value(&self, path: &str) -> Option<&Value> {
        path.split('.')
            .try_fold(&self.tree, |node, key| match node {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?),
                node => node.get(key),
            })
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.value(path).is_some()
    }

    /// The text of a parameter; empty where it is unset on purpose.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.value(path)?.as_str()
    }

    /// The text of a parameter that is neither absent nor empty.
    pub(super) fn filled(&self, path: &str) -> Option<&str> {
        self.text(path).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&self, path: &str) -> Result<&str> {
        self.filled(path)
            .ok_or_else(|| StripeError::parameter_missing(&self.name(path)))
    }

    pub(super) fn int(&self, path: &str) -> Result<Option<i64>> {
        let Some(text) = self.filled(path) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            StripeError::invalid(format!("Invalid integer: {text}"))
                .code("parameter_invalid_integer")
                .param(self.name(path))
        })
    }

    pub(super) fn required_int(&self, path: &str) -> Result<i64> {
        self.int(path)?
            .ok_or_else(|| StripeError::parameter_missing(&self.name(path)))
    }

    pub(super) fn flag(&self, path: &str) -> Result<Option<bool>> {
        match self.filled(path) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(text) => {
                Err(StripeError::invalid(format!("Invalid boolean: {text}")).param(self.name(path)))
            }
        }
    }

    /// One of some words.
    pub(super) fn choice(
        &self,
        path: &str,
        choices: &[&'static str],
    ) -> Result<Option<&'static str>> {
        let Some(text) = self.filled(path) else {
            return Ok(None);
        };
        choices
            .iter()
            .find(|choice| **choice == text)
            .map(|choice| Some(*choice))
            .ok_or_else(|| {
                StripeError::invalid(format!(
                    "Invalid {}: must be one of {}",
                    self.name(path),
                    choices.join(", ")
                ))
                .param(self.name(path))
            })
    }

    /// The elements of a list, each with its own name in errors.
    pub(super) fn list(&self, path: &str) -> Vec<Params> {
        let Some(Value::Array(items)) = self.value(path) else {
            return Vec::new();
        };
        let name = self.name(path);
        let of = |(at, tree): (usize, &Value)| Params {
            tree: tree.clone(),
            prefix: format!("{name}[{at}]"),
        };
        items.iter().enumerate().map(of).collect()
    }

    pub(super) fn texts(&self, path: &str) -> Vec<String> {
        match self.value(path) {
            Some(Value::Array(items)) => items
                .iter()
                .filter_map(|item| Some(item.as_str()?.to_owned()))
                .collect(),
            Some(Value::String(text)) if !text.is_empty() => vec![text.clone()],
            _ => Vec::new(),
        }
    }

    /// Merges `metadata[key]=value` into an object; an empty value removes the key.
    pub(super) fn merge_metadata(&self, path: &str, into: &mut Value) {
        if !into.is_object() {
            *into = Value::Object(Map::new());
        }
        let Some(object) = into.as_object_mut() else {
            return;
        };
        match self.value(path) {
            Some(Value::String(text)) if text.is_empty() => object.clear(),
            Some(Value::Object(changes)) => {
                for (key, value) in changes {
                    if value.as_str() == Some("") {
                        object.remove(key);
                    } else {
                        object.insert(key.clone(), value.clone());
                    }
                }
            }
            _ => {}
        }
    }

    pub(super) fn metadata(&self, path: &str) -> Value {
        let mut metadata = Value::Object(Map::new());
        self.merge_metadata(path, &mut metadata);
        metadata
    }

    /// `a.b.0` as `a[b][0]` below the prefix.
    pub(super) fn name(&self, path: &str) -> String {
        path.split('.').fold(self.prefix.clone(), |name, key| {
            if name.is_empty() {
                key.to_owned()
            } else {
                format!("{name}[{key}]")
            }
        })
    }
}

fn segments(key: &str) -> Vec<&str> {
    let Some((head, rest)) = key.split_once('[') else {
        return vec![key];
    };
    let rest = rest.strip_suffix(']').unwrap_or(rest);
    std::iter::once(head).chain(rest.split("][")).collect()
}

fn insert(node: &mut Value, path: &[&str], value: &str) {
    let Some((key, rest)) = path.split_first() else {
        *node = Value::String(value.into());
        return;
    };
    if !node.is_object() {
        *node = Value::Object(Map::new());
    }
    if let Value::Object(map) = node {
        let key = if key.is_empty() {
            map.len().to_string()
        } else {
            (*key).to_owned()
        };
        insert(map.entry(key).or_insert(Value::Null), rest, value);
    }
}

/// Turns objects whose keys are all numbers into lists.
fn normalise(node: &mut Value) {
    let Value::Object(map) = node else { return };
    map.values_mut().for_each(normalise);
    let numbers: Option<Vec<usize>> = map.keys().map(|key| key.parse().ok()).collect();
    if let Some(mut numbers) = numbers.filter(|numbers| !numbers.is_empty()) {
        numbers.sort_unstable();
        let items = numbers
            .iter()
            .filter_map(|at| map.remove(&at.to_string()))
            .collect();
        *node = Value::Array(items);
    }
}

fn stringify(node: &mut Value) {
    match node {
        Value::Object(map) => map.values_mut().for_each(stringify),
        Value::Array(items) => items.iter_mut().for_each(stringify),
        Value::Null => *node = Value::String(String::new()),
        Value::Bool(flag) => *node = Value::String(flag.to_string()),
        Value::Number(number) => *node = Value::String(number.to_string()),
        Value::String(_) => {}
    }
}

fn leaf_paths(node: &Value, path: String, written: String, out: &mut Vec<(String, String)>) {
    match node {
        Value::Object(map) => {
            for (key, value) in map {
                let (path, written) = if path.is_empty() {
                    (key.clone(), key.clone())
                } else {
                    (format!("{path}.{key}"), format!("{written}[{key}]"))
                };
                leaf_paths(value, path, written, out);
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                leaf_paths(value, format!("{path}[]"), format!("{written}[{at}]"), out);
            }
        }
        _ => out.push((path, written)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn brackets_nest() {
        let params = Params::parse(&[
            b"items[0][price]=p&items[0][quantity]=2&expand[]=a&expand[]=b&metadata[k]=v",
        ]);
        assert_eq!(
            params.tree(),
            &json!({ "items": [{ "price": "p", "quantity": "2" }], "expand": ["a", "b"], "metadata": { "k": "v" } })
        );
        assert_eq!(params.list("items")[0].int("quantity").unwrap(), Some(2));
    }

    #[test]
    fn unknown_parameters_are_refused_by_their_written_name() {
        let params = Params::parse(&[b"items[0][price]=p&items[0][colour]=red"]);
        let error = params.allow("items[].price metadata.*").unwrap_err();
        assert_eq!(error.fields()["param"], "items[0][colour]");
        assert!(
            Params::parse(&[b"cancel_at=&items="])
                .allow("cancel_at items[].price")
                .is_ok()
        );
    }

    #[test]
    fn integers_are_checked() {
        let params = Params::parse(&[b"amount=1.5"]);
        assert_eq!(
            params.int("amount").unwrap_err().fields()["code"],
            "parameter_invalid_integer"
        );
    }
}
