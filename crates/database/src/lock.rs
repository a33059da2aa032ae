//! Advisory lock that belongs to a session.

use sqlx::{Connection as _, PgConnection};

use crate::migrations::try_lock;
use crate::pool::Db;

/// Lock that one process of all holds at a time. It is released when it is dropped, when the process ends or when the
/// connection breaks: what it guards must bear a second holder.
#[derive(Debug)]
pub struct SessionLock(PgConnection);

impl SessionLock {
    /// `None` if another process has it. The lock takes a connection out of the pool, that of `DATABASE_DIRECT_URL` if it is set;
    /// the pool opens another one when it needs one.
    pub async fn try_acquire(db: &Db, key: i64) -> Result<Option<Self>, sqlx::Error> {
        let mut connection = db.sessions().acquire().await?.detach();
        let is_locked = try_lock(&mut connection, key, std::time::Duration::ZERO).await?;
        Ok(is_locked.then_some(Self(connection)))
    }

    /// Releases the lock at once.
    pub async fn release(self) {
        // The server releases it with the session, whatever becomes of the goodbye.
        let _ = self.0.close().await;
    }
}
