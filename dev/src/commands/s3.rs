//! The S3 server by itself, and as part of `run`.

use std::{
    env,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use groundwork_dev::{
    Result, S3,
    certificates::read_acceptor,
    error::Doing,
    files::Scratch,
    ports,
    s3::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY},
};

use super::{foreground::Interrupts, home::Home, say};

/// Port that is tried first.
const FRIENDLY_PORT: u16 = 9000;

pub(super) const BUCKET: &str = "files";

/// Bucket of the copy. A second place would be another server.
const COPY_BUCKET: &str = "files-copy";

/// Starts it with the objects of the last run.
pub(super) async fn start(home: &Home, last: Option<u16>) -> Result<S3> {
    let listener = ports::listen(last, FRIENDLY_PORT)?;
    let s3 = S3::serve(listener, home.s3_directory()).await?;
    s3.ensure_bucket(BUCKET)?;
    s3.ensure_bucket(COPY_BUCKET)?;
    Ok(s3)
}

/// Options of `groundwork-dev s3`.
#[derive(Args)]
pub(crate) struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Directory that keeps the objects for the next run; without it they are forgotten
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Name of the bucket
    #[arg(long, default_value = BUCKET)]
    bucket: String,
    /// Certificate with its chain, in PEM, for https
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// Key of the certificate, in PEM
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
}

/// `s3`: serves until a signal.
pub(crate) async fn s3(options: Options) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let listener =
        TcpListener::bind(options.listen).doing(|| format!("listen on {}", options.listen))?;
    let scratch = match options.directory {
        Some(_) => None,
        None => Some(Scratch::new(None)?),
    };
    let in_scratch = scratch.as_ref().map(|scratch| scratch.path().to_owned());
    let directory = options.directory.or(in_scratch).unwrap_or_default();
    let s3 = match options.certificate.zip(options.key) {
        Some((certificate, key)) => {
            let tls = read_acceptor(&certificate, &key)?;
            S3::serve_https(listener, directory, tls).await?
        }
        None => S3::serve(listener, directory).await?,
    };
    s3.ensure_bucket(&options.bucket)?;
    for (name, value) in settings(&s3.url(), &options.bucket) {
        say(&format!("{name}={value}"));
    }
    interrupts.next().await;
    Ok(ExitCode::SUCCESS)
}

/// Settings of a service that keeps its files there.
pub(super) fn settings(url: &str, bucket: &str) -> Vec<(String, String)> {
    let settings = [
        ("STORAGE_BUCKET", bucket),
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

/// Settings of a service that copies its files there.
pub(super) fn copy_settings(url: &str) -> Vec<(String, String)> {
    let settings = [
        ("STORAGE_COPY_BUCKET", COPY_BUCKET),
        ("STORAGE_COPY_ENDPOINT", url),
        ("STORAGE_COPY_REGION", REGION),
        ("STORAGE_COPY_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("STORAGE_COPY_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
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
