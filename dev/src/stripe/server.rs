//! The server: its accounts, its tasks and its routes.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    http::{HeaderMap, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{runtime::Handle, task::JoinSet};

use super::{
    account::Account,
    call::call,
    control,
    error::{Result, StripeError},
    kept::Kept,
    pages,
};

/// What all accounts of one server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) url: String,
    /// Part of every id, so that a server that restarted makes other ids.
    pub(super) epoch: i64,
    pub(super) client: reqwest::Client,
    /// The file of the accounts, if they are kept.
    pub(super) kept: OnceLock<Kept>,
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
            kept: OnceLock::new(),
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

    pub(super) fn accounts_by_key(&self) -> Vec<(String, Arc<Account>)> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = |(key, account): (&String, &Arc<Account>)| (key.clone(), Arc::clone(account));
        accounts.iter().map(copy).collect()
    }

    /// Writes what has changed to the file. A full disk may have room for a later attempt.
    pub(super) fn save(&self) {
        if let Some(kept) = self.kept.get() {
            let _ = kept.save(self);
        }
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

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
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
