//! Extractors whose rejection is a [`Problem`] that names every invalid field.

use std::error::Error;

use axum::extract::path::ErrorKind;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use url::form_urlencoded;
use utoipa::ToSchema;

use crate::all_faults;
use crate::body;
use crate::code::ProblemCode;
use crate::fault::{self, Step};
use crate::problem::{FieldError, Problem};

/// JSON body of a request or response.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

/// Path parameters.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

/// Query string.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned + ToSchema, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(not_json());
        }
        parse(&body::read(request).await?)
    }
}

/// No body is `None`; one that is there must be what it says.
impl<T: DeserializeOwned + ToSchema, S: Sync> OptionalFromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Option<Self>, Problem> {
        let is_json = is_json(request.headers());
        let bytes = body::read(request).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if !is_json {
            return Err(not_json());
        }
        parse(&bytes).map(Some)
    }
}

fn not_json() -> Problem {
    Problem::new(ProblemCode::UNSUPPORTED_MEDIA_TYPE)
        .detail("the content type must be application/json")
}

/// `application/json` or `application/…+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let subtype = kind.strip_prefix("application/").unwrap_or_default();
    subtype == "json"
        || subtype
            .strip_suffix("+json")
            .is_some_and(|name| !name.is_empty())
}

fn parse<T: DeserializeOwned + ToSchema>(bytes: &[u8]) -> Result<Json<T>, Problem> {
    if bytes.is_empty() {
        return Err(Problem::new(ProblemCode::BAD_REQUEST).detail("the body is empty"));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(Problem::new(ProblemCode::BAD_REQUEST).detail("the body is not UTF-8"));
    };
    let with_nul = all_faults::with_nul::<T>(text);
    if !with_nul.is_empty() {
        return Err(Problem::new(ProblemCode::INVALID_FIELDS).fields(with_nul));
    }
    // Serde would take the items of an array for the fields of a struct, one by one.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Problem::new(ProblemCode::INVALID_FIELDS).field(
                "",
                "wrong_type",
                "must be an object",
            ),
            Err(error) => malformed(&error),
        });
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| refuse::<T>(text, error.path(), error.inner()))?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(Json(value))
}

fn refuse<T: DeserializeOwned + ToSchema>(
    text: &str,
    path: &serde_path_to_error::Path,
    error: &serde_json::Error,
) -> Problem {
    let path = fault::steps(path);
    let first = if error.classify() == Category::Data {
        let message = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        fault::describe(&path, message.strip_suffix(&position).unwrap_or(&message))
    } else {
        // serde_json also reports a well-formed value that its target cannot be as bad syntax.
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => fault::describe(&path, "has a value of the wrong type"),
            Err(error) => return malformed(&error),
        }
    };
    Problem::new(ProblemCode::INVALID_FIELDS).fields(all_faults::of_body::<T>(text, first))
}

fn malformed(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    Problem::new(ProblemCode::BAD_REQUEST)
        .detail(format!("malformed JSON at line {line}, column {column}"))
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(refuse_path(error.into_kind()))
            }
            Err(error) => Err(Problem::internal(error)),
        }
    }
}

fn refuse_path(kind: ErrorKind) -> Problem {
    let key = match kind {
        ErrorKind::ParseErrorAtKey { key, .. }
        | ErrorKind::InvalidUtf8InPathParam { key }
        | ErrorKind::DeserializeError { key, .. } => key,
        ErrorKind::WrongNumberOfParameters { .. } | ErrorKind::UnsupportedType { .. } => {
            tracing::error!(error = %kind, "a handler's path parameters do not fit its route");
            return Problem::new(ProblemCode::INTERNAL);
        }
        _ => String::new(),
    };
    let problem = Problem::new(ProblemCode::BAD_REQUEST).detail("a part of the path is not valid");
    if key.is_empty() {
        problem
    } else {
        problem.field(key, "invalid", "is not valid")
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Deserializes a query string.
pub(super) fn read_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    parse_query(query).map_err(invalid_query)
}

/// Deserializes a query string, or finds every fault of it: after each, the rest is read without
/// the parameter that was rejected.
pub(super) fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, Vec<FieldError>> {
    let has_nul = form_urlencoded::parse(query.as_bytes()).any(|(_, value)| value.contains('\0'));
    if !has_nul && let Ok(value) = read_pairs(query) {
        return Ok(value);
    }
    let mut faults = Vec::new();
    let mut pairs: Vec<_> = query.split('&').map(|pair| (pair, decode(pair))).collect();
    pairs.retain(|(_, (name, value))| {
        let is_good = !value.contains('\0');
        if !is_good {
            let message = "must not contain the character U+0000";
            faults.push(fault::at(&[Step::Key(name.clone())], "invalid", message));
        }
        is_good
    });
    while faults.len() < all_faults::MAX {
        let rest: Vec<_> = pairs.iter().map(|(pair, _)| *pair).collect();
        let Err(error) = read_pairs::<T>(&rest.join("&")) else {
            break;
        };
        let Some((path, message)) = error else {
            break;
        };
        let fault = fault::describe(&path, &message);
        // A required parameter that was rejected is missing from the rest.
        if faults.iter().all(|known| known.field != fault.field) {
            faults.push(fault);
        }
        let count = pairs.len();
        if let Some(name) = fault::named(&path, &message) {
            pairs.retain(|(_, (other, _))| other != name);
        }
        if pairs.len() == count {
            break;
        }
    }
    faults.truncate(all_faults::MAX);
    Err(faults)
}

/// The name and the value of a pair of a query string.
fn decode(pair: &str) -> (String, String) {
    let pair = form_urlencoded::parse(pair.as_bytes()).next();
    pair.map(|(name, value)| (name.into_owned(), value.into_owned()))
        .unwrap_or_default()
}

pub(super) fn invalid_query(faults: Vec<FieldError>) -> Problem {
    Problem::new(ProblemCode::BAD_REQUEST)
        .detail("the query string is not valid")
        .fields(faults)
}

/// The error of the query string's deserializer, which axum keeps among the causes of its own.
type QueryError = serde_path_to_error::Error<serde::de::value::Error>;

/// Deserializes a query string, or returns the path and the message of its first fault, where it
/// has one.
fn read_pairs<T: DeserializeOwned>(query: &str) -> Result<T, Option<(Vec<Step>, String)>> {
    let uri = Uri::try_from(format!("/?{query}")).map_err(|_| None)?;
    axum::extract::Query::try_from_uri(&uri)
        .map(|axum::extract::Query(value)| value)
        .map_err(|rejection: QueryRejection| {
            let mut causes = std::iter::successors(rejection.source(), |&error| error.source());
            let cause = causes.find_map(|error| error.downcast_ref::<QueryError>())?;
            Some((fault::steps(cause.path()), cause.inner().to_string()))
        })
}

#[cfg(test)]
mod tests;
