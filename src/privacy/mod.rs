//! Personal data that the product keeps: the inventory of every column, job payload and Redis key, and the record of
//! processing (Art. 30 GDPR) that is generated from it. Exports of a person's data are in `exports`.

mod exports;
mod inventory;
mod model;
mod record;
mod retention;

pub use exports::{
    Error as ExportError, MakeExport, NotifyExport, PurgeExports,
    delete_objects_of as delete_export_objects_of, routes as export_routes,
    write_to_file as export_to_file,
};
pub use inventory::{JOBS, REDIS, TABLES};
pub use model::{Column, Kind, Store};
pub use record::record_of_processing;
pub use retention::sample as sample_retention;
