//! The part of the Mailpit API that scripts and tests use.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Mailbox, Message, Store};

pub(super) fn router() -> Router<Arc<Store>> {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(|| async { "ok" }))
        .route(
            "/api/v1/messages",
            get(list_messages).delete(delete_messages),
        )
        .route("/api/v1/message/{id}", get(get_message))
        .route("/api/v1/message/{id}/headers", get(get_headers))
}

#[derive(Deserialize)]
struct Slice {
    #[serde(default)]
    start: usize,
    #[serde(default = "Slice::usual_limit")]
    limit: usize,
}

impl Slice {
    fn usual_limit() -> usize {
        50
    }
}

#[derive(Serialize)]
struct Summaries {
    total: usize,
    messages_count: usize,
    count: usize,
    start: usize,
    messages: Vec<Summary>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "MessageID")]
    message_id: String,
    from: Mailbox,
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
    reply_to: Vec<Mailbox>,
    subject: String,
    created: DateTime<Utc>,
    snippet: String,
    size: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Whole {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "MessageID")]
    message_id: String,
    return_path: String,
    from: Mailbox,
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
    reply_to: Vec<Mailbox>,
    subject: String,
    date: DateTime<Utc>,
    text: String,
    #[serde(rename = "HTML")]
    html: String,
    size: usize,
}

/// Recipients that only the envelope names.
fn blind_copies(message: &Message) -> Vec<Mailbox> {
    let is_named = |address: &str| {
        message
            .to
            .iter()
            .chain(&message.cc)
            .any(|named| named.address.eq_ignore_ascii_case(address))
    };
    let hidden = message
        .recipients
        .iter()
        .filter(|address| !is_named(address));
    hidden
        .map(|address| Mailbox {
            name: String::new(),
            address: address.clone(),
        })
        .collect()
}

async fn list_messages(
    State(store): State<Arc<Store>>,
    Query(slice): Query<Slice>,
) -> Json<Summaries> {
    let all = store.list();
    let messages: Vec<_> = all
        .iter()
        .skip(slice.start)
        .take(slice.limit)
        .map(|message| summary(message))
        .collect();
    Json(Summaries {
        total: all.len(),
        messages_count: all.len(),
        count: messages.len(),
        start: slice.start,
        messages,
    })
}

fn summary(message: &Message) -> Summary {
    Summary {
        id: message.id.clone(),
        message_id: message.message_id.clone(),
        from: message.from.clone(),
        to: message.to.clone(),
        cc: message.cc.clone(),
        bcc: blind_copies(message),
        reply_to: message.reply_to.clone(),
        subject: message.subject.clone(),
        created: message.received,
        snippet: message.snippet(),
        size: message.size,
    }
}

async fn delete_messages(State(store): State<Arc<Store>>) -> &'static str {
    store.clear();
    "ok"
}

async fn get_message(State(store): State<Arc<Store>>, Path(id): Path<String>) -> Response {
    let Some(message) = store.find(&id) else {
        return not_found();
    };
    Json(Whole {
        id: message.id.clone(),
        message_id: message.message_id.clone(),
        return_path: message.sender.clone(),
        from: message.from.clone(),
        to: message.to.clone(),
        cc: message.cc.clone(),
        bcc: blind_copies(&message),
        reply_to: message.reply_to.clone(),
        subject: message.subject.clone(),
        date: message.date,
        text: message.text.clone(),
        html: message.html.clone(),
        size: message.size,
    })
    .into_response()
}

async fn get_headers(State(store): State<Arc<Store>>, Path(id): Path<String>) -> Response {
    let Some(message) = store.find(&id) else {
        return not_found();
    };
    let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in &message.headers {
        headers.entry(name).or_default().push(value);
    }
    Json(headers).into_response()
}

pub(super) fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "no such message").into_response()
}
