//! The S3 server by itself, and as part of `run`.

use std::{env, process::ExitCode};

use groundwork_dev::{
    Result, S3, ports,
    s3::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY},
};

use super::{foreground::Interrupts, home::Home, say};

/// Port that is tried first.
const FRIENDLY_PORT: u16 = 9000;

pub(super) const BUCKET: &str = "files";

/// Starts it with the objects of the last run.
pub(super) async fn start(home: &Home, last: Option<u16>) -> Result<S3> {
    let listener = ports::listen(last, FRIENDLY_PORT)?;
    let s3 = S3::serve(listener, home.s3_directory()).await?;
    s3.ensure_bucket(BUCKET)?;
    Ok(s3)
}

/// `s3`: serves until a signal.
pub(crate) async fn s3() -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let s3 = S3::throw_away().await;
    s3.ensure_bucket(BUCKET)?;
    for (name, value) in settings(&s3.url()) {
        say(&format!("{name}={value}"));
    }
    interrupts.next().await;
    Ok(ExitCode::SUCCESS)
}

/// Settings of a service that keeps its files there.
pub(super) fn settings(url: &str) -> Vec<(String, String)> {
    let settings = [
        ("STORAGE_BUCKET", BUCKET),
        ("STORAGE_ENDPOINT", url),
        ("STORAGE_REGION", REGION),
        ("STORAGE_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("STORAGE_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
    ];
    let settings = settings.into_iter();
    settings
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// True if the caller's environment names a bucket.
pub(super) fn has_own_store() -> bool {
    env::var("STORAGE_BUCKET").is_ok_and(|bucket| !bucket.is_empty())
}
