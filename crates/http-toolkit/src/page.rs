//! Cursor (keyset) pagination: `?limit=&cursor=` in, `{items, next_cursor}` out.
//!
//! A handler takes [`PageRequest`], its store reads [`PageSize::one_more`] rows after the position, and [`Page::cut`]
//! makes the page of them.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::extract;
use crate::fault;
use crate::problem::Problem;
use crate::timestamp::Timestamp;

/// Message for a cursor that this service did not issue.
const NOT_A_CURSOR: &str = "must be a cursor that this list answered with";

/// The longest cursor that is looked at.
const CURSOR_MAX: usize = 512;

/// Where a list goes on: what its order is by, of the last item of a page.
///
/// A client can forge a cursor, so every value in it must fit its column: times are deserialized by
/// [`Timestamp::within_range`]. U+0000 is refused here.
pub trait Position: Serialize + DeserializeOwned {
    /// Names the order and its version, so that a cursor of another list, or of an older release
    /// with another order, is refused instead of misread.
    const ORDER: &'static str;
}

/// The position in a list that is ordered by when its items were made, and then by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeCursor(
    #[serde(deserialize_with = "Timestamp::within_range")] pub DateTime<Utc>,
    pub Uuid,
);

impl Position for TimeCursor {
    const ORDER: &'static str = "moment.1";
}

/// How many items a page has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct PageSize(u8);

impl PageSize {
    /// What is asked for when nothing is said.
    pub const DEFAULT: Self = Self(20);

    /// The limit.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// How many rows to read, one more than the page, which shows whether there is a next one.
    #[must_use]
    pub const fn one_more(self) -> i64 {
        self.0 as i64 + 1
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u32> for PageSize {
    type Error = &'static str;

    fn try_from(raw: u32) -> Result<Self, &'static str> {
        u8::try_from(raw)
            .ok()
            .filter(|raw| (1..=100).contains(raw))
            .map(Self)
            .ok_or("must be 1 to 100")
    }
}

/// A page of a list that somebody asks for, and by which filter, if the list has one. As an
/// argument it reads the query string; what is in there besides is refused.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<P, F = NoFilter> {
    /// How many items at most.
    pub limit: PageSize,
    /// The last item of the page before; `None` for the first page.
    pub after: Option<P>,
    /// Which items.
    pub filter: F,
}

/// All items.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoFilter {}

#[derive(Deserialize)]
#[serde(bound = "P: Position")]
struct Paging<P> {
    #[serde(default)]
    limit: PageSize,
    #[serde(default, deserialize_with = "decode")]
    cursor: Option<P>,
}

impl<P, F, S> FromRequestParts<S> for PageRequest<P, F>
where
    P: Position + Send,
    F: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Taken apart here, as serde's own way to nest structs would let unknown fields pass.
        let query = parts.uri.query().unwrap_or_default();
        let (paging, filter): (Vec<_>, Vec<_>) = query.split('&').partition(|pair| {
            let name = form_urlencoded::parse(pair.as_bytes()).next();
            name.is_some_and(|(name, _)| matches!(&*name, "limit" | "cursor"))
        });
        let paging = extract::parse_query::<Paging<P>>(&paging.join("&"));
        match (paging, extract::parse_query(&filter.join("&"))) {
            (Ok(paging), Ok(filter)) => Ok(Self {
                limit: paging.limit,
                after: paging.cursor,
                filter,
            }),
            (paging, filter) => {
                let faults = [paging.err(), filter.err()];
                let faults = faults.into_iter().flatten().flatten().collect();
                Err(extract::invalid_query(faults))
            }
        }
    }
}

/// What of the query string asks for a page, for the `params(…)` of a route's description.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its description is read")]
pub struct PageParams {
    /// How many items at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u8>,
    /// The `next_cursor` of the page before; left out for the first page.
    #[param(max_length = 512)]
    cursor: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to ask for the next page with; `null` on the last one.
    #[schema(
        example = "WyJtb21lbnQuMSIsWyIyMDI2LTAzLTE0VDA5OjI2OjUzWiIsIjAxOTgwYjZlLTdjMDAtNzAwMC04MDAwLTNmMmE1MWQ2YzliMSJdXQ"
    )]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The page, of as many rows as [`PageSize::one_more`] asked for. `position` returns where an item
    /// stands in the list's order.
    #[must_use]
    pub fn cut<P: Position>(
        mut rows: Vec<T>,
        limit: PageSize,
        position: impl FnOnce(&T) -> P,
    ) -> Self {
        let has_more = rows.len() > limit.get();
        rows.truncate(limit.get());
        let last = rows.last().filter(|_| has_more);
        Self {
            next_cursor: last.map(|item| encode(&position(item))),
            items: rows,
        }
    }

    /// The same page with its items as they are shown.
    #[must_use]
    pub fn map<U>(self, show: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(show).collect(),
            next_cursor: self.next_cursor,
        }
    }
}

