//! Idempotency keys: the first result replays for 24 hours.

use std::collections::HashMap;

use axum::http::StatusCode;

use super::error::{Result, StripeError};

const KEPT_SECONDS: i64 = 86_400;

/// The answer to one call.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    pub(super) request_id: String,
    /// The call had begun to execute, so its key keeps the answer.
    pub(super) kept: bool,
}

#[derive(Debug)]
struct Key {
    /// Method, path and parameters of the first call.
    call: String,
    created: i64,
    /// None while the first call executes.
    answer: Option<Answer>,
}

#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<String, Key>);

impl Keys {
    /// Begins a call under a key, or returns the kept answer of the first one.
    pub(super) fn begin(&mut self, key: &str, call: &str, now: i64) -> Result<Option<Answer>> {
        let is_old = |known: &Key| known.answer.is_some() && known.created <= now - KEPT_SECONDS;
        if self.0.get(key).is_some_and(is_old) {
            self.0.remove(key);
        }
        match self.0.get(key) {
            Some(known) if known.call != call => Err(StripeError::idempotency(
                StatusCode::BAD_REQUEST,
                format!(
                    "Keys for idempotent requests can only be used with the same parameters they were first used with. \
                     Try using a key other than '{key}' if you meant to execute a different request."
                ),
            )),
            Some(Key { answer: None, .. }) => Err(StripeError::idempotency(
                StatusCode::CONFLICT,
                format!(
                    "There is currently another in-progress request using this Idempotent Key (that probably means you \
                     submitted twice, and the other request is still going through): {key}. Please try again later."
                ),
            )
            .code("idempotency_key_in_use")),
            Some(known) => Ok(known.answer.clone()),
            None => {
                let begun = Key {
                    call: call.into(),
                    created: now,
                    answer: None,
                };
                self.0.insert(key.into(), begun);
                Ok(None)
            }
        }
    }

    /// Ends the call that began under a key.
    pub(super) fn finish(&mut self, key: &str, answer: &Answer) {
        if !answer.kept {
            self.0.remove(key);
        } else if let Some(known) = self.0.get_mut(key) {
            known.answer = Some(answer.clone());
        }
    }
}
