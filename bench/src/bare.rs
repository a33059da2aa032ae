//! The bare service: what a handler costs with nothing around it. No ids, logs, metrics, limits,
//! headers or errors that one could show to anybody.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use groundwork_dev::{Error, Result};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use sqlx::types::Uuid;

use crate::billing::{STRIPE_KEY, WEBHOOK_SECRET};
use crate::{bare_files, files};

/// As many connections as the service that it is compared with opens at first.
const POOL: u32 = 10;

/// As long as the page of prices.
const PAGE: [u8; 700] = [b' '; 700];

/// Seconds since 1970, when the tokens run out.
const NEVER: u64 = 4_000_000_000;

/// The key that tokens are signed with.
const KEY: &[u8] = b"the bare service's key, 32 bytes";

/// What a token says.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Claims {
    sub: Uuid,
    exp: u64,
}

#[derive(Clone)]
struct Bare {
    db: PgPool,
    keys: Arc<(EncodingKey, DecodingKey, Validation)>,
    /// Keeps its connections.
    client: reqwest::Client,
    stripe_url: Arc<str>,
}

/// Serves on `addr` until it is killed.
pub(crate) async fn serve(
    addr: SocketAddr,
    database_url: &str,
    stripe_url: &str,
    store_url: &str,
) -> Result<()> {
    let pool = PgPoolOptions::new()
        .max_connections(POOL)
        .min_connections(POOL);
    let bare = Bare {
        db: pool
            .test_before_acquire(false)
            .connect(database_url)
            .await?,
        keys: Arc::new((
            EncodingKey::from_secret(KEY),
            DecodingKey::from_secret(KEY),
            Validation::new(Algorithm::HS256),
        )),
        client: reqwest::Client::new(),
        stripe_url: stripe_url.into(),
    };
    let files = bare_files::routes(bare.db.clone(), files::store(store_url)?);
    let app = Router::new()
        .route(
            "/static",
            get(async || ([(CONTENT_TYPE, "application/json")], r#"{"status":"ok"}"#)),
        )
        .route(
            "/page",
            get(async || ([(CONTENT_TYPE, "application/json")], PAGE)),
        )
        .route("/me", get(me))
        .route("/rotate", post(rotate))
        .route("/webhook", post(webhook))
        .route("/payment", post(payment))
        .with_state(bare)
        .merge(files);
    let listener = tokio::net::TcpListener::bind(addr).await;
    let listener = listener.map_err(|error| Error::Other(error.to_string()))?;
    let served = axum::serve(listener, app).await;
    served.map_err(|error| Error::Other(error.to_string()))
}

async fn me(State(bare): State<Bare>, headers: HeaderMap) -> Result<impl IntoResponse, StatusCode> {
    let token = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    let token = token.ok_or(StatusCode::UNAUTHORIZED)?;
    let (_, key, validation) = &*bare.keys;
    let data = jsonwebtoken::decode::<Claims>(token, key, validation);
    let user = data.map_err(|_| StatusCode::UNAUTHORIZED)?.claims.sub;
    let row: (Uuid, String, Option<String>, Option<String>, String, String) = sqlx::query_as(
        "SELECT id, email, first_name, last_name, role, created_at::text FROM users
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(user)
    .fetch_one(&bare.db)
    .await
    .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({
        "id": row.0, "email": row.1, "first_name": row.2, "last_name": row.3, "role": row.4, "created_at": row.5,
    })))
}

/// A token that the bare service takes.
pub(crate) fn access_token(sub: Uuid) -> Result<String> {
    let claims = Claims { sub, exp: NEVER };
    let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(KEY));
    token.map_err(|error| Error::Other(error.to_string()))
}

/// A new refresh token, and its hash.
pub(crate) fn refresh_token() -> Result<(String, Vec<u8>)> {
    let mut token = [0_u8; 32];
    let filled = SystemRandom::new().fill(&mut token);
    filled.map_err(|_| Error::Other("there is no randomness".into()))?;
    let hash = digest(&SHA256, &token).as_ref().to_vec();
    Ok((BASE64_URL_SAFE_NO_PAD.encode(token), hash))
}

