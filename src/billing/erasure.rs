//! The end of a customer whose account is erased.

use stripe_client::core::customer::DeleteCustomer;
use stripe_client::shared::{CustomerId, DeletedCustomer};

use super::error::Error;
use super::sync::{self, Areas};
use crate::ctx::Ctx;
use crate::customers;
use crate::ids::AccountId;

/// Deletes the customer of an account at Stripe, which ends its subscriptions, after the last objects are stored. Repeated,
/// it has no effect.
pub async fn delete_customer(ctx: &Ctx, account_id: AccountId) -> Result<(), Error> {
    let Some(customer) = customers::locate(ctx, account_id).await? else {
        return Ok(());
    };
    let stripe = customers::stripe(ctx)?;
    match sync::sync(ctx, account_id, &customer, Areas::ALL).await {
        // Deleted by an attempt before.
        Err(error) if error.is_missing() => {}
        result => result?,
    }
    let request = DeleteCustomer::new(CustomerId::from(customer.as_str()));
    let written = stripe.write(&request, &format!("erase-{customer}")).await;
    match written.map(|_: DeletedCustomer| ()) {
        Ok(()) => {}
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error.into()),
    }
    sync::forget_customer(ctx, account_id, &customer).await?;
    Ok(())
}
