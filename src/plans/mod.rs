//! Plans, and which one an account has. Owns the tables `subscriptions` and `payments`, and the route
//! `/pricing`.

mod model;
mod routes;
mod service;
mod store;

pub use model::{
    Entitlement, Feature, Interval, LIVE_STATUSES, Offer, Payment, PaymentStatus, Plan, Price,
    Subscription, SubscriptionStatus,
};
pub use routes::routes;
pub use service::{changed, limit_by_plan, plan_of};
