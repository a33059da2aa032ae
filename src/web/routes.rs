//! The routes of a slice with their descriptions, before `app.rs` mounts them.

use utoipa::openapi::path::Paths;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

/// Routes by paths that begin where they are mounted. Mounting writes the whole path into each:
/// `OpenApiRouter::nest` would put a service around it that cuts the prefix off every request, at
/// the cost of another box, another address and another copy of what is within.
#[derive(Clone)]
pub struct Routes<S>(Vec<UtoipaMethodRouter<S>>);

impl<S> Default for Routes<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what `routes!` made of handlers.
    #[must_use]
    pub fn routes(mut self, routes: UtoipaMethodRouter<S>) -> Self {
        self.0.push(routes);
        self
    }

    /// Adds the routes of `others`.
    #[must_use]
    pub fn merge(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Adds the routes of `others` below `prefix`, which begins with a slash and ends with none.
    #[must_use]
    pub fn mount(self, prefix: &str, others: Self) -> Self {
        let others = others.0.into_iter().map(|(schemas, paths, routes)| {
            let paths = paths.paths.into_iter();
            let paths = paths.map(|(path, item)| (below(prefix, &path), item));
            let mut mounted = Paths::new();
            mounted.paths = paths.collect();
            (schemas, mounted, routes)
        });
        self.merge(Self(others.collect()))
    }

    /// The router and its document.
    #[must_use]
    pub fn open(self) -> OpenApiRouter<S> {
        let routes = self.0.into_iter();
        routes.fold(OpenApiRouter::default(), OpenApiRouter::routes)
    }
}

/// The root of what is mounted is the prefix itself.
fn below(prefix: &str, path: &str) -> String {
    format!("{prefix}{}", if path == "/" { "" } else { path })
}
