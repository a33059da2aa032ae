//! Notifications of a channel, on a connection of `DATABASE_DIRECT_URL`.

use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::time::sleep;

use crate::Db;

/// Delay before another attempt to listen.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);

/// Payloads of the notifications of a channel.
pub type Notifications = BoxStream<'static, String>;

struct Listening {
    pool: PgPool,
    channel: &'static str,
    listener: Option<PgListener>,
    is_failing: bool,
}

/// Returns the payloads of a channel's notifications. It never ends, and connects again. Each time that it has connected, it
/// returns an empty payload, since notifications from before are lost. `None` without `DATABASE_DIRECT_URL`.
#[must_use]
pub fn listen(db: &Db, channel: &'static str) -> Option<Notifications> {
    let listening = Listening {
        pool: db.direct()?.clone(),
        channel,
        listener: None,
        is_failing: false,
    };
    let payloads = stream::unfold(listening, |mut listening| async {
        let payload = listening.next().await;
        Some((payload, listening))
    });
    Some(payloads.boxed())
}

impl Listening {
    async fn next(&mut self) -> String {
        loop {
            match self.receive().await {
                Ok(payload) => return payload,
                Err(error) => {
                    if !self.is_failing {
                        tracing::warn!(%error, channel = self.channel, "cannot listen by DATABASE_DIRECT_URL");
                    }
                    self.is_failing = true;
                    self.listener = None;
                }
            }
            sleep(LISTEN_AGAIN).await;
        }
    }

    async fn receive(&mut self) -> Result<String, sqlx::Error> {
        if let Some(listener) = &mut self.listener {
            let received = listener.try_recv().await?;
            return Ok(received.map_or_else(String::new, |it| it.payload().to_owned()));
        }
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(self.channel).await?;
        if self.is_failing {
            tracing::info!(channel = self.channel, "listening again");
        }
        self.is_failing = false;
        self.listener = Some(listener);
        Ok(String::new())
    }
}
