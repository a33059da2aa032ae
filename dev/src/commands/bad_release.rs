//! `bad-release`: the service with a fault, as the entry point of an image.

use std::{env, os::unix::process::CommandExt as _, process::ExitCode, time::Duration};

use groundwork_dev::{
    Result,
    bad_release::{BadRelease, ReleaseFault},
    error::Doing as _,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

use super::say;

const SERVICE: &str = "/usr/local/bin/groundwork";

/// Options of `bad-release`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fault that it has
    #[arg(long, value_enum)]
    fault: ReleaseFault,
    /// Seconds until a fault that comes later
    #[arg(long, default_value_t = 30)]
    after: u64,
    /// The subcommand of the service and its options; only `serve` has the fault
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs the subcommand; `serve` until SIGTERM, behind the proxy.
pub(crate) async fn bad_release(options: Options) -> Result<ExitCode> {
    if options.fault == ReleaseFault::Migration && options.command == ["migrate", "--check"] {
        say("20991231000000_drop_users.sql: drops a table that the release before uses");
        return Ok(ExitCode::from(3));
    }
    if options.command.first().map(String::as_str) != Some("serve") {
        let mut command = std::process::Command::new(SERVICE);
        let failed = command.args(&options.command).exec();
        return Err(failed).doing(|| format!("run {SERVICE}"));
    }
    let trusted = env::var("TRUSTED_PROXIES").unwrap_or_default();
    let mut terminated = signal(SignalKind::terminate()).doing(|| "listen for SIGTERM".into())?;
    let child = Command::new(SERVICE)
        .args(&options.command)
        .env("BIND_ADDR", "127.0.0.1:18000")
        .env("METRICS_ADDR", "127.0.0.1:19090")
        .env("TRUSTED_PROXIES", format!("{trusted},127.0.0.1"))
        .spawn();
    let mut child = child.doing(|| format!("run {SERVICE}"))?;
    let proxy = BadRelease::new(
        options.fault,
        Duration::from_secs(options.after),
        "127.0.0.1:18000".into(),
        "127.0.0.1:19090".into(),
    );
    let mut serving = std::pin::pin!(proxy.serve());
    let is_stopped = tokio::select! {
        served = &mut serving => {
            served?;
            false
        }
        ended = child.wait() => {
            ended.doing(|| "wait for the service".into())?;
            false
        }
        _ = terminated.recv() => true,
    };
    if !is_stopped {
        return Ok(ExitCode::FAILURE);
    }
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        // It has ended by itself if it is not there.
        let _ = kill_process(pid, Signal::TERM);
    }
    // It drains, and is reached by the proxy meanwhile.
    tokio::select! {
        served = serving => served?,
        ended = child.wait() => {
            ended.doing(|| "wait for the service".into())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
