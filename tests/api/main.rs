//! The service over HTTP: its own router, listener and worker, on a database of each test's own.

#![expect(
    unreachable_pub,
    reason = "a test binary has no outside; `pub` marks what its files share"
)]

mod harness;

mod browser;
mod cookies;
mod credentials;
mod docs;
mod health;
mod kit;
mod login;
mod logout;
mod logs;
mod metrics;
mod migrations;
mod passwords;
mod process;
mod refresh;
mod register;
mod sentry;
mod sessions;
mod tokens;
mod tracing;
mod users;
mod worker;
