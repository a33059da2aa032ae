//! The process.

use settings::Environment;

settings::settings! {
    "The process", ProcessSettings {
        /// Where the process runs: `production`, or `development`, which allows what production
        /// refuses.
        APP_ENV => environment: Environment = "production",
            decides_production(|environment| *environment != Environment::Development);
        /// Whether `/docs` and `/api/openapi.json` exist.
        DOCS_ENABLED => docs_enabled: bool = false, in_development(true),
            production(|enabled| !enabled, "must be false");
    }
}
