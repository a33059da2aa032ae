//! Body of a request that unsubscribes with one click (RFC 8058).

use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use http_toolkit::{Multipart, Problem, ProblemCode, RawBody};
use url::form_urlencoded;
use utoipa::ToSchema;

use crate::web::Code;

const NAME: &str = "List-Unsubscribe";
const VALUE: &str = "One-Click";

/// The form that a mail client posts, with either of the types that forms have. Everything else is a bad request.
#[derive(Clone, Copy, Debug, ToSchema)]
pub(super) struct OneClick {
    /// `One-Click`
    #[schema(rename = "List-Unsubscribe", value_type = String, pattern = "^One-Click$", example = "One-Click")]
    _list_unsubscribe: (),
}

impl<S: Sync> FromRequest<S> for OneClick {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_one_click = match media_type(request.headers()).as_str() {
            "multipart/form-data" => is_in_multipart(request, state).await,
            // Some clients send no type.
            "application/x-www-form-urlencoded" | "" => is_in_form(request, state).await,
            _ => Ok(false),
        };
        match is_one_click {
            Ok(true) => Ok(Self {
                _list_unsubscribe: (),
            }),
            Ok(false) => Err(not_one_click()),
            Err(problem) if is_about_the_form(problem.code()) => Err(not_one_click()),
            Err(problem) => Err(problem),
        }
    }
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE);
    let value = value.map_or(Ok(""), |value| value.to_str());
    let value = value.unwrap_or("invalid").split(';').next();
    value.unwrap_or_default().trim().to_ascii_lowercase()
}

async fn is_in_form<S: Sync>(request: Request, state: &S) -> Result<bool, Problem> {
    let RawBody(body) = RawBody::from_request(request, state).await?;
    Ok(form_urlencoded::parse(&body).any(|(name, value)| name == NAME && value == VALUE))
}

async fn is_in_multipart<S: Sync>(request: Request, state: &S) -> Result<bool, Problem> {
    let mut form = Multipart::from_request(request, state).await?;
    let Some(part) = form.next().await? else {
        return Ok(false);
    };
    Ok(part.name() == NAME && part.text(VALUE.len()).await? == VALUE)
}

/// Returns whether a problem is about what was sent, not about the connection or the load.
fn is_about_the_form(code: ProblemCode) -> bool {
    let codes = [
        ProblemCode::BAD_REQUEST,
        ProblemCode::PAYLOAD_TOO_LARGE,
        ProblemCode::UNSUPPORTED_MEDIA_TYPE,
        ProblemCode::INVALID_FIELDS,
    ];
    codes.contains(&code)
}

fn not_one_click() -> Problem {
    Problem::new(Code::BadRequest)
        .detail("the body must be the form List-Unsubscribe=One-Click (RFC 8058)")
}
