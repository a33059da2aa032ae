//! Limits as the OpenAPI document shows them.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Header, OpenApi, RefOr};

use crate::code::ProblemCode;
use crate::document::{add_problems, operations};

/// Adds to every operation of a document that it is limited: the refusal, beside others of its
/// status, and the headers with the state of the limits.
pub fn document_limits(api: &mut OpenApi) {
    for item in api.paths.paths.values_mut() {
        for (_, operation) in operations(item) {
            add_problems(operation, &[ProblemCode::RATE_LIMITED]);
            let limited = operation
                .responses
                .responses
                .iter_mut()
                .filter(|(status, _)| status.starts_with('2') || *status == "429");
            for (_, response) in limited {
                let RefOr::T(response) = response else {
                    continue;
                };
                for (name, header) in headers() {
                    response.headers.insert(name.to_owned(), header.into());
                }
            }
        }
    }
}

fn headers() -> [(&'static str, Header); 2] {
    let header = |description: &str| {
        let schema = ObjectBuilder::new().schema_type(Type::String).build();
        HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(description))
            .build()
    };
    [
        (
            "RateLimit-Policy",
            header("The limits met: `\"name\";q=100;w=60` allows 100 in any 60 seconds."),
        ),
        (
            "RateLimit",
            header(
                "How they stand: of `\"name\";r=57;t=30` 57 are left, and the oldest that was spent comes back in 30 seconds.",
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use utoipa::IntoResponses;
    use utoipa::OpenApi;

    use super::*;
    use crate::document::{RateProblem, problems};
    use crate::problem_code;
    use utoipa::openapi::Response;

    struct Attempts;

    impl IntoResponses for Attempts {
        fn responses() -> std::collections::BTreeMap<String, RefOr<Response>> {
            problems(&[problem_code!(
                429,
                "too_many_attempts",
                "Too many failed attempts."
            )])
        }
    }

    #[utoipa::path(get, path = "/a", responses((status = 200, description = "ok")))]
    #[expect(dead_code, reason = "only its documentation is read")]
    fn plain() {}

    #[utoipa::path(get, path = "/b", responses((status = 200, description = "ok"), Attempts))]
    #[expect(dead_code, reason = "only its documentation is read")]
    fn attempts() {}

    #[utoipa::path(get, path = "/c", responses((status = 204, description = "ok"), RateProblem))]
    #[expect(dead_code, reason = "only its documentation is read")]
    fn limited() {}

    #[derive(OpenApi)]
    #[openapi(paths(plain, attempts, limited))]
    struct Api;

    #[test]
    fn every_operation_tells_of_its_limit_beside_its_other_refusals() {
        let mut api = Api::openapi();
        document_limits(&mut api);
        let doc = serde_json::to_value(&api).unwrap();
        for (path, status, codes) in [
            ("/a", "200", &["rate_limited"][..]),
            ("/b", "200", &["rate_limited", "too_many_attempts"]),
            ("/c", "204", &["rate_limited"]),
        ] {
            let responses = &doc["paths"][path]["get"]["responses"];
            let refusal = &responses["429"];
            let examples = &refusal["content"]["application/problem+json"]["examples"];
            let codes_found: Vec<_> = examples.as_object().unwrap().keys().collect();
            assert_eq!(codes_found, codes, "{path}");
            assert!(refusal["headers"]["Retry-After"].is_object(), "{path}");
            for headers in [&refusal["headers"], &responses[status]["headers"]] {
                assert!(headers["RateLimit"].is_object(), "{path}");
                assert!(headers["RateLimit-Policy"].is_object(), "{path}");
            }
        }
    }
}
