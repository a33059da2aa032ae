//! The account whose rows a transaction may see, for the policies of row-level security. `docs/organisations.md` lists
//! the exceptions and the tables that admit them.

use std::time::Duration;

use database::Db;
use job_queue::Holds;
use sqlx::{PgExecutor, Postgres, Transaction};

use crate::ids::AccountId;
use crate::metrics;

/// Accounts whose rows retention keeps: `privacy` owns the table. The column is that of a user, and of the personal account,
/// which has the same id.
pub const LEGAL_HOLDS: Holds = Holds {
    table: "legal_holds",
    column: "user_id",
};

/// What a transaction may see of tables with an account. Without one it sees no rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Account(AccountId),
    Exception(Exception),
}

/// A statement that reads or writes rows of more than one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// Finds the account of an API key.
    Authentication,
    /// Finds the accounts that a user is a member of.
    Membership,
    /// Finds and accepts an invitation, before the user is a member.
    Invitation,
    /// Writes the usage of all accounts in batches.
    Metering,
    /// Background jobs, retention included, and CLI commands.
    Job,
    /// Administrators.
    Admin,
}

impl Exception {
    pub const ALL: [Self; 6] = [
        Self::Authentication,
        Self::Membership,
        Self::Invitation,
        Self::Metering,
        Self::Job,
        Self::Admin,
    ];

    /// Starts the series of every exception at zero.
    pub fn init_metric() {
        for exception in Self::ALL {
            metrics::count_scope_exception(exception.as_str(), 0);
        }
    }

    /// Value of the setting `app.exception`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Membership => "membership",
            Self::Invitation => "invitation",
            Self::Metering => "metering",
            Self::Job => "job",
            Self::Admin => "admin",
        }
    }
}

impl Scope {
    /// Name and value of the setting.
    fn setting(self) -> (&'static str, String) {
        match self {
            Self::Account(id) => ("app.account", id.to_string()),
            Self::Exception(exception) => ("app.exception", exception.as_str().to_owned()),
        }
    }

    /// Expression that sets it for a transaction.
    #[must_use]
    pub fn set_config(self) -> String {
        let (name, value) = self.setting();
        format!("set_config('{name}', '{value}', true)")
    }

    /// `BEGIN` and the setting as one message, so that the scope costs no round trip.
    fn begin_statement(self) -> String {
        format!("BEGIN; SELECT {}", self.set_config())
    }

    fn count(self) {
        if let Self::Exception(exception) = self {
            metrics::count_scope_exception(exception.as_str(), 1);
        }
    }
}

/// Sets the scope for the rest of a transaction, which costs a round trip.
pub async fn set(conn: impl PgExecutor<'_>, scope: Scope) -> Result<(), sqlx::Error> {
    scope.count();
    let (name, value) = scope.setting();
    database::set_local(conn, name, &value).await
}

/// Statements that begin a transaction of a job, with a statement timeout of its own.
#[must_use]
pub fn begin_job(statement_timeout: Duration) -> String {
    let begin = Scope::Exception(Exception::Job).begin_statement();
    let timeout = statement_timeout.as_millis();
    format!("{begin}, set_config('statement_timeout', '{timeout}', true)")
}

/// Begins a transaction that refuses writes, with calls of `set_config` or without.
pub async fn begin_read_only(
    db: &Db,
    settings: &str,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let statement = if settings.is_empty() {
        "BEGIN READ ONLY".to_owned()
    } else {
        format!("BEGIN READ ONLY; SELECT {settings}")
    };
    database::begin_with(db, statement).await
}

/// Begins a transaction with this scope.
pub async fn begin(db: &Db, scope: Scope) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    scope.count();
    database::begin_with(db, scope.begin_statement()).await
}
