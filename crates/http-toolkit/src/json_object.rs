//! JSON objects of a bounded size and depth.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Object of at most `BYTES` as compact JSON and `LEVELS` levels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct JsonObject<const BYTES: usize, const LEVELS: usize> {
    fields: Map<String, Value>,
    length: usize,
}

impl<const BYTES: usize, const LEVELS: usize> JsonObject<BYTES, LEVELS> {
    /// Length as compact JSON.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The object.
    pub fn into_value(self) -> Value {
        Value::Object(self.fields)
    }
}

impl<const BYTES: usize, const LEVELS: usize> Default for JsonObject<BYTES, LEVELS> {
    fn default() -> Self {
        Self {
            fields: Map::new(),
            length: "{}".len(),
        }
    }
}

impl<const BYTES: usize, const LEVELS: usize> TryFrom<Map<String, Value>>
    for JsonObject<BYTES, LEVELS>
{
    type Error = String;

    fn try_from(fields: Map<String, Value>) -> Result<Self, String> {
        if !fields.values().all(|value| fits(value, LEVELS - 1)) {
            return Err(format!("must be at most {LEVELS} levels deep"));
        }
        let length = serde_json::to_vec(&fields).map_or(usize::MAX, |text| text.len());
        (length <= BYTES)
            .then_some(Self { fields, length })
            .ok_or_else(|| format!("must be at most {} KiB", BYTES / 1024))
    }
}

fn fits(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| fits(item, levels - 1)),
        Value::Object(fields) => levels > 0 && fields.values().all(|it| fits(it, levels - 1)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BYTES: usize = 8 * 1024;

    fn object(value: Value) -> Result<JsonObject<BYTES, 16>, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn an_object_is_small_and_shallow() {
        assert_eq!(object(json!({})), Ok(JsonObject::default()));
        for wrong in [json!([]), json!("x"), json!(null), json!(7)] {
            assert!(object(wrong).is_err());
        }
        // {"x":"…"} has eight bytes around the text.
        assert!(object(json!({ "x": "y".repeat(BYTES - 8) })).is_ok());
        let long = object(json!({ "x": "y".repeat(BYTES - 7) }));
        assert_eq!(long, Err("must be at most 8 KiB".to_owned()));
        let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "x": inner }));
        assert!(object(nested(16)).is_ok());
        let deep = object(nested(17));
        assert_eq!(deep, Err("must be at most 16 levels deep".to_owned()));
        let listed = (1..17).fold(json!([]), |inner, _| json!([inner]));
        assert!(object(json!({ "x": listed })).is_err());
    }
}
