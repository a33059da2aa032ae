//! The service over HTTP: its own router, listener and worker, on a database of each test's own.

#![expect(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` marks what its files share"
)]

mod harness;

mod admin;
mod admin_proof;
mod alerting;
mod all_faults;
mod api_keys;
mod audit_log;
mod audit_retention;
mod avatars;
mod bad_values;
mod billing;
mod billing_usage;
mod browser;
mod brute_force;
mod cache;
mod clock;
mod consents;
mod cookies;
mod credential_changes;
mod credentials;
mod dashboard;
mod dead_jobs;
mod docs;
mod email_limits;
mod email_preferences;
mod email_undo;
mod event_quota;
mod events;
mod files;
mod health;
mod idempotency;
mod injection;
mod invitations;
mod invoices;
mod key_rotation;
mod kit;
mod limits;
mod lockouts;
mod login;
mod logout;
mod logs;
mod metrics;
mod mfa;
mod migrations;
mod observability;
mod organisations;
mod partitions;
mod password_forms;
mod passwords;
mod payments;
mod plans;
mod privacy;
mod process;
mod refresh;
mod refresh_tokens;
mod register;
mod releases;
mod request_context;
mod revocations;
mod row_security;
mod scale;
mod sealed;
mod secrets;
mod sentry;
mod sessions;
mod sign_ups;
mod smtp;
mod start_page;
mod token_kinds;
mod tokens;
mod tracing;
mod unverified;
mod usage;
mod usage_summary;
mod users;
mod whole_surface;
mod worker;
