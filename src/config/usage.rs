//! Metering, events and the audit log.

use std::time::Duration;

use database::partitions::Retention;

settings::settings! {
    /// Metering and events.
    pub struct UsageConfig {}
    "Metering and events", UsageSettings {
        /// How often counts of requests are written. A process that is killed loses what it counted
        /// since; beyond a hard quota each replica may let in what arrives in so much time.
        USAGE_FLUSH_INTERVAL => flush_interval: Duration = "5s", at_most("60s");
        /// Counts (an account, operation, status and minute each) that are kept while they cannot be
        /// written; about 150 bytes each.
        USAGE_BUFFER => buffer: usize = 100000, within(1000..=10000000);
        /// How long counts are kept: months or days (`400d`), two months at least. Whole months go.
        USAGE_RETENTION => retention: Retention = "13mo";
        /// How long counts are kept by the minute. Older ones are added up by the hour, by endpoint and status. A longer time counts from now on: what has been added up
        /// stays so, and reports that begin or end within an hour of it are wrong by its part of that hour.
        USAGE_MINUTES_RETENTION => minutes_retention: Duration = "48h", within("25h"..="400d");
        /// How long events are kept: months or days, two months at least. Whole months go.
        EVENTS_RETENTION => events_retention: Retention = "13mo";
        /// Reports (`GET /usage`) that run at once in a process, two for one account. Others wait a
        /// second and get 429 or 503. Keep it below the pool's size.
        USAGE_REPORTS => reports_at_once: usize = 4, within(1..=100);
        /// For the statement of one report; also ends reports whose client hung up.
        USAGE_REPORT_TIMEOUT => report_timeout: Duration = "2s", at_most("30s");
    }
}

settings::settings! {
    /// The audit log.
    pub struct AuditConfig {}
    // The database keeps addresses of the last 30 days and months of the last year, so that an
    // intruder who takes over the service cannot remove the traces.
    "Audit log", AuditSettings {
        /// How long client addresses and user agents are kept in audit entries; the entries stay.
        AUDIT_ADDRESS_RETENTION => address_retention: Duration = "90d", within("30d"..="3650d");
        /// How long entries are kept: months or days, `12mo` or `366d` at least. Whole months go.
        AUDIT_RETENTION => retention: Retention = "24mo",
            check(|kept| kept.is_a_year(), "must be at least 12mo, or 366d");
    }
}
