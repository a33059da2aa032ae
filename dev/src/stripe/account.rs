//! One account: its state behind a lock, and the tasks that deliver its events.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{server::Shared, state::State, webhooks};

/// One account of the fake: all calls with one secret key.
#[derive(Debug)]
pub(super) struct Account {
    state: Mutex<State>,
    shared: Weak<Shared>,
    me: Weak<Account>,
}

impl Account {
    pub(super) fn new(key: &str, shared: &Arc<Shared>) -> Arc<Self> {
        let state = State::new(key, shared.epoch, &shared.url);
        Arc::new_cyclic(|me| Self {
            state: Mutex::new(state),
            shared: Arc::downgrade(shared),
            me: me.clone(),
        })
    }

    /// Runs a step on the state, then sends the events that it emitted.
    pub(super) fn with<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = step(&mut state);
        let ready = std::mem::take(&mut state.deliveries.ready);
        drop(state);
        if let (Some(shared), Some(me)) = (self.shared.upgrade(), self.me.upgrade()) {
            for batch in ready {
                let client = shared.client.clone();
                shared.spawn(webhooks::deliver(Arc::clone(&me), batch, client));
            }
        }
        result
    }

    /// Runs a task that ends with the server.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(shared) = self.shared.upgrade() {
            shared.spawn(task);
        }
    }
}
