//! The server: authentication, idempotency, faults and the log around every API call.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State as Extract,
    http::{HeaderMap, Method, Uri, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{runtime::Handle, task::JoinSet};

use super::{
    account::Account,
    answers::{answer_of, cut, internal_error, refuse, respond},
    control,
    error::{Result, StripeError},
    expand::expand,
    faults::FaultAction,
    form::Params,
    idempotency::Answer,
    log::LoggedRequest,
    pages, routes,
    state::State,
};

const LOGGED: usize = 10_000;

/// What all accounts of one server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) url: String,
    /// Part of every id, so that a server that restarted makes other ids.
    pub(super) epoch: i64,
    pub(super) client: reqwest::Client,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
    tasks: Mutex<JoinSet<()>>,
    runtime: Handle,
    stopped: AtomicBool,
}

impl Shared {
    pub(super) fn new(url: String, epoch: i64) -> Arc<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap_or_default();
        Arc::new(Self {
            url,
            epoch,
            client,
            accounts: Mutex::default(),
            tasks: Mutex::default(),
            runtime: Handle::current(),
            stopped: AtomicBool::new(false),
        })
    }

    pub(super) fn account(self: &Arc<Self>, key: &str) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            accounts
                .entry(key.into())
                .or_insert_with(|| Account::new(key, self)),
        )
    }

    pub(super) fn accounts(&self) -> Vec<Arc<Account>> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.values().cloned().collect()
    }

    /// The account that has an object.
    pub(super) fn owner_of(&self, id: &str) -> Option<Arc<Account>> {
        self.accounts()
            .into_iter()
            .find(|account| account.with(|state| state.get(id).is_some()))
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }

    /// Ends the tasks, and the answers on connections that clients keep open.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort_all();
    }
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    pages::router()
        .merge(control::router())
        .fallback(call)
        .with_state(shared)
}

/// The secret key of a request, by Bearer or as the user of Basic.
pub(super) fn secret_key(headers: &HeaderMap) -> Result<String> {
    let missing = || {
        StripeError::unauthorized(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer \
             auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )
    };
    let header = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(missing)?;
    let (scheme, value) = header.split_once(' ').ok_or_else(missing)?;
    let key = if scheme.eq_ignore_ascii_case("bearer") {
        value.trim().to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        let decoded = STANDARD.decode(value.trim()).map_err(|_| missing())?;
        let decoded = String::from_utf8(decoded).map_err(|_| missing())?;
        decoded.split(':').next().unwrap_or_default().to_owned()
    } else {
        return Err(missing());
    };
    let forms = ["sk_test_", "sk_live_", "rk_test_", "rk_live_"];
    if forms
        .iter()
        .any(|form| key.len() > form.len() && key.starts_with(form))
    {
        return Ok(key);
    }
    let shown: String = key.chars().take(8).collect();
    Err(StripeError::unauthorized(format!(
        "Invalid API Key provided: {shown}****"
    )))
}

struct Call {
    method: String,
    path: String,
    form: Params,
    query: Params,
    all: Params,
    key: Option<String>,
    version: Option<String>,
    request_id: String,
}

async fn call(
    Extract(shared): Extract<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if shared.stopped.load(Ordering::Relaxed) {
        return cut();
    }
    let account = match secret_key(&headers) {
        Ok(key) => shared.account(&key),
        Err(error) => {
            let answer = answer_of(&Err(error), "req_unauthorized");
            return respond(&answer, "req_unauthorized", false);
        }
    };
    let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let query = uri.query().unwrap_or_default().as_bytes();
    let call = Call {
        method: method.as_str().to_owned(),
        path: uri.path().to_owned(),
        form: Params::parse(&[&body]),
        query: Params::parse(&[query]),
        all: Params::parse(&[query, &body]),
        key: header("idempotency-key").filter(|_| method == Method::POST),
        version: header("stripe-version"),
        request_id: account.with(|state| state.id("req")),
    };
    let logged = account.with(|state| log(state, &call));
    let (response, status, replayed) = execute(&account, &call).await;
    account.with(|state| {
        if let Some(entry) = state.log.iter_mut().rfind(|entry| entry.id == logged) {
            entry.status = status;
            entry.replayed = replayed;
        }
    });
    response
}

