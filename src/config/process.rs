//! The process.

use settings::Environment;

settings::settings! {
    "The process", ProcessSettings {
        /// Where the process runs: `production`, or `development`, which allows what production
        /// refuses.
        APP_ENV => environment: Environment = "production",
            decides_production(|environment| *environment != Environment::Development);
        /// Whether `/docs`, `/api/openapi.json` and the start page at `/` exist. The start page shows failed jobs to everybody, and
        /// retries them: no place for it where others reach the service.
        DOCS_ENABLED => docs_enabled: bool = false, in_development(true),
            production(|enabled| !enabled, "must be false");
        /// File with the addresses that the start page at `/` links to, and who can sign in: JSON as in `.dev/urls.json`,
        /// which `make run` sets. The start page exists where `DOCS_ENABLED` is true.
        START_PAGE_FILE => start_page_file: Option<String>,
            production(String::is_empty, "must be empty");
    }
}
