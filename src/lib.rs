//! Groundwork: a SaaS backend to generate, rename and own.
//!
//! The table of contents. Modules stand in floors, ground first: a module uses floors before its
//! own, never a neighbour or a later one. `tests/architecture.rs` holds every `use crate::…` to it.

pub mod cli;
pub mod config;
pub mod metrics;

pub mod infra;

pub mod ids;
pub mod migrate;
pub mod telemetry;
pub mod text;

pub mod web;

pub mod jobs;
pub mod policy;
pub mod state;

pub mod ctx;

pub mod audit;
pub mod mail;
pub mod partitions;

pub mod docs;
pub mod health;
pub mod plans;
pub mod users;

pub mod mfa;

pub mod auth;
pub mod events;

pub mod usage;

pub mod admin;
pub mod api_keys;
pub mod dashboard;

pub mod app;
pub mod doctor;
pub mod keyring;
pub mod worker;

pub mod monitor;

pub mod tasks;
