//! One API call: authentication, log, faults, idempotency, expansion.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::State as Extract,
    http::{HeaderMap, Method, Uri},
    response::Response,
};

use super::{
    account::Account,
    answers::{answer_of, cut, internal_error, refuse, respond},
    expand::expand,
    faults::{FaultAction, Refusal},
    form::Params,
    idempotency::Answer,
    log::LoggedRequest,
    routes,
    server::{Shared, secret_key},
    state::State,
};

/// Calls that the log holds.
const LOGGED: usize = 10_000;

struct Call {
    method: String,
    path: String,
    params: Params,
    key: Option<String>,
    request_id: String,
}

/// The end of a call: its response, its status unless the connection is cut, whether it is a replay.
struct End {
    response: Response,
    status: Option<u16>,
    replayed: bool,
}

impl End {
    fn answer(answer: &Answer, call: &Call, replayed: bool) -> Self {
        Self {
            response: respond(answer, &call.request_id, replayed),
            status: Some(answer.status.as_u16()),
            replayed,
        }
    }

    fn cut() -> Self {
        Self {
            response: cut(),
            status: None,
            replayed: false,
        }
    }

    fn refusal(refusal: Refusal, call: &Call) -> Self {
        Self {
            status: Some(refusal.status),
            response: refuse(refusal, &call.request_id),
            replayed: false,
        }
    }
}

pub(super) async fn call(
    Extract(shared): Extract<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if shared.is_stopped() {
        return cut();
    }
    let account = match secret_key(&headers) {
        Ok(key) => shared.account(&key),
        Err(error) => {
            let answer = answer_of(&Err(error), "req_unauthorized");
            return respond(&answer, "req_unauthorized", false);
        }
    };
    let query = uri.query().unwrap_or_default().as_bytes();
    let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let key = header("idempotency-key");
    let request_id = account.with(|state| {
        let request_id = state.id("req");
        state.log.push_back(LoggedRequest {
            id: request_id.clone(),
            method: method.as_str().to_owned(),
            path: uri.path().to_owned(),
            form: Params::parse(&[&body]).tree().clone(),
            query: Params::parse(&[query]).tree().clone(),
            idempotency_key: key.clone(),
            version: header("stripe-version"),
            status: None,
            replayed: false,
            at: state.now(),
        });
        if state.log.len() > LOGGED {
            state.log.pop_front();
        }
        request_id
    });
    let call = Call {
        method: method.as_str().to_owned(),
        path: uri.path().to_owned(),
        params: Params::parse(&[query, &body]),
        key: key.filter(|_| method == Method::POST),
        request_id,
    };
    // A client that gives up does not stop the call.
    let ended = tokio::spawn(async move {
        let end = execute(&account, &call).await;
        account.with(|state| {
            if let Some(entry) = state
                .log
                .iter_mut()
                .rfind(|entry| entry.id == call.request_id)
            {
                entry.status = end.status;
                entry.replayed = end.replayed;
            }
        });
        end.response
    });
    let response = ended.await.unwrap_or_else(|_| cut());
    // The caller may store what it learns, so the file has it first.
    shared.save();
    response
}

/// The faults that one call meets.
#[derive(Default)]
struct Faults {
    delay: Duration,
    delay_answer: Duration,
    cut_before: bool,
    cut_after: bool,
    error_after: bool,
    refusal: Option<Refusal>,
}

impl Faults {
    fn of(actions: Vec<FaultAction>) -> Self {
        let mut faults = Self::default();
        for action in actions {
            match action {
                FaultAction::Delay(milliseconds) => {
                    faults.delay += Duration::from_millis(milliseconds);
                }
                FaultAction::DelayAnswer(milliseconds) => {
                    faults.delay_answer += Duration::from_millis(milliseconds);
                }
                FaultAction::CutBefore => faults.cut_before = true,
                FaultAction::CutAfterEffect => faults.cut_after = true,
                FaultAction::ErrorAfterEffect => faults.error_after = true,
                FaultAction::Status {
                    status,
                    body,
                    headers,
                } => {
                    faults.refusal = Some(Refusal {
                        status,
                        body,
                        headers,
                    });
                }
            }
        }
        faults
    }
}

async fn execute(account: &Account, call: &Call) -> End {
    let faults = account.with(|state| Faults::of(state.faults.take(&call.method, &call.path)));
    if faults.cut_before {
        return End::cut();
    }
    // Only a 500 comes from an endpoint that had begun, and is kept under the key.
    let (kept, unkept) = match faults.refusal {
        Some(refusal) if refusal.status == 500 => (Some(refusal), None),
        refusal => (None, refusal),
    };
    if let Some(refusal) = unkept {
        tokio::time::sleep(faults.delay).await;
        return End::refusal(refusal, call);
    }
    // Begun before the delay: a second call under the key finds this one in flight.
    if let Some(end) = begin(account, call) {
        return end;
    }
    tokio::time::sleep(faults.delay).await;
    let answer = account.with(|state| {
        let mut answer = if kept.is_some() {
            internal_error(&call.request_id)
        } else {
            perform(state, call)
        };
        if faults.error_after {
            answer = internal_error(&call.request_id);
        }
        if let Some(key) = &call.key {
            state.keys.finish(key, &answer);
        }
        answer
    });
    tokio::time::sleep(faults.delay_answer).await;
    match kept {
        Some(refusal) => End::refusal(refusal, call),
        None if faults.cut_after => End::cut(),
        None => End::answer(&answer, call, false),
    }
}

/// Begins a call under its key; the end of the call where the key is known.
fn begin(account: &Account, call: &Call) -> Option<End> {
    let key = call.key.as_deref()?;
    let signature = format!("{} {} {}", call.method, call.path, call.params.tree());
    let begun = account.with(|state| {
        let now = state.now();
        state.keys.begin(key, &signature, now)
    });
    match begun {
        Ok(None) => None,
        Ok(Some(answer)) => Some(End::answer(&answer, call, true)),
        Err(error) => Some(End::answer(
            &answer_of(&Err(error), &call.request_id),
            call,
            false,
        )),
    }
}

fn perform(state: &mut State, call: &Call) -> Answer {
    state.cause = Some((call.request_id.clone(), call.key.clone()));
    let result =
        routes::route(state, &call.method, &call.path, &call.params).and_then(|mut answer| {
            expand(state, &call.params, &mut answer)?;
            Ok(answer)
        });
    state.cause = None;
    answer_of(&result, &call.request_id)
}
