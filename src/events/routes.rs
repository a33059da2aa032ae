//! `/events`: telling what happened.

use axum::http::StatusCode;
use utoipa_axum::router::UtoipaMethodRouterExt as _;
use utoipa_axum::routes;

use super::error::Error;
use super::model::{Batch, NewEvent, NewEvents, StoredEvent, StoredEvents};
use super::service::Told;
use crate::ctx::CallerCtx;
use crate::state::AppState;
use crate::web::{BodyProblems, ConflictProblem, Json, Problem, Routes, body_limit};

/// The largest body of a batch, in bytes: a hundred events as large as they may be.
const BATCH_LIMIT: usize = 1024 * 1024;

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(create_event))
        .routes(routes!(create_events).layer(body_limit(BATCH_LIMIT)))
}

/// Tell of an event.
///
/// With an `id` of the caller's own it can be sent again: the answer is the same, and it is stored
/// once. Another event under that id is refused.
#[utoipa::path(post, path = "", tag = "events",
    request_body(content = NewEvent, example = json!({ "type": "report.created", "data": { "report": 7, "pages": 12 } })),
    responses((status = 201, description = "It is stored.", body = StoredEvent), BodyProblems, ConflictProblem))]
async fn create_event(
    ctx: CallerCtx,
    Json(event): Json<NewEvent>,
) -> Result<(StatusCode, Json<StoredEvent>), Problem> {
    let mut told = Told::default();
    let stored = told.add(&ctx, event);
    let stored = stored.ok_or_else(|| Error::Ids {
        fields: vec!["id".to_owned()],
    })?;
    told.store(&ctx).await?;
    Ok((StatusCode::CREATED, Json(stored)))
}

/// Tell of up to 100 events: all of them are stored, or none.
///
/// Those with an `id` of the caller's own can be sent again, as single ones can.
#[utoipa::path(post, path = "/batch", tag = "events",
    request_body(content = NewEvents, example = json!({ "events": [{ "type": "report.created" }, { "type": "report.sent", "data": { "to": 3 } }] })),
    responses((status = 201, description = "They are stored.", body = StoredEvents), BodyProblems, ConflictProblem))]
async fn create_events(
    ctx: CallerCtx,
    Json(NewEvents {
        events: Batch(events),
    }): Json<NewEvents>,
) -> Result<(StatusCode, Json<StoredEvents>), Problem> {
    let mut told = Told::default();
    let mut stored = Vec::with_capacity(events.len());
    let mut fields = Vec::new();
    for (at, event) in events.into_iter().enumerate() {
        match told.add(&ctx, event) {
            Some(event) => stored.push(event),
            None => fields.push(format!("events[{at}].id")),
        }
    }
    if !fields.is_empty() {
        return Err(Error::Ids { fields }.into());
    }
    told.store(&ctx).await?;
    Ok((StatusCode::CREATED, Json(StoredEvents { events: stored })))
}
