//! Jobs about one customer, subscription or event, and how they are enqueued. What each does is beside what it is about.

use std::time::Duration;

use job_queue::SerialJob;
use sqlx::PgExecutor;

use crate::ids::AccountId;

/// Events that arrive within this time are joined into one read.
const BURST: Duration = Duration::from_secs(1);

/// Queues in which jobs of customers run one at a time. Each is a row for ever, so that there is not one for each
/// customer.
const QUEUES: u32 = 256;

job_queue::payload_jobs! {
    /// Stores what is true of a customer, after webhook events.
    SyncCustomer "billing.sync_customer" { customer: String }

    /// Finds the customer of an event that names only a payment, such as a dispute.
    SyncEvent "billing.sync_event" { event: String }

    /// Ends a second subscription of an account, and refunds what was paid for it.
    EndDuplicate "billing.end_duplicate" { account_id: AccountId, subscription: String }
}

/// Job that reads a customer: one at a time for a customer, and one for a burst.
pub(super) fn sync_job(customer: &str) -> Result<SerialJob, sqlx::Error> {
    let job = SyncCustomer::of(customer.to_owned());
    let hash = customer.bytes().fold(2_166_136_261_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    let queue = format!("stripe-{}", hash % QUEUES);
    SerialJob::new(&job, format!("stripe:{customer}"), queue, BURST)
}

pub(super) async fn enqueue_sync(
    conn: impl PgExecutor<'_>,
    customer: &str,
) -> Result<(), sqlx::Error> {
    job_queue::enqueue_serial(conn, &sync_job(customer)?).await
}
