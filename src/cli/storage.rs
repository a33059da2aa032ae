//! Subcommands of `groundwork storage`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum Storage {
    /// Create the bucket `STORAGE_BUCKET`, and `STORAGE_COPY_BUCKET` if it is set, unless they exist
    ///
    /// Waits for a store that does not respond yet, for at most a minute.
    CreateBucket,
    /// Copy the objects to the second place now, as the daily job does
    ///
    /// Exits with 1 when an object could not be copied or has other bytes than its file, and when another process copies now.
    Copy {
        /// Also if the second place has the copy of another bucket, or more than half of the copies are gone from the store
        #[arg(long)]
        force: bool,
    },
    /// Compare files with their objects, by size and SHA-256, and print those that differ
    ///
    /// A line for each: the file's id, the object's key, and `missing`, the size or `SHA-256`. Exits with 1 when there is one.
    Verify(VerifyOptions),
    /// Bring back objects that the store lacks from the second place
    ///
    /// Those that a file, a picture or the list of erased users needs. Overwrites nothing. Exits with 1 when a copy is damaged.
    Restore,
}

#[derive(Debug, Args)]
pub struct VerifyOptions {
    /// Only one of so many files, those that were compared longest ago, and all that differed
    #[arg(long, value_name = "PARTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub share: Option<u32>,
    /// Only presence and size, without reading the objects
    #[arg(long, conflicts_with = "share")]
    pub present_only: bool,
    /// The objects of the second place instead, as of the last complete copy
    #[arg(long, conflicts_with_all = ["share", "present_only"])]
    pub copy: bool,
}
