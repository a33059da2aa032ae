//! Documents the requirements of a group in its operations.

use axum::http::Method;
use http_toolkit::{add_problems, document_limits, operations};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{OpenApi, RefOr, Required, Response};

use super::{Access, KeyUse, Policy};
use crate::web::Code;

impl Policy {
    /// Problems that the group's middleware can respond with, apart from rate limits.
    fn problems(&self) -> Vec<Code> {
        let mut codes = Vec::new();
        if self.needs_sign_in() {
            codes.extend([Code::Unauthenticated, Code::SessionRequired]);
            if self.access == Access::Admin {
                codes.extend([Code::CsrfRefused, Code::Forbidden]);
            } else {
                codes.extend([Code::InsufficientScope, Code::CsrfRefused]);
            }
            codes.push(Code::MfaRequired);
            codes.extend([Code::BadRequest, Code::NotFound]);
            if self.permission.is_some() {
                codes.push(Code::PermissionDenied);
            }
        }
        if !self.is_exempt_from_quota {
            codes.push(Code::QuotaExceeded);
        }
        codes
    }

    /// Adds the security requirements, the problems and the rate limits to all operations of a group's document.
    pub fn document(&self, api: &mut OpenApi) {
        let codes = self.problems();
        for item in api.paths.paths.values_mut() {
            for (method, operation) in operations(item) {
                if self.needs_sign_in() {
                    operation.security = Some(self.security(&method));
                    self.document_account(operation, &method);
                }
                add_problems(operation, &codes);
                if self.reads_replica {
                    document_lag(operation);
                }
                if let Some(key_use) = self.idempotency_keys
                    && method == Method::POST
                {
                    document_keys(operation, key_use);
                }
            }
        }
        if self.access != Access::Unlimited {
            document_limits(api);
        }
    }

    /// Adds the header that chooses the account, and the extension `x-permission`.
    fn document_account(&self, operation: &mut Operation, method: &Method) {
        if let Some(permissions) = self.permission {
            let name = permissions.of(method).as_str();
            let extensions = operation.extensions.get_or_insert_default();
            extensions.insert("x-permission".to_owned(), name.into());
        }
        if self.names_account {
            let redirect = Response::new(
                "The slug was changed: `Location` has the URL with the slug of today.",
            );
            operation
                .responses
                .responses
                .insert("308".to_owned(), redirect.into());
        } else {
            let schema = ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(64));
            let header = ParameterBuilder::new()
                .name("X-Account")
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(
                    "Id or slug of the account to act for, such as `acme`. Without it: the personal account, or that of \
                     the API key.",
                ))
                .schema(Some(schema));
            let parameters = operation.parameters.get_or_insert_default();
            parameters.push(header.build().into());
        }
    }

    fn security(&self, method: &Method) -> Vec<SecurityRequirement> {
        let none: [&str; 0] = [];
        let requirement = |name| SecurityRequirement::new(name, none);
        let mut ways = vec![requirement("bearer")];
        if let Some(area) = self.area {
            ways.push(SecurityRequirement::new(
                "api_key",
                [area.scope_name(method)],
            ));
        }
        let cookie = requirement("cookie");
        ways.push(if method.is_safe() {
            cookie
        } else {
            cookie.add("csrf", none)
        });
        ways
    }
}

/// Adds that the reply may lag, and the extension `x-read-replica` to the response.
fn document_lag(operation: &mut Operation) {
    const LAG: &str =
        "The reply can lack what was written in the last seconds: at most 5 by default.";
    // Of the response: extensions of one object are written in an order that changes.
    if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") {
        let extensions = response.extensions.get_or_insert_default();
        extensions.insert("x-read-replica".to_owned(), true.into());
    }
    let description = operation.description.take().unwrap_or_default();
    operation.description = Some(format!("{description}\n\n{LAG}").trim().to_owned());
}

/// Adds the header `Idempotency-Key`, and what it can lead to.
fn document_keys(operation: &mut Operation, key_use: KeyUse) {
    let mut codes = vec![
        Code::IdempotencyKeyInUse,
        Code::IdempotencyReplyUnavailable,
        Code::IdempotencyKeyReused,
    ];
    let required = match key_use {
        KeyUse::Optional => Required::False,
        KeyUse::Required => {
            codes.push(Code::IdempotencyKeyRequired);
            Required::True
        }
    };
    add_problems(operation, &codes);
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some("^[!-~]+$"));
    let header = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(
            "Unique for each request, such as a UUID. A repetition with the same key gets the stored reply (for 24 hours by \
             default), and has no effect of its own.",
        ))
        .schema(Some(schema));
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(header.build().into());
    let replayed = HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
        .description(Some("`true` if the reply is the stored one."))
        .build();
    let retry_after = HeaderBuilder::new()
        .schema(Some(
            ObjectBuilder::new().schema_type(Type::Integer).build(),
        ))
        .description(Some(
            "Seconds to wait, at least 1. Only with the code `idempotency_key_in_use`.",
        ))
        .build();
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        if status.starts_with('2') {
            let name = "Idempotency-Replayed".to_owned();
            response.headers.insert(name, replayed.clone().into());
        } else if status == "409" {
            let name = "Retry-After".to_owned();
            response.headers.insert(name, retry_after.clone().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use utoipa::OpenApi as _;

    use super::*;
    use crate::policy::signed_in;

    /// Pay.
    #[utoipa::path(post, path = "/payments", responses((status = 201, description = "Paid.")))]
    #[expect(dead_code, reason = "only its documentation is read")]
    fn create_payment() {}

    #[derive(utoipa::OpenApi)]
    #[openapi(paths(create_payment))]
    struct Api;

    #[test]
    fn a_group_that_requires_idempotency_keys_documents_them_as_required() {
        let mut api = Api::openapi();
        let policy = signed_in().idempotency_keys(KeyUse::Required);
        policy.document(&mut api);
        let document = serde_json::to_value(&api).expect("it is JSON");
        let operation = &document["paths"]["/payments"]["post"];
        let parameters = operation["parameters"].as_array().expect("it has some");
        let header = parameters.iter().find(|it| it["name"] == "Idempotency-Key");
        assert_eq!(header.map(|it| &it["required"]), Some(&true.into()));
        let refusals = &operation["responses"]["400"]["content"]["application/problem+json"];
        assert!(refusals["examples"]["idempotency_key_required"].is_object());
        assert!(operation["responses"]["201"]["headers"]["Idempotency-Replayed"].is_object());
        assert!(operation["responses"]["409"]["headers"]["Retry-After"].is_object());
    }
}
