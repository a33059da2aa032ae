//! Settings of a session: sent on each connection, or, behind a pooler that shares sessions, defaults of the role.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgExecutor};
use tokio::time::timeout;

use crate::{DatabaseConfig, DatabaseSettings, Options, connect_options, millis};

/// Query: is the server a standby?
pub(crate) const IS_STANDBY: &str = "SELECT pg_is_in_recovery()";

/// A setting of `PostgreSQL` and its value; times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionSetting {
    name: &'static str,
    /// The setting of the service that it comes from.
    variable: Option<&'static str>,
    value: String,
}

impl SessionSetting {
    /// Describes that another value is in effect.
    pub(crate) fn difference(&self, in_effect: &str) -> String {
        let Self { name, value, .. } = self;
        let source = self
            .variable
            .map_or(String::new(), |name| format!(" of {name}"));
        format!("{name} is {in_effect}, not {value}{source}")
    }
}

#[derive(Clone, Debug)]
pub(crate) struct SessionSettings(Arc<[SessionSetting]>);

impl SessionSettings {
    pub(crate) fn of(config: &DatabaseConfig) -> Self {
        let limit = |name, variable, time: Duration| SessionSetting {
            name,
            variable: Some(variable),
            value: millis(time),
        };
        Self(Arc::new([
            // By default a schema with the role's name (`"$user"`) would hide the tables.
            SessionSetting {
                name: "search_path",
                variable: None,
                value: "public".to_owned(),
            },
            limit(
                "statement_timeout",
                DatabaseSettings::DB_STATEMENT_TIMEOUT.name,
                config.statement_timeout,
            ),
            limit(
                "lock_timeout",
                DatabaseSettings::DB_LOCK_TIMEOUT.name,
                config.lock_timeout,
            ),
            limit(
                "idle_in_transaction_session_timeout",
                DatabaseSettings::DB_IDLE_TRANSACTION_TIMEOUT.name,
                config.idle_transaction_timeout,
            ),
        ]))
    }

    /// Statements that set them for a session, the last of which is [`IS_STANDBY`], for one round trip. Start-up parameters would
    /// be shorter: poolers such as `PgBouncer` reject or ignore them.
    pub(crate) fn statements(&self) -> String {
        let mut sql = String::new();
        for SessionSetting { name, value, .. } in self.0.iter() {
            let _ = write!(sql, "SET {name} = {value}; ");
        }
        sql.push_str(
            "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; ",
        );
        sql.push_str(IS_STANDBY);
        sql
    }

    /// Returns the settings whose value in effect is another one, each with that value.
    pub(crate) async fn differing(
        &self,
        conn: impl PgExecutor<'_>,
    ) -> Result<Vec<(&SessionSetting, String)>, sqlx::Error> {
        let names: Vec<_> = self.0.iter().map(|it| it.name).collect();
        let in_effect: Vec<(String, String)> =
            sqlx::query_as("SELECT name, setting FROM pg_settings WHERE name = ANY($1)")
                .bind(&names)
                .fetch_all(conn)
                .await?;
        let differing = in_effect.into_iter().filter_map(|(name, value)| {
            let expected = self.0.iter().find(|it| it.name == name)?;
            (expected.value != value).then_some((expected, value))
        });
        Ok(differing.collect())
    }
}

/// Makes the session settings defaults of the runtime role in this database, where `DATABASE_DIRECT_URL` is set: a pooler that
/// shares sessions loses what a client sets. The role does so itself, which needs no right. Where it is the owner as well,
/// nothing is done, since they would limit migrations too.
pub async fn set_role_defaults(
    config: &DatabaseConfig,
    options: &Options,
) -> Result<(), sqlx::Error> {
    let Some(url) = &config.direct_url else {
        return Ok(());
    };
    let of_url = |url| connect_options(url, options.application_name, options.statement_log);
    let direct = of_url(url)?;
    let owner = config.migration_url.as_ref().map(of_url).transpose()?;
    if owner.is_some_and(|owner| owner.get_username() == direct.get_username()) {
        return Ok(());
    }
    let mut connection = timeout(config.connect_timeout, direct.connect())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    let set = set_defaults(&mut connection, &SessionSettings::of(config)).await;
    drop(connection.close().await);
    set
}

async fn set_defaults(
    connection: &mut PgConnection,
    settings: &SessionSettings,
) -> Result<(), sqlx::Error> {
    for (setting, _) in settings.differing(&mut *connection).await? {
        let statement: String = sqlx::query_scalar(
            "SELECT format('ALTER ROLE %I IN DATABASE %I SET %I = %L',
                           current_user, current_database(), $1::text, $2::text)",
        )
        .bind(setting.name)
        .bind(&setting.value)
        .fetch_one(&mut *connection)
        .await?;
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *connection)
            .await?;
        tracing::info!(
            setting = setting.name,
            value = setting.value,
            "set a default of the runtime role: sessions that a pooler has open get it when they are replaced"
        );
    }
    Ok(())
}
