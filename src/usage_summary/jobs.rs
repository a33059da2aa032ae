//! The schedule of summaries, one job for each, and the purge of old rows.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clock::Month;
use job_queue::{Expired, JobError, Purges};

use super::model::reported_month;
use super::{service, store};
use crate::consents::{self, OptionalKind};
use crate::ids::UserId;
use crate::mail::{self, email_jobs};
use crate::scope;
use crate::state::AppState;

/// Users whose jobs one transaction enqueues.
const BATCH: i64 = 200;

/// Users who asked for it within this time get the summary of the last month at once, as an example of what they asked for.
const NEW: TimeDelta = TimeDelta::minutes(10);

/// Longer than a month, in which a second summary must be recognised.
const KEPT: TimeDelta = TimeDelta::days(100);

email_jobs! {
    /// To one user, about one month, given by its first day.
    SendSummary "usage_summary.send" { user_id: UserId, month: NaiveDate }
}

impl SendSummary {
    async fn send(&self, state: &AppState) -> Result<(), mail::JobError> {
        service::send_waiting(state, self.user_id, Month::from(self.month)).await
    }
}

job_queue::jobs! {
    /// Enqueues the summary of the last month for all users who asked for it and have none of that month. Runs hourly: what
    /// a run that was killed has left out, the next one does.
    ScheduleSummaries "usage_summary.schedule" => schedule;
    /// As [`ScheduleSummaries`], for users who have just asked for it. Runs every minute.
    ScheduleNewSummaries "usage_summary.schedule_new" => schedule_new;
    /// Deletes rows of summaries of earlier months. Runs daily.
    PurgeSummaries "usage_summary.purge" => purge;
}

async fn schedule(state: &AppState) -> Result<(), JobError> {
    let mut after = None;
    loop {
        let kind = OptionalKind::UsageSummary;
        let users = consents::list_users(&state.db, kind, after, BATCH).await?;
        let Some(last) = users.last() else {
            return Ok(());
        };
        after = Some(*last);
        begin(state, &users).await?;
    }
}

async fn schedule_new(state: &AppState) -> Result<(), JobError> {
    let (kind, since) = (OptionalKind::UsageSummary, state.clock.now() - NEW);
    let users = consents::list_new_users(&state.db, kind, since, BATCH).await?;
    begin(state, &users).await
}

/// Inserts the row of each user and enqueues its job in one transaction, so that neither exists without the other.
async fn begin(state: &AppState, users: &[UserId]) -> Result<(), JobError> {
    if !state.mail.usage_summary || users.is_empty() {
        return Ok(());
    }
    let now = state.clock.now();
    let month = reported_month(now);
    let mut tx = database::begin(&state.db).await?;
    let new = store::insert_new(&mut *tx, users, month, now).await?;
    for user_id in &new {
        let job = SendSummary::to(*user_id, month.first_day());
        job_queue::enqueue(&mut *tx, &job, None).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Rows that are deleted once their time has passed, each with that time.
pub fn retained(state: &AppState) -> [(Expired, DateTime<Utc>); 1] {
    [(store::EXPIRED, state.clock.now() - KEPT)]
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges.run_all(&retained(state)).await;
    Ok(purges.finish()?)
}
