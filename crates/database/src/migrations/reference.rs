//! Empty database beside this one, which the migrations run in to learn what each creates.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::catalog::Catalog;
use super::{MigrationError, prepare_session, run_migrations};

/// Of statements in a database that nobody else uses.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Database in which the migrations run one by one. It is dropped by [`Reference::drop`]; one that was left is replaced.
pub(super) struct Reference {
    /// Quoted.
    name: String,
    connection: PgConnection,
    /// Migrations that have run.
    done: usize,
}

impl Reference {
    /// Creates the database by a connection that holds the migration lock. The owner needs the right `CREATEDB`.
    pub(super) async fn create(
        connection: &mut PgConnection,
        owner: &PgConnectOptions,
    ) -> Result<Self, MigrationError> {
        let connected = connect(connection, owner).await;
        let (name, mut connection) = connected.map_err(MigrationError::Comparison)?;
        prepare_session(&mut connection).await?;
        Ok(Self {
            name,
            connection,
            done: 0,
        })
    }

    /// Runs the migrations up to the one at `end`, without it, and returns the schema.
    pub(super) async fn advance(
        &mut self,
        migrations: &[Migration],
        end: usize,
    ) -> Result<Catalog, MigrateError> {
        if self.done < end {
            let next = &migrations[self.done..end];
            run_migrations(&mut self.connection, next, LOCK_TIMEOUT).await?;
            self.done = end;
        }
        Ok(Catalog::read(&mut self.connection).await?)
    }

    pub(super) async fn drop(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        drop(self.connection.close().await);
        drop_database(connection, &self.name).await
    }
}

/// Creates the database and connects to it; returns its name, quoted.
async fn connect(
    connection: &mut PgConnection,
    owner: &PgConnectOptions,
) -> Result<(String, PgConnection), sqlx::Error> {
    let (name, quoted): (String, String) = sqlx::query_as(
        "SELECT name, quote_ident(name) FROM (SELECT left(current_database(), 48) || '_schema_check' AS name) AS n",
    )
    .fetch_one(&mut *connection)
    .await?;
    drop_database(connection, &quoted).await?;
    let create = format!("CREATE DATABASE {quoted} ENCODING 'UTF8' TEMPLATE template0");
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut *connection)
        .await?;
    let reference = owner.clone().database(&name).connect().await?;
    Ok((quoted, reference))
}

async fn drop_database(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    let dropped = sqlx::raw_sql(AssertSqlSafe(drop)).execute(connection).await;
    dropped.map(|_| ())
}
