//! A fake Stripe: a server in memory for every call that billing makes, with checkout and portal
//! pages, a clock for each account, and signed webhooks. No money moves.

mod account;
mod answers;
mod call;
mod catalog;
mod checkout;
mod checkout_pay;
mod control;
mod customers;
mod cycles;
mod discounts;
mod disputes;
mod endpoints;
mod error;
mod events;
mod expand;
mod faults;
mod form;
mod handle;
mod idempotency;
mod intents;
mod invoice_calls;
mod invoices;
mod item_calls;
mod kept;
mod lines;
mod list;
mod log;
mod meters;
mod methods;
mod pages;
mod payments;
mod periods;
mod portal;
mod portal_acts;
mod proration;
mod refunds;
mod renewals;
mod routes;
mod seed;
mod server;
mod state;
mod subscription_calls;
mod subscriptions;
mod test_clocks;
mod totals;
mod versions;
mod webhooks;

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use url::Url;

pub use checkout_pay::Outcome;
pub use error::StripeError;
pub use faults::{FaultAction, FaultBody, StripeFault};
pub use handle::StripeAccount;
pub use log::LoggedRequest;
pub use portal_acts::PortalAct;
pub use seed::{Catalog, CatalogCode, CatalogMeter, CatalogPrice, CatalogProduct, Interval};
pub use state::AfterRetries;
pub use webhooks::{DeliveryAttempt, Release, signature};

use crate::error::{Doing, Result};
use kept::Kept;
use server::Shared;

/// How long a change may take to reach the file that no call to the API made.
const SAVE_INTERVAL: Duration = Duration::from_millis(200);

/// A running fake Stripe; dropping it ends it.
#[derive(Debug)]
pub struct Stripe {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Stripe {
    /// Starts one on a free port, for tests: ids depend on nothing but the secret key.
    ///
    /// # Panics
    /// When 127.0.0.1 has no free port left.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self::run(listener, None, 0, None)
            .await
            .expect("a fresh listener serves")
    }

    /// Serves on a listener; pages are linked at the public URL if one is given.
    ///
    /// With a file the accounts of the last run go on. Without one ids differ from those of the last run, which a
    /// database may still hold.
    pub async fn serve(
        listener: TcpListener,
        public_url: Option<Url>,
        file: Option<PathBuf>,
    ) -> Result<Self> {
        Self::run(listener, public_url, Utc::now().timestamp(), file).await
    }

    #[expect(
        clippy::unused_async,
        reason = "it registers with the runtime, so it needs one"
    )]
    async fn run(
        listener: TcpListener,
        public_url: Option<Url>,
        epoch: i64,
        file: Option<PathBuf>,
    ) -> Result<Self> {
        let adopt = |listener: TcpListener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((tokio::net::TcpListener::from_std(listener)?, address))
        };
        let (listener, address) = adopt(listener).doing(|| "serve the fake Stripe".into())?;
        let public = public_url.map_or_else(
            || format!("http://{address}"),
            |public| public.as_str().trim_end_matches('/').to_owned(),
        );
        let shared = Shared::new(public, epoch);
        if let Some(path) = file {
            let kept = Kept::open(path, &shared)?;
            shared.kept.get_or_init(|| kept);
            let accounts = Arc::downgrade(&shared);
            shared.spawn(async move {
                while let Some(shared) = accounts.upgrade() {
                    shared.save();
                    drop(shared);
                    tokio::time::sleep(SAVE_INTERVAL).await;
                }
            });
        }
        let router = server::router(Arc::clone(&shared));
        shared.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let clocks = Arc::downgrade(&shared);
        shared.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let Some(shared) = clocks.upgrade() else {
                    break;
                };
                for account in shared.accounts() {
                    account.with(|state| {
                        let now = state.now();
                        renewals::run_due(state, now);
                    });
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// Address of the API, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Port of the API.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Account of a secret key, which exists from its first use.
    #[must_use]
    pub fn account(&self, secret_key: &str) -> StripeAccount {
        StripeAccount::new(self.shared.account(secret_key))
    }
}

impl Drop for Stripe {
    fn drop(&mut self) {
        self.shared.stop();
        self.shared.save();
    }
}
