//! Problems in the OpenAPI document.

use axum::http::{Method, StatusCode};
use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Components, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::code::ProblemCode;
use crate::problem::{FieldError, Problem};

/// Responses of an operation by status.
pub type Responses = BTreeMap<String, RefOr<Response>>;

/// Problems of the middleware around every route.
const COMMON: &[ProblemCode] = &[
    ProblemCode::BAD_REQUEST,
    ProblemCode::HTTPS_REQUIRED,
    ProblemCode::MISDIRECTED_REQUEST,
    ProblemCode::INTERNAL,
    ProblemCode::UNAVAILABLE,
    ProblemCode::BUSY,
    ProblemCode::DEADLINE_EXCEEDED,
];

/// Responses for `codes`, one per status.
#[must_use]
pub fn problems<C: Copy + Into<ProblemCode>>(codes: &[C]) -> Responses {
    let mut by_status: BTreeMap<u16, Vec<ProblemCode>> = BTreeMap::new();
    for code in codes {
        let code = (*code).into();
        by_status
            .entry(code.status().as_u16())
            .or_default()
            .push(code);
    }
    by_status
        .into_iter()
        .map(|(status, codes)| (status.to_string(), response(status, &codes).into()))
        .collect()
}

/// Adds the responses for `codes` to an operation, before others of the same status.
pub fn add_problems<C: Copy + Into<ProblemCode>>(operation: &mut Operation, codes: &[C]) {
    let responses = &mut operation.responses.responses;
    for (status, response) in problems(codes) {
        match responses.get_mut(&status) {
            Some(RefOr::T(known)) => merge_response(known, response),
            _ => drop(responses.insert(status, response)),
        }
    }
}

fn merge_response(known: &mut Response, more: RefOr<Response>) {
    let RefOr::T(more) = more else { return };
    known.description = format!("{}\n\n{}", more.description, known.description);
    known.headers.extend(more.headers);
    for (kind, content) in more.content {
        match (known.content.get_mut(&kind), content) {
            (Some(RefOr::T(known)), RefOr::T(more)) => known.examples.extend(more.examples),
            (_, content) => drop(known.content.insert(kind, content)),
        }
    }
}

fn response(status: u16, codes: &[ProblemCode]) -> Response {
    let titles: Vec<_> = codes
        .iter()
        .map(|code| format!("`{}`: {}", code.as_str(), code.title()))
        .collect();
    let examples = codes.iter().map(|code| {
        let example = ExampleBuilder::new()
            .summary(code.title())
            .value(Some(example(*code)));
        (code.as_str(), example.build())
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .examples_from_iter(examples);
    let response = ResponseBuilder::new()
        .description(titles.join("\n\n"))
        .content("application/problem+json", content.build());
    let header = match status {
        401 => (
            "WWW-Authenticate",
            Type::String,
            "How to authenticate (RFC 6750).",
        ),
        429 | 503 => ("Retry-After", Type::Integer, "Seconds to wait, at least 1."),
        _ => return response.build(),
    };
    let (name, kind, description) = header;
    let schema = ObjectBuilder::new().schema_type(kind).build();
    let header = HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(description));
    response.header(name, header.build()).build()
}

fn example(code: ProblemCode) -> Value {
    let problem = if code == ProblemCode::INVALID_FIELDS {
        Problem::new(code).field("email", "required", "is required")
    } else if code == ProblemCode::BAD_REQUEST {
        Problem::new(code).detail("malformed JSON at line 1, column 12")
    } else {
        Problem::new(code)
    };
    let body = problem.body(code.status(), Some("01980b6e7c0070008000000000000001"));
    serde_json::from_slice(&body).unwrap_or_else(|_| json!({}))
}

/// Declares groups of error codes that handlers list among their responses.
#[macro_export]
macro_rules! problem_groups {
    ($($(#[$doc:meta])* $name:ident [$($code:expr),+];)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl ::utoipa::IntoResponses for $name {
            fn responses() -> $crate::Responses {
                $crate::problems(&[$($code),+])
            }
        }
    )+};
}

/// As [`problem_groups!`], for routes with a JSON body: each group has those of [`BodyProblems`] as well, one response
/// per status.
#[macro_export]
macro_rules! body_problem_groups {
    ($($name:ident [$($code:expr),+];)+) => {
        $crate::problem_groups! {$(
            $name [
                $crate::ProblemCode::BAD_REQUEST,
                $crate::ProblemCode::REQUEST_TIMEOUT,
                $crate::ProblemCode::PAYLOAD_TOO_LARGE,
                $crate::ProblemCode::UNSUPPORTED_MEDIA_TYPE,
                $crate::ProblemCode::INVALID_FIELDS,
                $($crate::ProblemCode::from($code)),+
            ];
        )+}
    };
}

problem_groups! {
    /// Responses of a route that takes a JSON body.
    BodyProblems [
        ProblemCode::BAD_REQUEST,
        ProblemCode::REQUEST_TIMEOUT,
        ProblemCode::PAYLOAD_TOO_LARGE,
        ProblemCode::UNSUPPORTED_MEDIA_TYPE,
        ProblemCode::INVALID_FIELDS
    ];
    /// Responses of a route that validates well-formed fields further.
    FieldProblems [ProblemCode::INVALID_FIELDS];
    /// Responses of a route with parameters in its path.
    PathProblems [ProblemCode::BAD_REQUEST, ProblemCode::NOT_FOUND];
    /// Responses of a route with a query string.
    QueryProblems [ProblemCode::BAD_REQUEST];
    /// Response of a route with further permissions.
    ForbiddenProblem [ProblemCode::FORBIDDEN];
    /// Response of a route to one resource.
    NotFoundProblem [ProblemCode::NOT_FOUND];
    /// Response of a route that changes contended resources.
    ConflictProblem [ProblemCode::CONFLICT];
    /// Response of a rate-limited route.
    RateProblem [ProblemCode::RATE_LIMITED];
}

/// Adds the problems of the middleware to every operation, and their schema to the components. Responses that a
/// route documents itself stay.
pub fn document_common(api: &mut OpenApi) {
    let components = api.components.get_or_insert_with(Components::new);
    let schemas = [
        (Problem::name(), Problem::schema()),
        (FieldError::name(), FieldError::schema()),
    ];
    for (name, schema) in schemas {
        components
            .schemas
            .entry(name.into_owned())
            .or_insert(schema);
    }
    let common = problems(COMMON);
    let redirect = redirect();
    for item in api.paths.paths.values_mut() {
        for (method, operation) in operations(item) {
            let responses = &mut operation.responses.responses;
            if method == Method::GET {
                let status = StatusCode::PERMANENT_REDIRECT.as_str();
                responses
                    .entry(status.to_owned())
                    .or_insert_with(|| redirect.clone().into());
            }
            for (status, response) in &common {
                responses
                    .entry(status.clone())
                    .or_insert_with(|| response.clone());
            }
        }
    }
}

/// Redirect of a GET over plain http.
fn redirect() -> Response {
    let schema = ObjectBuilder::new().schema_type(Type::String).build();
    let location = HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some("The same address over https."));
    ResponseBuilder::new()
        .description("Plain http is not served.")
        .header("Location", location.build())
        .build()
}

