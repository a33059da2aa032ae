//! Creating a sample item within the limit of the account.

use serde_json::json;

use super::error::Error;
use super::model::{MAX_COUNT, NewSampleItem, SampleItem};
use super::store;
use crate::audit::Event;
use crate::ctx::CallerCtx;
use crate::ids::SampleItemId;
use crate::organisations;

pub(super) async fn create(ctx: &CallerCtx, new: NewSampleItem) -> Result<SampleItem, Error> {
    let (account_id, now) = (ctx.account_id(), ctx.now());
    let id = SampleItemId::new(now, &ctx.rng);
    let mut tx = ctx.begin().await?;
    // Serializes concurrent calls, so that each counts the sample items of the one before.
    if !organisations::lock_account(&mut *tx, account_id).await? {
        return Err(Error::NoAccount);
    }
    if store::count(&mut *tx, account_id).await? >= MAX_COUNT.into() {
        return Err(Error::TooMany(MAX_COUNT));
    }
    let sample_item = store::insert(&mut *tx, account_id, id, &new.name, now).await?;
    let detail = json!({ "sample_item": id, "api_key": ctx.credential().api_key_id() });
    tx.audit(Event::SampleItemCreated.detail(detail)).await?;
    tx.commit_created(&sample_item).await?;
    Ok(sample_item)
}