#[derive(Deserialize)]
struct Rotate {
    refresh_token: String,
}

async fn rotate(
    State(bare): State<Bare>,
    Json(asked): Json<Rotate>,
) -> Result<Json<Value>, StatusCode> {
    let old = BASE64_URL_SAFE_NO_PAD.decode(&asked.refresh_token);
    let old = digest(&SHA256, &old.map_err(|_| StatusCode::BAD_REQUEST)?);
    let (new, hash) = refresh_token().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    // One row of one table, updated in place: less than this no rotation can do.
    let used: Option<Uuid> = sqlx::query_scalar(
        "UPDATE bare_sessions SET token_hash = $2, expires_at = now() + interval '1 day'
         WHERE token_hash = $1 AND expires_at > now() RETURNING user_id",
    )
    .bind(old.as_ref())
    .bind(hash)
    .fetch_optional(&bare.db)
    .await
    .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let sub = used.ok_or(StatusCode::UNAUTHORIZED)?;
    let claims = Claims { sub, exp: NEVER };
    let token = jsonwebtoken::encode(&Header::default(), &claims, &bare.keys.0);
    Ok(Json(json!({
        "access_token": token.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?,
        "refresh_token": new,
    })))
}

#[derive(Deserialize)]
struct WebhookEvent {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: Value,
}

async fn webhook(State(bare): State<Bare>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = headers
        .get("stripe-signature")
        .and_then(|it| it.to_str().ok());
    let parts = header.and_then(|it| it.strip_prefix("t=")?.split_once(",v1="));
    let Some((time, signature)) = parts else {
        return StatusCode::BAD_REQUEST;
    };
    let signature: Option<Vec<u8>> = (0..signature.len() / 2)
        .map(|at| u8::from_str_radix(signature.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
    let signed = [time.as_bytes(), b".", &body].concat();
    let is_signed = hmac::verify(&key, &signed, &signature.unwrap_or_default()).is_ok();
    let event = serde_json::from_slice::<WebhookEvent>(&body).ok();
    let Some(event) = event.filter(|_| is_signed) else {
        return StatusCode::BAD_REQUEST;
    };
    let stored = sqlx::query(
        "INSERT INTO bare_events (id, type, customer, payload, received_at) VALUES ($1, $2, $3, $4, now())
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(event.id)
    .bind(event.kind)
    .bind(event.data["object"]["customer"].as_str())
    .bind(&body[..])
    .execute(&bare.db)
    .await;
    stored.map_or(StatusCode::SERVICE_UNAVAILABLE, |_| StatusCode::OK)
}

#[derive(Deserialize)]
struct Payment {
    amount: i64,
    currency: String,
    description: String,
}

/// A row, the call, and the row again.
async fn payment(
    State(bare): State<Bare>,
    Json(new): Json<Payment>,
) -> Result<Json<Value>, StatusCode> {
    let failed = StatusCode::SERVICE_UNAVAILABLE;
    let id: Uuid = sqlx::query_scalar(
        "INSERT INTO bare_payments (id, amount) VALUES (gen_random_uuid(), $1) RETURNING id",
    )
    .bind(new.amount)
    .fetch_one(&bare.db)
    .await
    .map_err(|_| failed)?;
    let form = format!(
        "amount={}&currency={}&description={}&automatic_payment_methods[enabled]=true",
        new.amount,
        new.currency.to_lowercase(),
        new.description
    );
    let reply = bare
        .client
        .post(format!("{}/v1/payment_intents", bare.stripe_url))
        .bearer_auth(STRIPE_KEY)
        .header("idempotency-key", id.to_string())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .map_err(|_| failed)?;
    let reply = reply.bytes().await.map_err(|_| failed)?;
    let intent: Value = serde_json::from_slice(&reply).map_err(|_| failed)?;
    let intent_id = intent["id"].as_str().ok_or(failed)?;
    sqlx::query("UPDATE bare_payments SET intent = $2 WHERE id = $1")
        .bind(id)
        .bind(intent_id)
        .execute(&bare.db)
        .await
        .map_err(|_| failed)?;
    Ok(Json(
        json!({ "id": id, "client_secret": intent["client_secret"] }),
    ))
}
