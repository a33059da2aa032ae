//! Routes with their OpenAPI description.

use utoipa::openapi::path::Paths;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

/// Routes by paths relative to where they are mounted. [`Routes::mount`] writes the whole path into each:
/// `OpenApiRouter::nest` would wrap each route in a service that strips the prefix, at the cost of another
/// box, another URI and another copy of the route for every request.
#[derive(Clone)]
pub struct Routes<S>(Vec<UtoipaMethodRouter<S>>);

impl<S> Default for Routes<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the result of utoipa's `routes!`.
    #[must_use]
    pub fn routes(mut self, routes: UtoipaMethodRouter<S>) -> Self {
        self.0.push(routes);
        self
    }

    #[must_use]
    pub fn merge(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Returns the routes as an axum router below `prefix`, which begins with a slash and ends with none.
    #[must_use]
    pub fn mount(self, prefix: &str) -> OpenApiRouter<S> {
        let routes = self.0.into_iter();
        routes.fold(
            OpenApiRouter::default(),
            |router, (schemas, paths, methods)| {
                let paths = paths.paths.into_iter();
                let paths = paths.map(|(path, item)| (join(prefix, &path), item));
                let mut mounted = Paths::new();
                mounted.paths = paths.collect();
                router.routes((schemas, mounted, methods))
            },
        )
    }
}

/// The root of a group is the prefix itself, without a slash at its end.
fn join(prefix: &str, path: &str) -> String {
    let is_root = path == "/" && !prefix.is_empty();
    format!("{prefix}{}", if is_root { "" } else { path })
}