/// A position as its holder gets it. Opaque only so that nobody builds on its form: it says nothing
/// that the page did not show, and grants nothing.
fn encode<P: Position>(position: &P) -> String {
    let text = serde_json::to_vec(&(P::ORDER, position)).unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn decode<'de, P: Position, D: Deserializer<'de>>(field: D) -> Result<Option<P>, D::Error> {
    let text = String::deserialize(field)?;
    let bytes = Some(text)
        .filter(|text| text.len() <= CURSOR_MAX)
        .and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok());
    let json = bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|json| !fault::escapes_nul(json.as_bytes()));
    let read = json.and_then(|json| serde_json::from_str::<(String, P)>(&json).ok());
    match read {
        Some((order, position)) if order == P::ORDER => Ok(Some(position)),
        _ => Err(D::Error::custom(NOT_A_CURSOR)),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde_json::Value;

    use super::*;

    #[derive(Clone, Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        size: Option<u8>,
    }

    #[derive(Clone, Copy, Debug, Serialize, Deserialize)]
    struct BySize(u64);

    impl Position for BySize {
        const ORDER: &'static str = "size.1";
    }

    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct ByName(String);

    impl Position for ByName {
        const ORDER: &'static str = "name.1";
    }

    #[tokio::test]
    async fn a_cursor_with_the_nul_character_is_refused() {
        let good = encode(&ByName("a\\u0000".to_owned()));
        assert!(ask::<ByName>(&format!("cursor={good}")).await.is_ok());
        let nul = encode(&ByName("a\0".to_owned()));
        let problem = ask::<ByName>(&format!("cursor={nul}")).await.unwrap_err();
        assert_eq!(problem["errors"][0]["field"], "cursor", "{problem}");
    }

    async fn ask<P: Position + Send>(query: &str) -> Result<PageRequest<P, Filter>, Value> {
        let (mut parts, ()) = Request::get(format!("/list?{query}"))
            .body(())
            .unwrap()
            .into_parts();
        PageRequest::<P, Filter>::from_request_parts(&mut parts, &())
            .await
            .map_err(|problem| {
                let body = problem.body(problem.code().status(), None);
                serde_json::from_slice(&body).unwrap()
            })
    }

    fn moment(second: u32) -> TimeCursor {
        let at = DateTime::from_timestamp(1_700_000_000, second * 1_000).unwrap();
        TimeCursor(at, Uuid::from_u128(second.into()))
    }

    #[tokio::test]
    async fn a_page_leads_to_the_next_one_and_the_last_one_nowhere() {
        let limit = PageSize::try_from(2).unwrap();
        assert_eq!(limit.one_more(), 3);
        let rows: Vec<_> = (1..=3).map(moment).collect();
        let page = Page::cut(rows, limit, |item| *item);
        assert_eq!(page.items, [moment(1), moment(2)]);
        let cursor = page.next_cursor.unwrap();
        let next = ask::<TimeCursor>(&format!("cursor={cursor}&limit=2"))
            .await
            .unwrap();
        assert_eq!(next.after, Some(moment(2)), "to the microsecond");

        for short in 0..=2 {
            let rows: Vec<_> = (0..short).map(moment).collect();
            let page = Page::cut(rows, limit, |item| *item);
            assert_eq!((page.items.len(), page.next_cursor), (short as usize, None));
        }
    }

    #[tokio::test]
    async fn filters_and_paging_are_read_side_by_side() {
        let none = ask::<TimeCursor>("").await.unwrap();
        assert_eq!((none.limit.get(), none.after), (20, None));
        let asked = ask::<TimeCursor>("name=a%26b&li%6dit=7&size=3")
            .await
            .unwrap();
        assert_eq!(asked.limit.get(), 7);
        assert_eq!(asked.filter.name.as_deref(), Some("a&b"));
        assert_eq!(asked.filter.size, Some(3));
        for limit in ["1", "100"] {
            assert!(ask::<TimeCursor>(&format!("limit={limit}")).await.is_ok());
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_by_its_name() {
        let foreign = encode(&BySize(7));
        let cut_short = &encode(&moment(1))[..20];
        let tampered = BASE64_URL_SAFE_NO_PAD.encode(r#"["moment.1",["now","x"]]"#);
        let longer =
            BASE64_URL_SAFE_NO_PAD.encode(format!(r#"["moment.1","{}"]"#, "x".repeat(600)));
        let of_year = |year: &str| {
            let id = Uuid::nil();
            BASE64_URL_SAFE_NO_PAD
                .encode(format!(r#"["moment.1",["{year}-01-01T00:00:00Z","{id}"]]"#))
        };
        assert!(
            ask::<TimeCursor>(&format!("cursor={}", of_year("2026")))
                .await
                .is_ok()
        );
        let years = ["+262142", "-262143", "10000", "0001", "1969"].map(of_year);
        let other_version = BASE64_URL_SAFE_NO_PAD.encode(format!(
            r#"["moment.2",["2026-01-01T00:00:00Z","{}"]]"#,
            Uuid::nil()
        ));
        let cursors = [
            &foreign,
            cut_short,
            &tampered,
            &longer,
            &other_version,
            "",
            "%00",
            "=",
            "\u{fc}",
        ];
        let cursors = cursors.into_iter().chain(years.iter().map(String::as_str));
        for cursor in cursors {
            let cursor: String = form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
            let problem = ask::<TimeCursor>(&format!("cursor={cursor}"))
                .await
                .unwrap_err();
            assert_eq!(problem["status"], 400, "{cursor}");
            assert_eq!(problem["errors"][0]["field"], "cursor", "{problem}");
        }
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=-1", "limit"),
            ("limit=99999999999999999999", "limit"),
            ("limit=", "limit"),
            ("limit=5&limit=6", "limit"),
            ("size=300", "size"),
            ("name=a%00b", "name"),
            ("offset=5", "offset"),
        ] {
            let problem = ask::<TimeCursor>(query).await.unwrap_err();
            assert_eq!(problem["status"], 400, "{query}");
            assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        }
        let refused = ask::<TimeCursor>("limit=101").await.unwrap_err();
        assert_eq!(refused["errors"][0]["message"], "must be 1 to 100");
        let refused = ask::<TimeCursor>("cursor=x").await.unwrap_err();
        assert_eq!(refused["errors"][0]["message"], NOT_A_CURSOR);
    }
}
