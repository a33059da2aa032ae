//! Settings of the pool and of migrations.

use std::time::Duration;

use settings::host::{
    COMMON_PASSWORD, has_common_password, is_private_or, lacks_password, requires_tls,
    verifies_certificate,
};
use settings::{PostgresUrl, Reader};

const TLS: &str = "must have `?sslmode=verify-full` (or `verify-ca`) outside of a private network; \
                   `sslrootcert` names the file of a private authority";

const UNVERIFIED: &str = "must have `?sslmode=verify-full` (or `verify-ca`) outside of a private \
                          network: `require` checks no certificate, which \
                          `DB_ALLOW_UNVERIFIED_TLS=true` accepts";

settings::settings! {
    /// PostgreSQL: the two roles, the pool and the server-side time limits.
    pub struct DatabaseConfig {
        /// `DB_POOL_SIZE` and `DB_MAX_OVERFLOW` together.
        max_connections: u32,
    }
    "PostgreSQL", DatabaseSettings {
        /// PostgreSQL 15 or later, encoding UTF8, as the runtime role, which reads and writes rows and
        /// nothing else; a pooler may be between, of sessions, or of transactions with
        /// `DATABASE_DIRECT_URL`. Its query may have `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `host` (a
        /// socket's directory), `application_name`, `options` and `statement-cache-capacity`; any
        /// other parameter is refused.
        DATABASE_URL => url: PostgresUrl, required, secret,
            production(|url| is_private_or(url, &[]) || requires_tls(url), TLS),
            production(|url| !lacks_password(url), "must have a password"),
            production(|url| !has_common_password(url), COMMON_PASSWORD);
        /// The same database as the owner of its schema, for `migrate` and `serve --migrate`; a direct
        /// connection, not a pooler's. `migrate` creates the role of `DATABASE_URL` when it is missing.
        DATABASE_MIGRATION_URL => migration_url: Option<PostgresUrl>, secret,
            production(|url| is_private_or(url, &[]) || requires_tls(url), TLS),
            production(|url| !lacks_password(url), "must have a password"),
            production(|url| !has_common_password(url), COMMON_PASSWORD);
        /// The same database and role as `DATABASE_URL`, without a pooler that shares sessions: for
        /// notifications of jobs and locks that belong to a session. Needed where `DATABASE_URL` leads to a
        /// pooler by the transaction, such as PgBouncer with `pool_mode = transaction`. With it, time
        /// limits are defaults of the role, which `migrate` sets.
        DATABASE_DIRECT_URL => direct_url: Option<PostgresUrl>, secret,
            production(|url| is_private_or(url, &[]) || requires_tls(url), TLS),
            production(|url| !lacks_password(url), "must have a password"),
            production(|url| !has_common_password(url), COMMON_PASSWORD);
        /// A standby of the same cluster, with the database and role of `DATABASE_URL`, for reads that tolerate lag: usage
        /// reports, audit logs, lists and counts of administrators. Without it, and while the standby lags or
        /// fails, the primary replies. It opens as many connections as `DATABASE_URL` at most. Behind a pooler by the
        /// transaction it needs `DATABASE_DIRECT_URL` as well.
        DATABASE_READ_URL => read_url: Option<PostgresUrl>, secret,
            production(|url| is_private_or(url, &[]) || requires_tls(url), TLS),
            production(|url| !lacks_password(url), "must have a password"),
            production(|url| !has_common_password(url), COMMON_PASSWORD);
        /// Lag of the standby of `DATABASE_READ_URL` beyond which the primary replies.
        DATABASE_READ_MAX_LAG => read_max_lag: Duration = "5s", within("3s"..="1h");
        /// Connections that are opened when the process starts.
        DB_POOL_SIZE => first_connections: u32 = 10, within(1..=1000);
        /// Connections that may be opened besides.
        DB_MAX_OVERFLOW => max_overflow: u32 = 20, within(0..=1000);
        /// To get a connection from the pool. Short, so that an outage gives 503 while clients still
        /// listen, since a request may wait two or three times. A quarter of it once the pool has been
        /// exhausted for half as long.
        DB_POOL_TIMEOUT => acquire_timeout: Duration = "1s", at_most("60s");
        /// Age at which a connection is replaced.
        DB_POOL_RECYCLE => max_lifetime: Duration = "1800s", at_most("7d");
        /// To open a connection, also when the request that waits for it is gone.
        DB_CONNECT_TIMEOUT => connect_timeout: Duration = "10s", at_most("300s");
        /// For one statement.
        DB_STATEMENT_TIMEOUT => statement_timeout: Duration = "30s", at_most("1d");
        /// To wait for a lock.
        DB_LOCK_TIMEOUT => lock_timeout: Duration = "2s", at_most("1d");
        /// For a transaction that does nothing.
        DB_IDLE_TRANSACTION_TIMEOUT => idle_transaction_timeout: Duration = "15s", at_most("1d");
        /// To wait for the migrations of another replica.
        DB_MIGRATION_LOCK_TIMEOUT => migration_lock_timeout: Duration = "300s", at_most("1d");
        /// Accept `sslmode=require` for a database outside of a private network: encrypted, but no
        /// certificate is checked, so that any server at that address is accepted.
        DB_ALLOW_UNVERIFIED_TLS => allow_unverified_tls: bool = false;
        /// Log each SQL statement, without its values, at the level `debug`: needs
        /// `LOG_LEVEL=info,sqlx=debug` besides; otherwise only those slower than 1 s are shown.
        DB_ECHO => echo: bool = false;
    }
}

impl DatabaseSettings {
    /// `None` if a setting is faulty.
    #[must_use]
    pub fn into_config(self) -> Option<DatabaseConfig> {
        let most = self.first_connections? + self.max_overflow?;
        self.build(most)
    }

    /// Rejects `sslmode=require` outside of a private network, unless `DB_ALLOW_UNVERIFIED_TLS` is set.
    pub fn check(&self, reader: &mut Reader<'_>) {
        let urls = [
            (Self::DATABASE_URL.name, self.url.as_ref()),
            (
                Self::DATABASE_MIGRATION_URL.name,
                self.migration_url.iter().flatten().next(),
            ),
            (
                Self::DATABASE_DIRECT_URL.name,
                self.direct_url.iter().flatten().next(),
            ),
            (
                Self::DATABASE_READ_URL.name,
                self.read_url.iter().flatten().next(),
            ),
        ];
        for (name, url) in urls {
            let is_unverified = url.is_some_and(|url| {
                !is_private_or(url, &[]) && requires_tls(url) && !verifies_certificate(url)
            });
            if is_unverified && self.allow_unverified_tls != Some(true) {
                reader.production_fault(name, UNVERIFIED);
            }
        }
    }
}
