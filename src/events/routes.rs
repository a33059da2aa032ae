//! `/events`.

use axum::http::StatusCode;
use http_toolkit::{BodyProblems, ConflictProblem, Json, Problem, Routes, body_limit};
use utoipa_axum::router::UtoipaMethodRouterExt as _;
use utoipa_axum::routes;

use super::error::Error;
use super::model::{Batch, NewEvent, NewEvents, StoredEvent, StoredEvents};
use super::service::EventBatch;
use crate::ctx::CallerCtx;
use crate::state::AppState;

/// Body limit of a batch in bytes: 100 events of maximum size.
const BATCH_LIMIT: usize = 1024 * 1024;

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(create_event))
        .routes(routes!(create_events).layer(body_limit(BATCH_LIMIT)))
}

/// Store an event.
///
/// A request with an `id` can be sent again: the response is the same, and the event is stored once. Another
/// event with the same id is rejected.
#[utoipa::path(post, path = "", tag = "events",
    request_body(content = NewEvent, example = json!({ "type": "report.created", "data": { "report": 7, "pages": 12 } })),
    responses((status = 201, description = "The stored event.", body = StoredEvent), BodyProblems, ConflictProblem))]
async fn create_event(
    ctx: CallerCtx,
    Json(event): Json<NewEvent>,
) -> Result<(StatusCode, Json<StoredEvent>), Problem> {
    let mut batch = EventBatch::default();
    let stored = batch.add(&ctx, event);
    let stored = stored.ok_or_else(|| Error::Ids {
        fields: vec!["id".to_owned()],
    })?;
    batch.store(&ctx).await?;
    Ok((StatusCode::CREATED, Json(stored)))
}

/// Store up to 100 events: all of them, or none.
///
/// Events with an `id` can be sent again, as single ones can.
#[utoipa::path(post, path = "/batch", tag = "events",
    request_body(content = NewEvents, example = json!({ "events": [{ "type": "report.created" }, { "type": "report.sent", "data": { "to": 3 } }] })),
    responses((status = 201, description = "The stored events.", body = StoredEvents), BodyProblems, ConflictProblem))]
async fn create_events(
    ctx: CallerCtx,
    Json(NewEvents {
        events: Batch(events),
    }): Json<NewEvents>,
) -> Result<(StatusCode, Json<StoredEvents>), Problem> {
    let mut batch = EventBatch::default();
    let mut stored = Vec::with_capacity(events.len());
    let mut fields = Vec::new();
    for (at, event) in events.into_iter().enumerate() {
        match batch.add(&ctx, event) {
            Some(event) => stored.push(event),
            None => fields.push(format!("events[{at}].id")),
        }
    }
    if !fields.is_empty() {
        return Err(Error::Ids { fields }.into());
    }
    batch.store(&ctx).await?;
    Ok((StatusCode::CREATED, Json(StoredEvents { events: stored })))
}
