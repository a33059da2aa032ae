//! Groundwork: accounts, organisations, billing, files and jobs of a SaaS product.
//!
//! Modules are in layers, separated by blank lines: a module uses layers before its own, not its own layer and
//! not a later one. `tests/architecture.rs` checks every `use crate::…`.

pub mod cli;
pub mod config;
pub mod metrics;

pub mod ids;
pub mod schema;

pub mod scope;
pub mod web;

pub mod roles;

pub mod policy;
pub mod state;

pub mod ctx;

pub mod audit;
pub mod mail;
pub mod partitions;

pub mod sealed;

pub mod consents;
pub mod health;
pub mod idempotency;
pub mod plans;
pub mod users;

pub mod mfa;

pub mod auth;
pub mod events;

pub mod email_preferences;
pub mod organisations;
pub mod usage;

pub mod customers;

pub mod payments;

pub mod billing;

pub mod admin;
pub mod api_keys;
pub mod dashboard;
pub mod files;
pub mod secrets;
pub mod start_page;
pub mod usage_summary;

pub mod privacy;

pub mod storage;

pub mod app;
pub mod doctor;
pub mod migrate;
pub mod releases;
pub mod worker;

pub mod monitor;

pub mod tasks;
