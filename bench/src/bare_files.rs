//! Files of the bare service: the statements and calls of an upload, with nothing checked and nobody signed in.

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Json, Router};
use object_store::{ObjectStore, Upload};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::types::Uuid;

const FAILED: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

const START: usize = 4096;

#[derive(Clone)]
struct Files {
    db: PgPool,
    store: ObjectStore,
}

pub(crate) fn routes(db: PgPool, store: ObjectStore) -> Router {
    Router::new()
        .route("/files", axum::routing::post(start))
        .route("/files/{id}/complete", axum::routing::post(complete))
        .with_state(Files { db, store })
}

#[derive(Deserialize)]
struct NewFile {
    account: i32,
    name: String,
    size: i64,
    content_type: String,
}

fn failed<E>(_: E) -> StatusCode {
    FAILED
}

fn new_id() -> Result<Uuid, StatusCode> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    Ok(Uuid::from_bytes(bytes))
}

/// The account is locked, its files are counted, and one is inserted.
#[expect(
    clippy::disallowed_methods,
    reason = "the load does not interrupt requests"
)]
async fn start(
    State(bare): State<Files>,
    Json(new): Json<NewFile>,
) -> Result<Json<Value>, StatusCode> {
    let id = new_id()?;
    let upload = Upload {
        size: new.size.unsigned_abs(),
        content_type: &new.content_type,
        sha256: &[7; 32],
    };
    let key = format!("staging/{}/{id}", new.account);
    let expires_in = Duration::from_hours(1);
    let signed = bare.store.presign_put(&key, upload, expires_in).await;
    let signed = signed.map_err(failed)?;
    let mut tx = bare.db.begin().await.map_err(failed)?;
    sqlx::query("SELECT id FROM bare_accounts WHERE id = $1 FOR UPDATE")
        .bind(new.account)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    let _: (i64, i64) = sqlx::query_as(
        "SELECT count(*), coalesce(sum(size), 0)::bigint FROM bare_files WHERE account = $1",
    )
    .bind(new.account)
    .fetch_one(&mut *tx)
    .await
    .map_err(failed)?;
    sqlx::query(
        "INSERT INTO bare_files (id, account, name, size, content_type, state, created_at)
         VALUES ($1, $2, $3, $4, $5, 'pending', now())",
    )
    .bind(id)
    .bind(new.account)
    .bind(new.name)
    .bind(new.size)
    .bind(new.content_type)
    .execute(&mut *tx)
    .await
    .map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    Ok(Json(json!({ "id": id, "upload": { "url": signed.url } })))
}

/// The object is found, copied, found and read; the row is updated, and an entry is written of it.
#[expect(
    clippy::disallowed_methods,
    reason = "the load does not interrupt requests"
)]
async fn complete(
    State(bare): State<Files>,
    Path(id): Path<Uuid>,
) -> Result<Json<Value>, StatusCode> {
    let row = sqlx::query_as("SELECT account, content_type FROM bare_files WHERE id = $1");
    let row = row.bind(id).fetch_one(&bare.db).await;
    let (account, content_type): (i32, String) = row.map_err(failed)?;
    let (staging, object) = (format!("staging/{account}/{id}"), new_id()?);
    let key = format!("files/{account}/{id}/{object}");
    let store = &bare.store;
    store.find(&staging).await.map_err(failed)?;
    let copied = store.copy(&staging, &key, &content_type).await;
    copied.map_err(failed)?;
    store.find(&key).await.map_err(failed)?;
    store.hash(&key, START).await.map_err(failed)?;
    let mut tx = bare.db.begin().await.map_err(failed)?;
    sqlx::query("UPDATE bare_files SET state = 'complete', object_id = $2 WHERE id = $1")
        .bind(id)
        .bind(object)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    sqlx::query("INSERT INTO bare_entries (file_id, created_at) VALUES ($1, now())")
        .bind(id)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    store.delete(&staging).await.map_err(failed)?;
    Ok(Json(json!({ "id": id })))
}
