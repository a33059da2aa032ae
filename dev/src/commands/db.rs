//! `db`: a command beside a throw-away database.

use std::{ffi::OsString, path::Path, process::ExitCode};

use groundwork_dev::{
    Error, Postgres, Result,
    process::{self, OnOurDeath},
};
use sqlx::migrate::Migrator;

use super::{
    foreground::{Foreground, Interrupts, interrupted},
    home, service,
};

const DATABASE: &str = "app";

/// `db`: runs the command and ends with its code.
pub(crate) async fn db(
    empty: bool,
    from_folder: bool,
    mut command: Vec<OsString>,
) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let prepare = async {
        let postgres = Postgres::throw_away().await?;
        postgres.ensure_database(DATABASE).await?;
        let mut database = service::Database::new(&postgres, DATABASE);
        if from_folder {
            apply_folder(&postgres, DATABASE, &home::checkout()?.join("migrations")).await?;
        } else if !empty {
            service::migrate(&database)?;
        }
        if from_folder || empty {
            database.runtime_url.clone_from(&database.owner_url);
        }
        Ok::<_, Error>((postgres, database))
    };
    let (postgres, database) = tokio::select! {
        prepared = prepare => prepared?,
        signal = interrupts.next() => return Ok(interrupted(signal)),
    };

    let program = command.remove(0);
    let mut child = process::command(&program, None, OnOurDeath::Terminate);
    child.args(command).envs(database.env());
    let ended = Foreground::start(&mut child)?.wait(&mut interrupts).await?;
    postgres.stop().await;
    Ok(ended.code())
}

/// Applies a folder of migrations without the service, which may not compile yet.
pub(super) async fn apply_folder(postgres: &Postgres, database: &str, folder: &Path) -> Result<()> {
    let migrator = Migrator::new(folder).await?;
    let mut connection = postgres.connect(database).await?;
    migrator.run(&mut connection).await?;
    Ok(())
}
