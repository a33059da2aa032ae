//! Payments: payment intents at Stripe, whether created by `POST /payments` or for an invoice. Owns the table `payments`
//! and the routes `/payments`. Card data goes from the payer to Stripe alone.
//!
//! - The row of a new payment is committed before Stripe is called, and its id is in the `Idempotency-Key` of the call
//!   and in the metadata of the payment intent. So a crash or a lost response leaves a `pending` row, which the
//!   repeated request, a webhook or the daily job settles. Nothing is ever sent under another key before Stripe was read.
//! - All later changes come from Stripe: [`read`] and [`store`](store_read).

mod error;
mod jobs;
mod model;
mod routes;
mod service;
mod store;
mod sync;

pub use error::Error;
pub use jobs::SettlePayments;
pub use model::{Payment, PaymentRef, PaymentStatus};
pub use routes::routes;
pub use service::find_customer_of;
pub use store::{OpenPayments, delete_books, find_open, move_to_books, remove_payer};
pub use sync::{ReadPayments, read, store as store_read};
