//! Releases on one host: smoke checks of a replica that gets no traffic yet, and notes on what became of a release. Owns no
//! table and no route; `deploy/bin/release` runs both as commands.

mod note;
mod service;
mod smoke;

pub use service::run;
