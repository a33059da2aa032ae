//! Plans: what each is good for, and which one an account has now. Owns the tables `subscriptions`
//! and `payments`.

mod model;
mod service;
mod store;

pub use model::{Feature, Plan, Standing, SubscriptionStatus};
pub use service::{changed, plan_of};
