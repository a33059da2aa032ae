//! Writes the archive of a person's data, within the memory of a few parts.

use axum::body::Body;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use object_store::{ObjectStore, StoreError};
use zip_parts::Archive;

use super::content;
use super::error::Error;
use super::model::{Subject, Written};
use super::parts::Sink;
use super::store;
use crate::ids::UserId;
use crate::privacy::inventory::TABLES;
use crate::privacy::model::{Export, Store};
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;
use crate::{files, users};

/// Bytes of JSON that are compressed at once.
const CHUNK: usize = 64 * 1024;

/// Files of one query.
const FILES: i64 = 100;

/// An archive and where its parts go.
struct Output {
    archive: Archive,
    sink: Sink,
    written: Written,
}

impl Output {
    fn begin(&mut self, name: &str, is_compressed: bool) -> Result<(), Error> {
        Ok(self.archive.begin(name, is_compressed)?)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.archive.write(bytes)?;
        while let Some(part) = self.archive.take_part() {
            self.sink.write(&mut self.written, part).await?;
        }
        Ok(())
    }

    async fn entry(&mut self, name: &str, text: &str) -> Result<(), Error> {
        self.begin(name, true)?;
        self.write(text.as_bytes()).await
    }

    async fn finish(mut self) -> Result<Written, Error> {
        for part in self.archive.finish()? {
            self.sink.write(&mut self.written, part).await?;
        }
        self.sink.finish().await?;
        Ok(self.written)
    }
}

/// The person whose account it is; `None` if it is gone.
pub(super) async fn find_subject(
    state: &AppState,
    user_id: UserId,
) -> Result<Option<Subject>, sqlx::Error> {
    let found = users::find_own_credentials(&state.db, user_id).await?;
    Ok(found.map(|found| Subject {
        user_id,
        email: found.email,
    }))
}

/// Writes all that the inventory includes: a README, for each table its rows and their schema, and the person's files.
pub(super) async fn write(
    state: &AppState,
    subject: &Subject,
    sink: Sink,
    now: DateTime<Utc>,
) -> Result<Written, Error> {
    let archive = Archive::new(sink.part_size(), now);
    let mut output = Output {
        archive,
        sink,
        written: Written::default(),
    };
    let readme = content::readme(&state.mail.product_name, subject, now);
    output.entry("README.txt", &readme).await?;
    let tables = TABLES.iter().copied().flatten();
    let tables: Vec<&'static Store> = tables
        .filter(|table| table.export == Export::Included)
        .collect();
    for table in tables {
        write_table(state, subject, table, &mut output).await?;
    }
    if let Some(storage) = &state.storage {
        write_avatar(state, storage, subject, &mut output).await?;
        write_files(state, storage, subject, &mut output).await?;
    }
    output.finish().await
}

async fn write_table(
    state: &AppState,
    subject: &Subject,
    table: &'static Store,
    output: &mut Output,
) -> Result<(), Error> {
    let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
    let types = store::list_types(&mut *tx, table.name).await?;
    let schema = content::schema(table, &types);
    output
        .entry(&format!("schemas/{}.json", table.name), &schema)
        .await?;
    output.begin(&format!("data/{}.json", table.name), true)?;
    let mut text = String::from("[");
    store::open_rows(&mut tx, table, subject).await?;
    let mut separator = "\n";
    loop {
        let rows = store::fetch_rows(&mut tx).await?;
        for row in &rows {
            text.push_str(separator);
            text.push_str(row);
            separator = ",\n";
            if text.len() >= CHUNK {
                output.write(text.as_bytes()).await?;
                text.clear();
            }
        }
        if rows.is_empty() {
            break;
        }
    }
    store::close_rows(&mut tx).await?;
    text.push_str("\n]\n");
    output.write(text.as_bytes()).await?;
    Ok(tx.commit().await?)
}

async fn write_avatar(
    state: &AppState,
    storage: &ObjectStore,
    subject: &Subject,
    output: &mut Output,
) -> Result<(), Error> {
    let Some(key) = users::find_avatar_key(&state.db, subject.user_id).await? else {
        return Ok(());
    };
    write_object(storage, &key, "files/avatar", output).await
}

async fn write_files(
    state: &AppState,
    storage: &ObjectStore,
    subject: &Subject,
    output: &mut Output,
) -> Result<(), Error> {
    let account_id = subject.user_id.personal_account();
    let mut after = None;
    loop {
        let mut tx = scope::begin(&state.db, Scope::Account(account_id)).await?;
        let found = files::list_complete(&mut *tx, account_id, after, FILES).await?;
        tx.commit().await?;
        for file in &found {
            let name = content::file_name(file.id, &file.name);
            write_object(storage, &file.object_key(), &name, output).await?;
        }
        after = found.last().map(|file| file.id);
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Writes an object as an entry; leaves it out if it was deleted meanwhile.
async fn write_object(
    storage: &ObjectStore,
    key: &str,
    name: &str,
    output: &mut Output,
) -> Result<(), Error> {
    let Some(found) = storage.read(key, None).await? else {
        return Ok(());
    };
    output.begin(name, false)?;
    let mut bytes = Body::new(found.body).into_data_stream();
    let cut = |_| StoreError::Unavailable("the body was cut");
    while let Some(chunk) = bytes.try_next().await.map_err(cut)? {
        output.write(&chunk).await?;
    }
    Ok(())
}