/// The operations of a path by their methods.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem {
        get,
        put,
        post,
        delete,
        options,
        head,
        patch,
        trace,
        ..
    } = item;
    [
        (Method::GET, get),
        (Method::PUT, put),
        (Method::POST, post),
        (Method::DELETE, delete),
        (Method::OPTIONS, options),
        (Method::HEAD, head),
        (Method::PATCH, patch),
        (Method::TRACE, trace),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

#[cfg(test)]
mod tests {
    use utoipa::OpenApi;

    use super::*;

    struct AuthProblems;

    impl utoipa::IntoResponses for AuthProblems {
        fn responses() -> Responses {
            problems(&[ProblemCode::UNAUTHENTICATED, ProblemCode::FORBIDDEN])
        }
    }

    /// Shows me.
    #[utoipa::path(
        get,
        path = "/me",
        responses((status = 200, description = "ok"), (status = 400, description = "own"), BodyProblems, AuthProblems)
    )]
    #[expect(dead_code, reason = "only its documentation is read")]
    fn show_me() {}

    #[derive(OpenApi)]
    #[openapi(paths(show_me))]
    struct Api;

    #[test]
    fn every_operation_lists_what_any_route_can_answer() {
        let mut api = Api::openapi();
        document_common(&mut api);
        let doc = serde_json::to_value(&api).unwrap();
        let responses = doc["paths"]["/me"]["get"]["responses"].as_object().unwrap();
        let statuses: Vec<_> = responses.keys().map(String::as_str).collect();
        assert_eq!(
            statuses,
            [
                "200", "308", "400", "401", "403", "408", "413", "415", "421", "422", "500", "503"
            ]
        );
        let body = &responses["401"]["content"]["application/problem+json"];
        assert_eq!(body["schema"]["$ref"], "#/components/schemas/Problem");
        assert_eq!(body["examples"]["unauthenticated"]["value"]["status"], 401);
        assert!(responses["401"]["headers"]["WWW-Authenticate"].is_object());
        let schema = &doc["components"]["schemas"]["Problem"];
        assert_eq!(
            schema["properties"]["errors"]["items"]["$ref"],
            "#/components/schemas/FieldError"
        );
        assert_eq!(
            schema["required"],
            json!(["type", "title", "status", "code", "request_id"])
        );
    }
}
