//! `Json`, `Path` and `Query` whose every refusal is a [`Problem`].

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

use super::body;
use super::code::Code;
use super::fault;
use super::problem::{FieldError, Problem};

/// A JSON body, in either direction.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

/// The parameters in a route's path.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

/// The query string.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(not_json());
        }
        parse(&body::read(request).await?)
    }
}

/// No body is `None`; one that is there must be what it says.
impl<T: DeserializeOwned, S: Sync> OptionalFromRequest<S> for Json<T> {
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
    Problem::new(Code::UnsupportedMediaType).detail("the content type must be application/json")
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

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<Json<T>, Problem> {
    if bytes.is_empty() {
        return Err(Problem::new(Code::BadRequest).detail("the body is empty"));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(Problem::new(Code::BadRequest).detail("the body is not UTF-8"));
    };
    if let Some(field) = fault::find_nul(text) {
        return Err(Problem::new(Code::InvalidFields).field(
            field,
            "invalid",
            "must not contain the character U+0000",
        ));
    }
    // Serde would take the items of an array for the fields of a struct, one by one.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Problem::new(Code::InvalidFields).field("", "wrong_type", "must be an object"),
            Err(error) => malformed(&error),
        });
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| refuse(text, error.path(), error.inner()))?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(Json(value))
}

fn refuse(text: &str, path: &serde_path_to_error::Path, error: &serde_json::Error) -> Problem {
    if error.classify() != Category::Data {
        // serde_json also reports a well-formed value that its target cannot be as bad syntax.
        return match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => invalid(fault::describe(path, "has a value of the wrong type")),
            Err(error) => malformed(&error),
        };
    }
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    invalid(fault::describe(
        path,
        message.strip_suffix(&position).unwrap_or(&message),
    ))
}

fn invalid(error: FieldError) -> Problem {
    Problem::new(Code::InvalidFields).field(error.field, error.code, error.message)
}

fn malformed(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    Problem::new(Code::BadRequest).detail(format!("malformed JSON at line {line}, column {column}"))
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
            return Problem::new(Code::Internal);
        }
        _ => String::new(),
    };
    let problem = Problem::new(Code::BadRequest).detail("a part of the path is not valid");
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

/// What a query string says.
pub(super) fn read_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    if let Some((name, _)) = pairs.find(|(_, value)| value.contains('\0')) {
        return Err(invalid_query().field(
            fault::cut(&name, fault::PATH_MAX).into_owned(),
            "invalid",
            "must not contain the character U+0000",
        ));
    }
    let uri = Uri::try_from(format!("/?{query}")).map_err(|_| invalid_query())?;
    match axum::extract::Query::try_from_uri(&uri) {
        Ok(axum::extract::Query(value)) => Ok(value),
        Err(error) => Err(refuse_query(&error)),
    }
}

fn invalid_query() -> Problem {
    Problem::new(Code::BadRequest).detail("the query string is not valid")
}

/// The error of the query string's deserializer, which axum keeps among the causes of its own.
type QueryError = serde_path_to_error::Error<serde::de::value::Error>;

fn refuse_query(rejection: &QueryRejection) -> Problem {
    let mut causes = std::iter::successors(rejection.source(), |&error| error.source());
    let cause = causes.find_map(|error| error.downcast_ref::<QueryError>());
    let problem = invalid_query();
    match cause.map(|error| fault::describe(error.path(), &error.inner().to_string())) {
        Some(error) => problem.field(error.field, error.code, error.message),
        None => problem,
    }
}

#[cfg(test)]
mod tests;
