//! Monthly summary of usage by email, for users who asked for it: an example of an optional email and of a scheduled
//! report. Owns the table `usage_summaries`.

mod commands;
mod jobs;
mod model;
mod service;
mod store;

pub use commands::run;
pub use jobs::{PurgeSummaries, ScheduleNewSummaries, ScheduleSummaries, SendSummary, retained};
