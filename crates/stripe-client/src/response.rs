//! Responses as async-stripe's types.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::CallError;

/// A page of a list. Each object is parsed alone, so that one that does not fit its type hides no other.
#[derive(Debug)]
pub struct Listed<T> {
    pub objects: Vec<T>,
    /// Ids of objects that do not fit the type.
    pub unreadable: Vec<String>,
    /// Id of the last object if there are more, for `starting_after`.
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    has_more: bool,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
}

/// Parses one object.
pub(crate) fn parse<T: miniserde::Deserialize>(body: &[u8]) -> Result<T, CallError> {
    let text = std::str::from_utf8(body).map_err(|_| CallError::Malformed)?;
    miniserde::json::from_str(text).map_err(|_| CallError::Malformed)
}

pub(crate) fn parse_list<T: miniserde::Deserialize>(body: &[u8]) -> Result<Listed<T>, CallError> {
    let page: Page<'_> = serde_json::from_slice(body).map_err(|_| CallError::Malformed)?;
    let id = |raw: &RawValue| {
        let found: Identified = serde_json::from_str(raw.get()).ok()?;
        Some(found.id)
    };
    let next = page
        .data
        .last()
        .filter(|_| page.has_more)
        .and_then(|raw| id(raw));
    let mut listed = Listed {
        objects: Vec::with_capacity(page.data.len()),
        unreadable: Vec::new(),
        next,
    };
    for raw in page.data {
        match parse(raw.get().as_bytes()) {
            Ok(object) => listed.objects.push(object),
            Err(_) => listed.unreadable.push(id(raw).unwrap_or_default()),
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_does_not_fit_hides_no_other() {
        let body = br#"{"object":"list","has_more":true,"url":"/v1/x","data":[
            {"id":"a","object":"deleted","deleted":true}, {"id":"b"}, {"id":"c","deleted":true}]}"#;
        let listed: Listed<stripe_shared::DeletedCustomer> = match parse_list(body) {
            Ok(listed) => listed,
            Err(error) => panic!("{error}"),
        };
        let ids: Vec<_> = listed
            .objects
            .iter()
            .map(|object| object.id.as_str())
            .collect();
        assert_eq!(ids, ["a", "c"]);
        assert_eq!(listed.unreadable, ["b"]);
        assert_eq!(listed.next.as_deref(), Some("c"));
    }
}