fn log(state: &mut State, call: &Call) -> String {
    state.log.push_back(LoggedRequest {
        id: call.request_id.clone(),
        method: call.method.clone(),
        path: call.path.clone(),
        form: call.form.tree().clone(),
        query: call.query.tree().clone(),
        idempotency_key: call.key.clone(),
        version: call.version.clone(),
        status: None,
        replayed: false,
        at: state.now(),
    });
    if state.log.len() > LOGGED {
        state.log.pop_front();
    }
    call.request_id.clone()
}

/// The response, its status unless the connection is cut, and whether it is a replay.
async fn execute(account: &Arc<Account>, call: &Call) -> (Response, Option<u16>, bool) {
    let faults = account.with(|state| state.faults.take(&call.method, &call.path));
    let mut cut_after = false;
    let mut error_after = false;
    let mut delay = 0;
    let mut refusal = None;
    for fault in faults {
        match fault {
            FaultAction::Delay(milliseconds) => delay += milliseconds,
            FaultAction::CutBefore => return (cut(), None, false),
            FaultAction::CutAfterEffect => cut_after = true,
            FaultAction::ErrorAfterEffect => error_after = true,
            FaultAction::Status {
                status,
                body,
                headers,
            } => refusal = Some((status, body, headers)),
        }
    }
    if let Some((status, _, _)) = &refusal
        && *status != 500
    {
        tokio::time::sleep(Duration::from_millis(delay)).await;
        return refuse(&call.request_id, refusal.unwrap_or_default());
    }
    // A retry with the same key while this call waits must find it executing.
    let signature = format!("{} {} {}", call.method, call.path, call.all.tree());
    let held = match begin(account, call, &signature) {
        Ok(held) => held,
        Err((answer, replayed)) => {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            return (
                respond(&answer, &call.request_id, replayed),
                Some(answer.status.as_u16()),
                replayed,
            );
        }
    };
    tokio::time::sleep(Duration::from_millis(delay)).await;
    let mut answer = if refusal.is_some() {
        internal_error(&call.request_id)
    } else {
        account.with(|state| perform(state, call))
    };
    if error_after {
        answer = internal_error(&call.request_id);
    }
    held.finish(&answer);
    if let Some(refusal) = refusal {
        return refuse(&call.request_id, refusal);
    }
    if cut_after {
        return (cut(), None, false);
    }
    (
        respond(&answer, &call.request_id, false),
        Some(answer.status.as_u16()),
        false,
    )
}

/// A key whose call executes; forgotten if the client goes away before it began.
struct Held<'a> {
    account: &'a Account,
    key: Option<&'a str>,
}

impl Held<'_> {
    fn finish(mut self, answer: &Answer) {
        if let Some(key) = self.key.take() {
            self.account.with(|state| state.keys.finish(key, answer));
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.account.with(|state| state.keys.abandon(key));
        }
    }
}

fn begin<'a>(
    account: &'a Account,
    call: &'a Call,
    signature: &str,
) -> Result<Held<'a>, (Answer, bool)> {
    let key = call.key.as_deref();
    if let Some(key) = key {
        let begun = account.with(|state| {
            let now = state.now();
            state.keys.begin(key, signature, now)
        });
        match begun {
            Ok(None) => {}
            Ok(Some(answer)) => return Err((answer, true)),
            Err(error) => return Err((answer_of(&Err(error), &call.request_id), false)),
        }
    }
    Ok(Held { account, key })
}

fn perform(state: &mut State, call: &Call) -> Answer {
    state.cause = Some((call.request_id.clone(), call.key.clone()));
    let result =
        routes::route(state, &call.method, &call.path, &call.all).and_then(|mut answer| {
            expand(state, &call.all, &mut answer)?;
            Ok(answer)
        });
    state.cause = None;
    answer_of(&result, &call.request_id)
}
