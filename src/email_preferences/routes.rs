//! `/unsubscribe/{token}`: a page with a button, and what it sends. Mail clients send the same (RFC 8058).

use axum::response::Response;
use http_toolkit::{Path, PathProblems, Problem, Routes};
use utoipa_axum::routes;

use super::form::OneClick;
use super::model::UnsubscribeToken;
use super::{Error, pages, service};
use crate::ctx::Ctx;
use crate::state::AppState;

pub fn routes() -> Routes<AppState> {
    Routes::new().routes(routes!(show_unsubscribe, unsubscribe))
}

/// Show the page that unsubscribes.
///
/// It changes nothing: programs that scan emails open links.
#[utoipa::path(get, path = "/unsubscribe/{token}", tag = "pages",
    params(("token" = String, Path, description = "Token of the link in an email.")),
    responses((status = 200, description = "A page with a button.", content_type = "text/html", body = String), PathProblems))]
async fn show_unsubscribe(ctx: Ctx, Path(token): Path<String>) -> Result<Response, Problem> {
    let token = parse(&token)?;
    service::find_user(&ctx, &token).await?;
    Ok(pages::unsubscribe(token.kind))
}

/// Unsubscribe from one kind of email.
///
/// Takes effect at once, also for emails that wait to be sent. Needs no session and no cookie, and can be repeated. Mail
/// clients call it with one click (RFC 8058), with this body as `application/x-www-form-urlencoded` or
/// `multipart/form-data`. The link is void once the address of the account has changed.
#[utoipa::path(post, path = "/unsubscribe/{token}", tag = "pages",
    params(("token" = String, Path, description = "Token of the link in an email.")),
    request_body(content = OneClick, content_type = "application/x-www-form-urlencoded",
        example = json!({ "List-Unsubscribe": "One-Click" })),
    responses((status = 200, description = "A page that confirms it.", content_type = "text/html", body = String),
        PathProblems, UnsubscribeProblems))]
async fn unsubscribe(
    ctx: Ctx,
    Path(token): Path<String>,
    _: OneClick,
) -> Result<Response, Problem> {
    let token = parse(&token)?;
    service::unsubscribe(&ctx, &token).await?;
    Ok(pages::unsubscribed(token.kind))
}

fn parse(token: &str) -> Result<UnsubscribeToken, Error> {
    token.parse().map_err(|_| Error::UnknownLink)
}

http_toolkit::problem_groups! {
    /// Responses of a route with a small form.
    UnsubscribeProblems [http_toolkit::ProblemCode::REQUEST_TIMEOUT];
}
