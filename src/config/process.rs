//! The process.

use settings::Environment;

settings::settings! {
    "The process", ProcessSettings {
        /// Where the process runs: `production`, or `development`, which allows what production
        /// refuses.
        APP_ENV => environment: Environment = "production",
            decides_production(|environment| *environment != Environment::Development);
        /// Serves `/docs`, `/api/openapi.json` and the start page at `/`. The start page shows failed jobs, and retries them, without
        /// authentication: for machines that nobody else can reach.
        DOCS_ENABLED => docs_enabled: bool = false, in_development(true),
            production(|enabled| !enabled, "must be false");
        /// File with the addresses that the start page at `/` links to, and who can sign in: JSON as in `.dev/urls.json`,
        /// which `make run` sets. The start page exists where `DOCS_ENABLED` is true.
        START_PAGE_FILE => start_page_file: Option<String>,
            production(String::is_empty, "must be empty");
    }
}
