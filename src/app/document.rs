//! The OpenAPI document around the operations of all groups.

use http_toolkit::document_common;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use crate::{api_keys, auth};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Groundwork",
        description = "Accounts for a SaaS product. Errors are `application/problem+json` (RFC 9457) with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "auth", description = "Sign-up, sign-in, sessions and credentials"),
        (name = "organisations", description = "Organisations, their members and invitations"),
        (name = "users", description = "The account of the current user"),
        (name = "privacy", description = "Documents, consents and personal data"),
        (name = "api keys", description = "API keys"),
        (name = "secrets", description = "Credentials of other services that the account stores"),
        (name = "admin", description = "Administration of all accounts"),
        (name = "billing", description = "Plans, subscriptions, payments and invoices"),
        (name = "usage", description = "Metered requests and remaining quota"),
        (name = "events", description = "Events of the account's product"),
        (name = "files", description = "Files of the account, in an object store"),
        (name = "health", description = "Health checks for probes and load balancers"),
        (name = "pages", description = "Pages behind the links in emails"),
    ),
)]
struct Frame;

/// Adds to the documents of all groups what is true of every operation.
pub(super) fn complete(groups: OpenApi) -> OpenApi {
    let mut document = Frame::openapi();
    document.merge(groups);
    document_common(&mut document);
    auth::document_credentials(&mut document);
    api_keys::document_keys(&mut document);
    document
}
