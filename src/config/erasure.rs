//! Deletion of accounts, and the books that are kept of them.

use std::time::Duration;

settings::settings! {
    /// Deletion of accounts.
    pub struct ErasureConfig {}
    "Deletion of accounts", ErasureSettings {
        /// How long the deletion of an account can be canceled; then it is erased.
        ACCOUNT_DELETION_GRACE => grace: Duration = "30d", within("1d"..="60d");
        /// How long subscriptions, payments and invoices of erased accounts and purged organisations are kept, from a month
        /// after the year in which they were made.
        BOOKS_RETENTION => books_retention: Duration = "3650d", within("1826d"..="3650d");
    }
}
