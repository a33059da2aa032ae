//! `/users/me`: one's own account.

use axum::extract::State;
use utoipa_axum::routes;

use super::model::{ProfileChanges, User};
use super::{Error, store};
use crate::audit::{self, Entry, Event, Origin};
use crate::infra::{Clock, Db, Rng, begin};
use crate::state::AppState;
use crate::web::{BodyProblems, Caller, Client, Json, Problem, RequestId, Routes};

pub fn routes() -> Routes<AppState> {
    Routes::new().routes(routes!(update_me))
}

/// Who the caller is, apart from the others since a client asks for it first of all.
pub fn identity_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(get_me))
}

/// My account.
#[utoipa::path(get, path = "/me", tag = "users",
    responses((status = 200, description = "The account.", body = User)))]
async fn get_me(me: Caller, State(db): State<Db>) -> Result<Json<User>, Problem> {
    Ok(Json(store::get(&db, me.user_id).await?))
}

/// Change my profile. A field left out stays as it is, and `null` empties it.
#[utoipa::path(patch, path = "/me", tag = "users",
    request_body(content = ProfileChanges, example = json!({ "first_name": "Ada", "last_name": null })),
    responses((status = 200, description = "The account as it now stands.", body = User), BodyProblems))]
async fn update_me(
    me: Caller,
    State(db): State<Db>,
    State(clock): State<Clock>,
    State(rng): State<Rng>,
    client: Client,
    request_id: RequestId,
    Json(changes): Json<ProfileChanges>,
) -> Result<Json<User>, Problem> {
    let now = clock.now();
    let mut tx = begin(&db).await?;
    let user = store::update(&mut *tx, me.user_id, &changes, now).await?;
    let origin = Origin::new(&client, &request_id);
    let mut entry = Entry::own(
        Event::ProfileChanged,
        me.user_id,
        me.credential.session_id(),
        &origin,
    );
    entry.detail = serde_json::json!({
        "fields": changes.fields(),
        "api_key": me.credential.api_key_id(),
    });
    audit::record(&mut *tx, entry, now, &rng).await?;
    tx.commit().await.map_err(Error::from)?;
    Ok(Json(user))
}
