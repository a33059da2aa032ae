//! Lists: newest first, cursors, filters on `created`.

use serde_json::{Value, json};

use super::{
    error::{Result, StripeError},
    form::Params,
    state::{State, int, text},
};

/// The parameters of every list.
pub(super) const PAGING: &str =
    " limit starting_after ending_before created created.gt created.gte created.lt created.lte";

/// One page of objects of a kind that pass a test.
pub(super) fn page(
    state: &State,
    params: &Params,
    kind: &str,
    url: &str,
    test: impl Fn(&Value) -> bool,
) -> Result {
    let limit = params.int("limit")?.unwrap_or(10);
    if !(1..=100).contains(&limit) {
        return Err(
            StripeError::invalid("Invalid limit: must be between 1 and 100")
                .code("parameter_invalid_integer")
                .param("limit"),
        );
    }
    let created = Created::read(params)?;
    let fits = |value: &&Value| created.contains(int(value, "created")) && test(value);
    let limit = usize::try_from(limit).unwrap_or(10);
    let mut found: Vec<&Value>;
    let has_more;
    if let Some(cursor) = params.filled("ending_before") {
        state.find(kind, cursor, "ending_before")?;
        found = state
            .all(kind)
            .skip_while(|value| text(value, "id") != cursor)
            .skip(1)
            .filter(fits)
            .take(limit + 1)
            .collect();
        has_more = found.len() > limit;
        found.truncate(limit);
        found.reverse();
    } else {
        let newest_first = state.all(kind).rev();
        found = if let Some(cursor) = params.filled("starting_after") {
            state.find(kind, cursor, "starting_after")?;
            newest_first
                .skip_while(|value| text(value, "id") != cursor)
                .skip(1)
                .filter(fits)
                .take(limit + 1)
                .collect()
        } else {
            newest_first.filter(fits).take(limit + 1).collect()
        };
        has_more = found.len() > limit;
        found.truncate(limit);
    }
    Ok(json!({ "object": "list", "data": found, "has_more": has_more, "url": url }))
}

/// Whether a field holds the text that a filter asks for; an absent filter matches.
pub(super) fn field_is(params: &Params, value: &Value, name: &str) -> bool {
    params.filled(name).is_none_or(|wanted| match &value[name] {
        Value::Bool(flag) => wanted == flag.to_string(),
        field => field.as_str() == Some(wanted),
    })
}

#[derive(Default)]
struct Created {
    from: Option<i64>,
    to: Option<i64>,
}

impl Created {
    fn read(params: &Params) -> Result<Self> {
        let exact = if params.text("created").is_some() {
            params.int("created")?
        } else {
            None
        };
        let from = params
            .int("created.gte")?
            .or(params.int("created.gt")?.map(|at| at + 1));
        let to = params
            .int("created.lte")?
            .or(params.int("created.lt")?.map(|at| at - 1));
        Ok(Self {
            from: exact.or(from),
            to: exact.or(to),
        })
    }

    fn contains(&self, at: i64) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at <= to)
    }
}
