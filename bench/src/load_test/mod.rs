//! `make load-test`: users that sign in, read, write, upload and sign out with think time, against a service on this machine
//! or a deployed copy, judged by the 95th percentile of each route; on this machine also the saturation.

mod chart;
mod client;
mod compare;
mod options;
mod preflight;
mod processes;
mod replica_table;
mod report;
mod running;
mod samples;
mod saturation;
mod servers;
mod user;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use groundwork_dev::error::Doing as _;
use groundwork_dev::{Error, Result, process};
use tokio::task::JoinSet;
use url::Url;

pub(crate) use self::options::Options;
pub(crate) use self::servers::serve_object_store;

use self::client::Target;
use self::options::Account;
use self::processes::Usage;
use self::report::{Objective, Report};
use self::samples::Samples;
use self::servers::Servers;
use self::user::{Course, User};
use crate::report::{complain, tell};

/// Users arrive at moments of their own, on average one in so long, and all within half of the test.
const ARRIVAL: Duration = Duration::from_millis(100);

/// Exit status of a run that missed its objective.
const MISSED: u8 = 1;

/// Exit status of a run that measured nothing: bad input, or a server that does not respond.
const NOT_MEASURED: u8 = 2;

/// Runs the load test. Exits with 1 if the objective was missed, and with 2 if nothing was measured.
pub(crate) async fn run(options: Options) -> ExitCode {
    match measure(options).await {
        Ok(report) if report.is_kept() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(MISSED),
        Err(error) => {
            complain("load-test", &error);
            ExitCode::from(NOT_MEASURED)
        }
    }
}

async fn measure(options: Options) -> Result<Report> {
    let accounts = options.read_accounts()?;
    process::allow_open_files()?;
    let report = match (&options.url, accounts) {
        (Some(url), Some(accounts)) => deployed(&options, url, accounts).await?,
        _ => local(&options).await?,
    };
    write(&report)?;
    Ok(report)
}

/// Loads a service on this machine, and then measures its saturation.
async fn local(options: &Options) -> Result<Report> {
    let servers = Servers::build(options.users.max(saturation::MOST)).await?;
    let measured = async {
        let replicas = options.replicas();
        let service = servers.start(&[], replicas).await?;
        let (target, has_files) =
            preflight::check(Target::behind_proxy(service.addr()), servers::account(0)).await?;
        let watched = servers.watched(&service);
        let before = service.replies().await?;
        let accounts = (0..options.users).map(servers::account);
        let course = Course::new(has_files);
        let (samples, usage) =
            under_load(options, &target, accounts.collect(), course, &watched).await?;
        let after = service.replies().await?;
        let replies = after
            .iter()
            .zip(&before)
            .map(|(after, before)| after - before);
        let replies = replies.collect();
        service.stop().await;
        let objective = Objective::default();
        let saturation = saturation::measure(&servers, replicas, has_files, objective).await?;
        let comparison = match replicas {
            Some(replicas) if options.compare => {
                Some(compare::measure(&servers, has_files, replicas).await?)
            }
            _ => None,
        };
        Ok(Report {
            users: options.users,
            think_time: options.think_time,
            length: options.length(),
            target: match options.replicas {
                Some(1) => "one replica behind HAProxy on this machine".to_owned(),
                Some(count) => format!("{count} replicas behind HAProxy on this machine"),
                None => "a service on this machine".to_owned(),
            },
            objective,
            has_files,
            samples,
            usage: Some(usage),
            replies,
            saturation,
            comparison,
        })
    };
    let report = measured.await;
    servers.stop().await;
    report
}

/// Loads a deployed copy with the accounts of a file.
async fn deployed(options: &Options, url: &Url, accounts: Vec<Account>) -> Result<Report> {
    let target = Target::deployed(url)?;
    let first = accounts.first().cloned();
    let first = first.ok_or_else(|| Error::Other("there is no account".into()))?;
    let (target, has_files) = preflight::check(target, first).await?;
    let course = Course::new(has_files);
    let accounts = accounts.into_iter().take(options.users).collect();
    let (samples, _) = under_load(options, &target, accounts, course, &[]).await?;
    Ok(Report {
        users: options.users,
        think_time: options.think_time,
        length: options.length(),
        target: url.to_string(),
        objective: Objective::default(),
        has_files,
        samples,
        usage: None,
        replies: Vec::new(),
        saturation: Vec::new(),
        comparison: None,
    })
}

/// Runs one user for each account until the length of the test is over.
async fn under_load(
    options: &Options,
    target: &Arc<Target>,
    accounts: Vec<Account>,
    course: Course,
    watched: &[processes::Watched],
) -> Result<(Samples, Usage)> {
    let (users, length) = (accounts.len(), options.length());
    let ramp = ARRIVAL.mul_f64(f64::from(u32::try_from(users).unwrap_or(u32::MAX)));
    let ramp = ramp.min(length / 2);
    tell(&format!(
        "{users} users for {} s, who arrive within {} s",
        length.as_secs(),
        ramp.as_secs()
    ));
    let before = Usage::now(watched);
    let began = Instant::now();
    let mut running = JoinSet::new();
    for (at, account) in (0u32..).zip(accounts) {
        let course = course.clone();
        let user = User::new(Arc::clone(target), account, at, course, options.think_time);
        running.spawn(user.run_until(began, ramp, began + length));
    }
    let samples = all(running).await?;
    Ok((samples, Usage::now(watched).since(&before)))
}

/// Collects the samples of all users.
async fn all(mut running: JoinSet<Samples>) -> Result<Samples> {
    let mut samples = Samples::default();
    while let Some(ended) = running.join_next().await {
        samples.add(ended.map_err(|error| Error::Other(error.to_string()))?);
    }
    Ok(samples)
}

/// Prints the report, and writes it with its chart to `target/load-test/`.
fn write(report: &Report) -> Result<()> {
    let me = std::env::current_exe().doing(|| "find this program".into())?;
    let target = me
        .ancestors()
        .nth(2)
        .map_or_else(PathBuf::new, PathBuf::from);
    let folder = target.join("load-test");
    fs::create_dir_all(&folder).doing_to("create", &folder)?;
    let text = report.to_string();
    let page = folder.join("report.md");
    fs::write(&page, &text).doing_to("write", &page)?;
    let picture = folder.join("report.svg");
    fs::write(&picture, chart::draw(report)?).doing_to("write", &picture)?;
    report::print(&text);
    tell(&format!("written: {} and report.svg", page.display()));
    Ok(())
}

impl Options {
    fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}
