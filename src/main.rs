//! Entry point: reads the configuration, starts the log, and runs the subcommand.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use clap::Parser as _;
use clock::{Clock, Rng};
use crypto::{Key32, KeyRing, KeyUsage, Step, read_password};
use email_transport::EmailAddress;
use groundwork::cli::{
    Billing, Cli, Command, Emails, Keys, LockoutSubject, Lockouts, Privacy, Ring, Rotation,
    Storage, Users,
};
use groundwork::config::{Config, read_bind_addr};
use groundwork::ctx::Ctx;
use groundwork::ids::AccountId;
use groundwork::state::{AppState, StateError};
use groundwork::tasks::{self, Process};
use groundwork::{
    api_keys, app, auth, billing, config, doctor, email_preferences, migrate, privacy, releases,
    sealed, storage, usage_summary,
};
use settings::Faults;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

// The C library's allocator takes a tenth of the CPU time of a request, this one less. It replaces
// `malloc` itself: as Rust's global allocator it would be passed an alignment each time, which
// keeps many sizes off its fast path. Huge pages are off: they would double the idle memory.
use mimalloc as _;

/// For writing the last uses of API keys, and for closing the pool.
const LAST_WRITES_TIMEOUT: Duration = Duration::from_secs(2);

/// Interval of the progress of `keys reseal`.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::print_error(&*error);
            let rejected = error
                .downcast_ref()
                .map(|it: &auth::CommandError| it.exit_code());
            let checked = error.downcast_ref().map(migrate::MigrationError::exit_code);
            rejected
                .or(checked)
                .map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

fn run(command: Command) -> Outcome {
    let variables = config::environment();
    match command {
        Command::Serve { migrate, no_worker } => with_config(&variables, async |config| {
            Box::pin(serve(config, migrate, !no_worker)).await
        }),
        Command::Worker => with_config(&variables, work),
        Command::Migrate { check } => {
            let database = config::read_database(&variables)?;
            let _log = telemetry::start(&config::read_telemetry(&variables)?);
            Ok(runtime()?.block_on(migrate::run(&database, check, print))?)
        }
        Command::Doctor => with_config(&variables, examine),
        Command::Users(command) => with_config(&variables, async |config| {
            users(started_state(&config).await?, command).await
        }),
        Command::Billing(command) => with_config(&variables, async |config| {
            billing(started_state(&config).await?, command).await
        }),
        Command::Emails(command) => with_config(&variables, async |config| {
            let ctx = Ctx::system(&started_state(&config).await?);
            match command {
                Emails::Suppressions(command) => email_preferences::run(&ctx, command, print).await,
                Emails::Summary { email } => usage_summary::run(&ctx, email, print).await,
            }
        }),
        Command::Storage(Storage::CreateBucket) => with_config(&variables, async |config| {
            storage::create_buckets(&config, print).await
        }),
        Command::Storage(command) => with_state(&variables, async |state| {
            storage::run(&state, command, print).await
        }),
        Command::Privacy(Privacy::Record) => {
            print(privacy::record_of_processing().trim_end());
            Ok(())
        }
        Command::Privacy(command) => with_config(&variables, async |config| {
            let ctx = Ctx::system(&started_state(&config).await?);
            print_lines(&privacy::run(&ctx, command).await?);
            Ok(())
        }),
        Command::Release(command) => {
            let input = io::stdin().lock();
            let done = runtime()?.block_on(releases::run(command, &variables, input))?;
            print(&done);
            Ok(())
        }
        Command::Healthcheck => {
            let is_ready = http_toolkit::probe_readiness(read_bind_addr(&variables)?)?;
            is_ready
                .then_some(())
                .ok_or_else(|| "the service is not ready".into())
        }
        Command::Config(page) => {
            if page.markdown || page.env {
                let text = if page.env {
                    config::env_example()
                } else {
                    config::markdown()
                };
                print(text.trim_end());
                return Ok(());
            }
            print(&Config::effective(&variables));
            Ok(Config::read(&variables).map(drop)?)
        }
        Command::Openapi => {
            print(&app::openapi().to_pretty_json()?);
            Ok(())
        }
        Command::Keys(command) => keys(command, &variables),
    }
}

/// Builds the state and sets its clock, if the database responds.
async fn started_state(config: &Config) -> Result<AppState, StateError> {
    let state = AppState::new(config, Clock::database(), Rng::system())?;
    state.heartbeat.synchronize().await;
    Ok(state)
}

