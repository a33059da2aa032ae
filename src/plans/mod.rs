//! Plans, and which one an account has. Owns the table `subscriptions`, and the route `/pricing`.

mod limit;
mod model;
mod routes;
mod service;
mod store;

pub use limit::limit_by_plan;
pub use model::{
    Entitlement, Feature, Interval, Offer, Plan, Price, ProvidedSubscription, StoredSubscription,
    Subscription, SubscriptionStatus,
};
pub use routes::routes;
pub use service::{changed, plan_of};
pub use store::{
    delete_books, end_missing_subscriptions, list_subscriptions, mark_duplicates, move_to_books,
    remove_buyer, upsert_subscription,
};
