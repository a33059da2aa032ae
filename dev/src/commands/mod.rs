//! One file for each command, and what they share.

mod bad_release;
mod db;
mod foreground;
mod home;
mod load;
mod login;
mod restore;
mod run;
mod s3;
mod seed;
mod service;
mod slice;
mod sqlx;
mod stripe;
mod test;
mod without;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use groundwork_dev::Result;

pub(crate) use self::{
    bad_release::{Options as BadReleaseOptions, bad_release},
    db::db,
    load::{Options as LoadOptions, load},
    restore::restore,
    run::run,
    s3::{Options as S3Options, s3},
    slice::{Options as SliceOptions, slice},
    sqlx::sqlx,
    stripe::{Options as StripeOptions, stripe},
    test::test,
    without::{Options as WithoutOptions, without},
};

/// `clean`: forgets everything about this checkout.
pub(crate) fn clean() -> Result<ExitCode> {
    home::Home::open()?.remove()?;
    Ok(ExitCode::SUCCESS)
}

/// Says something to whoever watches; a terminal that has gone away is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
