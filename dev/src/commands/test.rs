//! `test`: every test, on servers that live as long as the run.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use groundwork_dev::{
    Error, Postgres, Redis, Result,
    files::{self, Scratch},
    packages::{self, Package},
    pgbouncer::{Options, PgBouncer, PoolMode},
    postgres,
    process::{self, OnOurDeath},
};

use super::{
    foreground::{Foreground, Interrupts, interrupted},
    home, say, service,
};

/// The migrated database that each test copies.
const TEMPLATE: &str = "template_app";

/// The option that puts a pooler between the service and its databases.
const POOLER: &str = "--pooler";

/// `test`: starts what the tests need, runs them and ends with the runner's code.
pub(crate) async fn test(mut args: Vec<OsString>) -> Result<ExitCode> {
    let with_pooler = args.iter().any(|arg| arg == POOLER);
    args.retain(|arg| arg != POOLER);
    let root = home::checkout()?;
    let mut interrupts = Interrupts::listen()?;
    Scratch::sweep();
    install_missing(&args)?;
    let runner = Runner::find();

    // Compiled while the servers start; a narrower choice the runner compiles itself.
    let mut compiler = match args.as_slice() {
        [] => Some(Foreground::start(
            runner.command(&args).arg("--no-run").current_dir(&root),
        )?),
        _ => None,
    };
    let start = async { tokio::try_join!(Postgres::throw_away(), Redis::throw_away()) };
    let (postgres, redis) = tokio::select! {
        started = start => started?,
        signal = interrupts.next() => return Ok(interrupted(signal)),
    };
    if let Some(compiler) = &mut compiler {
        let built = compiler.wait(&mut interrupts).await?;
        if !built.is_success() {
            return Ok(built.code());
        }
    }

    postgres.ensure_database(TEMPLATE).await?;
    let database = service::Database::new(&postgres, TEMPLATE);
    service::migrate(&database)?;

    let pooler = if with_pooler {
        Some(start_pooler(&database).await?)
    } else {
        None
    };
    let mut tests = runner.command(&args);
    if let Some(pooler) = &pooler {
        tests.env("TEST_DATABASE_POOLER_PORT", pooler.port().to_string());
    }
    tests
        .current_dir(&root)
        .env("TEST_DATABASE_ADMIN_URL", postgres.url("postgres"))
        .env("TEST_DATABASE_TEMPLATE", TEMPLATE)
        .env("TEST_DATABASE_RUNTIME_URL", &database.runtime_url)
        .env("TEST_REDIS_URL", redis.url());
    match browser() {
        Some((driver, chromium)) => {
            tests
                .env("TEST_CHROMEDRIVER", driver)
                .env("TEST_CHROMIUM", chromium);
        }
        None => say(&format!(
            "no browser for the browser test: {}",
            Package::Browser.advice()
        )),
    }
    for (variable, name) in PROXIES {
        if let Some(path) = proxy(name) {
            tests.env(variable, path);
        }
    }
    let ended = Foreground::start(&mut tests)?.wait(&mut interrupts).await?;
    drop(pooler);
    redis.stop().await;
    postgres.stop().await;
    // A test that was killed could not clean up after itself.
    Scratch::sweep();
    Ok(ended.code())
}

async fn start_pooler(database: &service::Database) -> Result<PgBouncer> {
    let url = database.runtime_url.parse();
    let url = url.map_err(|_| Error::Other("the URL of the database is none".into()))?;
    PgBouncer::start_with(&url, Options::for_service(PoolMode::Transaction)).await
}

/// The proxies that the tests of faults run the service behind.
const PROXIES: [(&str, &str); 2] = [("TEST_NGINX", "nginx"), ("TEST_HAPROXY", "haproxy")];

/// Where a program is: Debian has proxies in a directory that is not on everybody's path.
fn proxy(name: &str) -> Option<PathBuf> {
    let of_root = PathBuf::from("/usr/sbin").join(name);
    files::on_path(name).or_else(|| files::is_program(&of_root).then_some(of_root))
}

/// Installs in one go what is not there; the tests can do without a browser, proxies and monitoring.
fn install_missing(args: &[OsString]) -> Result<()> {
    let mut missing = Vec::new();
    if !postgres::is_installed() {
        missing.push(Package::Postgres);
    }
    if files::on_path("redis-server").is_none() {
        missing.push(Package::Redis);
    }
    if !missing.is_empty() {
        packages::install(&missing)?;
    }
    if browser().is_none()
        && let Err(error) = packages::install(&[Package::Browser])
    {
        say(&error.to_string());
    }
    if files::on_path("promtool").is_none()
        && let Err(error) = packages::install(&[Package::Monitoring])
    {
        say(&error.to_string());
    }
    let needs_cluster = args.iter().any(|arg| arg == "cluster");
    if needs_cluster
        && ["patroni", "etcd", "haproxy"]
            .iter()
            .any(|name| proxy(name).is_none())
    {
        packages::install(&[Package::Cluster])?;
    }
    let needs_proxies = args.iter().any(|arg| arg == "faults");
    if needs_proxies
        && PROXIES.iter().any(|(_, name)| proxy(name).is_none())
        && let Err(error) = packages::install(&[Package::Proxies])
    {
        say(&error.to_string());
    }
    Ok(())
}

fn browser() -> Option<(PathBuf, PathBuf)> {
    let in_applications = || {
        ["Google Chrome", "Chromium"]
            .map(|name| PathBuf::from(format!("/Applications/{name}.app/Contents/MacOS/{name}")))
            .into_iter()
            .find(|path| files::is_program(path))
    };
    let chromium = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find_map(files::on_path);
    Some((
        files::on_path("chromedriver")?,
        chromium.or_else(in_applications)?,
    ))
}

/// The program that runs tests.
#[derive(Clone, Copy)]
enum Runner {
    Nextest,
    Cargo,
}

impl Runner {
    fn find() -> Self {
        let found = Command::new("cargo")
            .args(["nextest", "--version"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_ok_and(|status| status.success()) {
            Self::Nextest
        } else {
            Self::Cargo
        }
    }

    fn command(self, args: &[OsString]) -> Command {
        let mut command = process::command("cargo".as_ref(), None, OnOurDeath::Terminate);
        match self {
            Self::Nextest => command.args(["nextest", "run"]),
            Self::Cargo => command.arg("test"),
        };
        let names_package = |arg: &OsString| {
            let arg = arg.to_string_lossy();
            arg.starts_with("-p") || arg.starts_with("--package")
        };
        if !args.iter().any(names_package) {
            command.arg("--workspace");
        }
        // The databases are the run's own, and queries are checked against `.sqlx/`.
        for name in ["DATABASE_URL", "DATABASE_MIGRATION_URL", "REDIS_URL"] {
            command.env_remove(name);
        }
        command.args(args).env("SQLX_OFFLINE", "true");
        command
    }
}