fn with_config(
    variables: &HashMap<String, String>,
    work: impl AsyncFnOnce(Config) -> Outcome,
) -> Outcome {
    let config = Config::read(variables)?;
    let _log = telemetry::start(&config.telemetry);
    for suspect in &config.suspects {
        tracing::warn!(variable = suspect.variable, "{}", suspect.message);
    }
    if let Some(warning) = config.limits.exempt.warning() {
        tracing::warn!(variable = "SIGN_IN_LIMIT_EXEMPT", "{warning}");
    }
    runtime()?.block_on(work(config))
}

/// Runs a command on the database without a log, since its standard output is read by programs.
fn with_state<T>(
    variables: &HashMap<String, String>,
    work: impl AsyncFnOnce(AppState) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let config = Config::read(variables)?;
    runtime()?.block_on(async { work(started_state(&config).await?).await })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

async fn serve(config: Config, migrates: bool, runs_jobs: bool) -> Outcome {
    if migrates {
        migrate::migrate(&config.database).await?;
    }
    let stop_asked = http_toolkit::stop_signal();
    let state = started_state(&config).await?;
    database::reject_unfit_servers(&state.db, state.replica.as_ref()).await?;
    let draining = http_toolkit::Draining::default();
    let listener = TcpListener::bind(config.http.bind_addr).await?;
    let app = app::router(&state, &config, draining.clone());
    let tasks = tasks::start(Process::Serve, runs_jobs, &state, &config).await?;
    tracing::info!(addr = %listener.local_addr()?, version = %state.version, "serving");

    let stop_accepting = CancellationToken::new();
    let server = http_toolkit::serve(listener, app, &config.http, stop_accepting.clone());
    let drain = async {
        stop_asked.await;
        tracing::info!("draining");
        // Readiness fails first, so that load balancers remove the replica while it still serves.
        draining.begin();
        tokio::time::sleep(config.http.drain_delay).await;
        stop_accepting.cancel();
        tasks.stop();
    };
    let (drained, ()) = tokio::join!(server, drain);
    tasks.finish().await;
    // An unresponsive database must not delay the exit.
    let _ = tokio::time::timeout(LAST_WRITES_TIMEOUT, api_keys::write_uses(&state)).await;
    let _ = tokio::time::timeout(LAST_WRITES_TIMEOUT, state.close_pools()).await;
    tracing::info!(aborted = drained.aborted, "stopped");
    Ok(())
}

async fn work(config: Config) -> Outcome {
    let state = started_state(&config).await?;
    database::reject_unfit_servers(&state.db, state.replica.as_ref()).await?;
    let stop_asked = http_toolkit::stop_signal();
    let tasks = tasks::start(Process::Worker, true, &state, &config).await?;
    stop_asked.await;
    tasks.finish().await;
    Ok(())
}

async fn examine(config: Config) -> Outcome {
    let state = started_state(&config).await?;
    let findings = doctor::examine(&state, &config).await;
    print(findings.to_string().trim_end());
    if findings.is_healthy() {
        return Ok(());
    }
    Err("the service is not fit to run".into())
}

fn keys(command: Keys, variables: &HashMap<String, String>) -> Outcome {
    match command {
        Keys::Generate => {
            let rng = Rng::system();
            for variable in ["JWT_SIGNING_KEYS", "TOKEN_SECRET", "ENCRYPTION_KEYS"] {
                print(&format!("{variable}={}", Key32::new(rng.bytes()).encode()));
            }
        }
        Keys::Status { ring } => {
            print(&read_ring(ring, variables)?.status()?);
            if ring == Ring::Encryption {
                let columns = with_state(variables, async |state| {
                    Ok(sealed::count_rows(&state).await?)
                })?;
                for column in columns {
                    print(&column.to_string());
                }
            }
        }
        Keys::Reseal => with_state(variables, async |state| {
            let mut printed = Instant::now();
            let mut report = |progress: &sealed::Progress| {
                if progress.remaining.is_some() || printed.elapsed() >= PROGRESS_EVERY {
                    print(&progress.to_string());
                    printed = Instant::now();
                }
            };
            Ok(sealed::reseal(&state, &mut report).await?)
        })?,
        Keys::Rotate(Rotation { ring, step, out }) => {
            let mut ring = read_ring(ring, variables)?;
            if step == Step::Drop && ring.usage == KeyUsage::Encryption {
                let in_use = with_state(variables, async |state| {
                    Ok(sealed::keys_in_use(&state).await?)
                })?;
                ring.in_use = Some(in_use);
            }
            let rotated = ring.rotate(step, &Rng::system())?;
            match &out {
                Some(path) => rotated.write(path)?,
                None => print(&format!("{}={}", ring.variable, rotated.value())),
            }
            print_beside(&rotated.advice);
        }
    }
    Ok(())
}

fn read_ring(ring: Ring, variables: &HashMap<String, String>) -> Result<KeyRing, Faults> {
    match ring {
        Ring::Signing => config::read_signing_ring(variables),
        Ring::Encryption => config::read_encryption_ring(variables),
        Ring::Token => config::read_token_ring(variables),
    }
}

async fn billing(state: AppState, command: Billing) -> Outcome {
    let ctx = Ctx::system(&state);
    match command {
        Billing::Reconcile { apply, account } => {
            let account = account.map(AccountId);
            let done = billing::reconcile(&ctx, account, apply, |line| print(&line)).await?;
            print(&format!(
                "{} accounts, {} different, {} not compared",
                done.accounts, done.different, done.failed
            ));
            (apply || done.different == 0)
                .then_some(())
                .filter(|()| done.failed == 0)
                .ok_or_else(|| "not every account is as at Stripe".into())
        }
        Billing::Replay { since } => {
            let count = billing::replay(&ctx, since).await?;
            print(&format!("events of {count} customers are processed again"));
            Ok(())
        }
    }
}

async fn users(state: AppState, command: Users) -> Outcome {
    let ctx = Ctx::system(&state);
    match command {
        Users::CreateAdmin(new) => {
            let email: EmailAddress = new.email.try_into()?;
            if new.promote && auth::promote_account(&ctx, &email).await? {
                return Ok(());
            }
            let account = auth::CreateAccount {
                is_verified: true,
                is_admin: true,
                ..read_account(email, new.first_name, new.last_name)?
            };
            let is_created = auth::create_account(&ctx, account).await?;
            is_created
                .then_some(())
                .ok_or_else(|| auth::CommandError::AccountExists.into())
        }
        Users::Create(new) => {
            let email = new.email.try_into()?;
            let account = auth::CreateAccount {
                is_verified: new.verified,
                is_admin: new.admin,
                ..read_account(email, new.first_name, new.last_name)?
            };
            let is_created = auth::create_account(&ctx, account).await?;
            (is_created || new.if_missing)
                .then_some(())
                .ok_or_else(|| "the address has an account already".into())
        }
        Users::CreateSynthetic => {
            let password = read_password(io::stdin().lock())?.try_into()?;
            auth::create_synthetic_account(&ctx, password).await
        }
        Users::RemoveSecondFactor { email } => {
            auth::remove_second_factor(&ctx, &email.try_into()?).await
        }
        Users::SignOutEverybody => auth::sign_out_everybody(&ctx)
            .await
            .map(|ended| print(&ended)),
        Users::PersonalData(command) => {
            print_lines(&privacy::answer(&ctx, command).await?);
            Ok(())
        }
        Users::Lockouts(Lockouts::List) => {
            for lockout in auth::list_lockouts(&state).await? {
                let until = lockout.until.to_rfc3339_opts(SecondsFormat::Secs, true);
                print(&format!("{until} {}", lockout.who));
            }
            if !state.limiter.is_shared() {
                print_beside(
                    "Redis is not in use: the list is that of the audit log, and some lockouts may have ended early",
                );
            }
            Ok(())
        }
        Users::Lockouts(Lockouts::Clear(LockoutSubject { email, client })) => {
            if let Some(client) = client {
                return auth::clear_client_lockout(&state, client).await;
            }
            let email = email.unwrap_or_default().try_into()?;
            auth::clear_account_lockout(&state, &email).await
        }
    }
}

/// A new account whose password is read from standard input.
fn read_account(
    email: EmailAddress,
    first_name: Option<String>,
    last_name: Option<String>,
) -> Result<auth::CreateAccount, Box<dyn Error>> {
    Ok(auth::CreateAccount {
        email,
        password: read_password(io::stdin().lock())?.try_into()?,
        first_name: first_name.map(TryInto::try_into).transpose()?,
        last_name: last_name.map(TryInto::try_into).transpose()?,
        is_verified: false,
        is_admin: false,
    })
}

fn print_lines(lines: &[String]) {
    for line in lines {
        print(line);
    }
}

/// Prints advice for a person, apart from the standard output that a program reads.
#[expect(clippy::print_stderr, reason = "the output of a command")]
fn print_beside(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
fn print(text: &str) {
    println!("{text}");
}
