//! Test clocks: views of the account's clock.

use serde_json::{Value, json};

use super::{
    error::{Result, StripeError},
    form::Params,
    list::{self, PAGING},
    renewals,
    state::State,
};

const LIVES: i64 = 30 * 86_400;

impl State {
    /// Moves the clock forward; everything that becomes due happens at its own time.
    pub(super) fn advance_to(&mut self, unix: i64) {
        renewals::run_due(self, unix);
        self.move_to(unix);
    }
}

pub(super) fn create(state: &mut State, params: &Params) -> Result {
    params.allow("frozen_time name")?;
    let frozen = params.required_int("frozen_time")?;
    state.advance_to(frozen);
    let id = state.id("clock");
    let now = state.now();
    state.insert(json!({
        "id": id, "object": "test_helpers.test_clock", "created": now, "deletes_after": now + LIVES,
        "frozen_time": now, "livemode": state.livemode, "name": params.filled("name"), "status": "ready",
        "status_details": {},
    }));
    state.emit("test_helpers.test_clock.created", &id);
    Ok(state.read(&id))
}

pub(super) fn get(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("")?;
    state.find("test_helpers.test_clock", id, "id").cloned()
}

pub(super) fn list(state: &mut State, params: &Params) -> Result {
    params.allow(PAGING)?;
    list::page(
        state,
        params,
        "test_helpers.test_clock",
        "/v1/test_helpers/test_clocks",
        |_| true,
    )
}

pub(super) fn advance(state: &mut State, params: &Params, id: &str) -> Result {
    params.allow("frozen_time")?;
    state.find("test_helpers.test_clock", id, "id")?;
    let to = params.required_int("frozen_time")?;
    if to < state.now() {
        return Err(StripeError::invalid("The clock only moves forward.").param("frozen_time"));
    }
    state.advance_to(to);
    state.update(id, "test_helpers.test_clock.ready", |clock| {
        clock["frozen_time"] = json!(to);
    });
    Ok(state.read(id))
}

pub(super) fn delete(state: &mut State, params: &Params, id: &str) -> Result<Value> {
    params.allow("")?;
    state.find("test_helpers.test_clock", id, "id")?;
    state.emit("test_helpers.test_clock.deleted", id);
    state.remove(id);
    Ok(json!({ "id": id, "object": "test_helpers.test_clock", "deleted": true }))
}
