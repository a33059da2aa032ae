//! Metrics of files, of their objects and of the copy of these.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use metric_families::label_values;
use metrics::{counter, gauge, histogram};

metric_families::families! {
    FILE_SWEEPS "file_sweeps_total" Counter Count ["outcome"]
        "Comparisons of files with their objects: ok, failed."
    FILE_REPAIRS "file_repairs_total" Counter Count ["repair"]
        "What sweeps of files have done: removed deleted files, staged uploads and objects without a row, and marked files as lost or found."
    FILE_SCANS "file_scan_duration_seconds" Histogram Seconds ["outcome"]
        "Virus scans of files: clean, infected, unavailable, failed. Without a verdict a file waits and is scanned again."
    FILE_SCAN_OLDEST "file_scan_oldest_waiting_seconds" Gauge Seconds []
        "How long the oldest file has waited for its virus scan; 0 if none waits."
    FILES_VERIFIED "files_verified_total" Counter Count ["outcome"]
        "Files that were compared with their objects by size and SHA-256: same, missing, size, hash."
    FILES_DIFFERING "files_differing" Gauge Count []
        "Files whose object is missing or differs, as it was last compared."
    FILES_VERIFY_OVERDUE "files_verify_overdue_seconds" Gauge Seconds []
        "How long the file that was compared longest ago is beyond FILE_VERIFY_WITHIN; 0 if none is."
    FILE_COPIES "file_copies_total" Counter Count ["outcome"]
        "Runs that copy the object store to the second place: ok, failed."
    FILE_COPY_CHANGES "file_copy_objects_total" Counter Count ["change"]
        "Objects of the copy: copied, replaced, noted as deleted, removed after the retention, refused for other bytes than their file has, failed."
    FILE_COPY_TIME "file_copy_last_success_timestamp_seconds" Gauge Seconds []
        "Time at which the last complete copy of the object store began; 0 while it is not known."
}

pub(super) fn init() {
    Repair::init(FILE_REPAIRS, "repair");
    Sweep::init(FILE_SWEEPS, "outcome");
    Verified::init(FILES_VERIFIED, "outcome");
    Sweep::init(FILE_COPIES, "outcome");
    CopyChange::init(FILE_COPY_CHANGES, "change");
    gauge!(FILE_SCAN_OLDEST).set(0.0);
}

label_values! {
    /// Repair by a sweep of files.
    Repair {
        /// A deleted file is removed.
        Purged "purged"
        /// Bytes of an upload are removed.
        Staged "staged"
        /// An object without a row is removed.
        Orphan "orphan"
        /// A file has no object.
        Lost "lost"
        /// A lost file has its object again.
        Found "found"
    }
}

pub fn count_file_repair(repair: Repair) {
    counter!(FILE_REPAIRS, "repair" => repair.as_str()).increment(1);
}

label_values! {
    Sweep {
        Ok "ok"
        Failed "failed"
    }
}

pub fn count_file_sweep(is_ok: bool) {
    let outcome = if is_ok { Sweep::Ok } else { Sweep::Failed };
    counter!(FILE_SWEEPS, "outcome" => outcome.as_str()).increment(1);
}

label_values! {
    /// How a virus scan ended.
    Scan {
        Clean "clean"
        Infected "infected"
        /// The scanner does not respond.
        Unavailable "unavailable"
        /// The scanner or the object store refused, or the file could not be read.
        Failed "failed"
    }
}

pub fn observe_file_scan(began: Instant, outcome: Scan) {
    histogram!(FILE_SCANS, "outcome" => outcome.as_str()).record(began.elapsed());
}

/// How long the oldest file has waited for its scan.
pub fn set_oldest_waiting_file(waited: Duration) {
    gauge!(FILE_SCAN_OLDEST).set(waited.as_secs_f64());
}

label_values! {
    /// Outcome of comparing a file with its object.
    Verified {
        Same "same"
        Missing "missing"
        Size "size"
        Hash "hash"
    }
}

pub fn count_verified_file(outcome: Verified) {
    counter!(FILES_VERIFIED, "outcome" => outcome.as_str()).increment(1);
}

/// Files that differ, and how long the oldest comparison is overdue.
pub fn set_files_verified(differing: u32, overdue: Duration) {
    gauge!(FILES_DIFFERING).set(f64::from(differing));
    gauge!(FILES_VERIFY_OVERDUE).set(overdue.as_secs_f64());
}

label_values! {
    /// Change of an object of the copy.
    CopyChange {
        Copied "copied"
        Replaced "replaced"
        /// It is gone from the store.
        Noted "noted"
        /// Its retention has passed.
        Removed "removed"
        /// The object has other bytes than its file.
        Refused "refused"
        Failed "failed"
    }
}

pub fn count_file_copy(change: CopyChange) {
    counter!(FILE_COPY_CHANGES, "change" => change.as_str()).increment(1);
}

pub fn count_file_copies(is_ok: bool) {
    let outcome = if is_ok { Sweep::Ok } else { Sweep::Failed };
    counter!(FILE_COPIES, "outcome" => outcome.as_str()).increment(1);
}

/// Start of the last complete copy; `None` if there is none yet, or none is known.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
pub fn set_copy_time(at: Option<DateTime<Utc>>) {
    let seconds = at.map_or(0, |at| at.timestamp());
    gauge!(FILE_COPY_TIME).set(seconds as f64);
}
