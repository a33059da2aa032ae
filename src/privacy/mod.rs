//! Personal data that the product keeps: the inventory of every column, job payload and Redis key, the record of
//! processing (Art. 30 GDPR) that is generated from it, exports of a person's data, the deletion of accounts, legal
//! holds, and the register of requests.

mod commands;
mod erasure;
mod exports;
mod holds;
mod inventory;
mod model;
mod record;
mod requests;
mod retention;

pub use commands::{answer, run};
pub use erasure::{
    Deferral, ERASED, EraseDue, Error, NotifyDeletion, PurgeBooks, cancellation_routes,
    deletion_routes, finding,
};
pub use exports::{MakeExport, NotifyExport, PurgeExports, routes as export_routes};
pub use inventory::{JOBS, REDIS, TABLES};
pub use model::{Column, Erasure, Kind, Owner, Store};
pub use record::record_of_processing;
pub use requests::PurgeRequests;
pub use retention::sample as sample_retention;
