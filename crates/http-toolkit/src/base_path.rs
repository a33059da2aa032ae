//! Serving below the path of `PUBLIC_URL`, whether or not the proxy in front strips it.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use tower::ServiceExt as _;

/// Serves `routes` below `base` and at the root. `own` are the first path segments of the routes: the base is
/// removed only before one of them, so that `/api/v1` stays as it is below `/api`.
///
/// Without a base the router is returned as it is, so that nothing is added to a request.
pub fn strip_base_path(
    routes: Router,
    base: &str,
    own: impl IntoIterator<Item = String>,
) -> Router {
    if base.is_empty() {
        return routes;
    }
    let (base, own): (Arc<str>, HashSet<_>) = (base.into(), own.into_iter().collect());
    let own = Arc::new(own);
    // Around the router, since a layer within it would run after the route was chosen.
    Router::new().fallback(move |mut request: Request| {
        if let Some(uri) = strip(request.uri(), &base, &own) {
            *request.uri_mut() = uri;
        }
        routes.clone().oneshot(request)
    })
}

fn strip(uri: &Uri, base: &str, own: &HashSet<String>) -> Option<Uri> {
    let target = uri.path_and_query()?.as_str().strip_prefix(base)?;
    let first = target.strip_prefix('/')?.split(['/', '?']).next()?;
    if !own.contains(first) {
        return None;
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_removed_before_a_path_of_ours_only() {
        let own = ["api", "health", "verify-email"].map(str::to_owned).into();
        let strip = |base, target: &str| {
            let uri = strip(&target.parse().unwrap(), base, &own);
            uri.map_or_else(|| target.to_owned(), |uri| uri.to_string())
        };
        for (base, target, expected) in [
            (
                "/app",
                "/app/api/v1/users/me?a=/app/api",
                "/api/v1/users/me?a=/app/api",
            ),
            ("/app", "/app/verify-email?token=x", "/verify-email?token=x"),
            ("/app", "/app/health", "/health"),
            ("/app", "/api/v1/users/me", "/api/v1/users/me"),
            ("/app", "/application/api", "/application/api"),
            ("/app", "/app", "/app"),
            ("/app", "/app/", "/app/"),
            ("/app", "/app//api/v1", "/app//api/v1"),
            ("/app", "/app/app/api", "/app/app/api"),
            ("/app", "/APP/api", "/APP/api"),
            (
                "/app",
                "http://example.com/app/api/v1",
                "http://example.com/api/v1",
            ),
            ("/a/b", "/a/b/api/v1", "/api/v1"),
            ("/a/b", "/b/api/v1", "/b/api/v1"),
            // A path that is also one of ours.
            ("/api", "/api/v1/users/me", "/api/v1/users/me"),
            ("/api", "/api/api/v1/users/me", "/api/v1/users/me"),
            ("/health", "/health/ready", "/health/ready"),
            ("/health", "/health/health/ready", "/health/ready"),
        ] {
            assert_eq!(strip(base, target), expected, "{base}");
        }
    }
}
