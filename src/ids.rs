//! Typed ids. All are `UUIDv7` (RFC 9562 §5.7), which sort by time.

clock::typed_ids! {
    /// `users.id`
    UserId,
    /// `accounts.id`: owner of rows and of a plan.
    AccountId,
    /// `sessions.id`
    SessionId,
    /// `api_keys.id`
    ApiKeyId,
    /// `subscriptions.id`
    SubscriptionId,
    /// `payments.id`
    PaymentId,
    /// `checkouts.id`
    CheckoutId,
    /// `invoices.id`
    InvoiceId,
    /// `invitations.id`
    InvitationId,
    /// `audit_log.id`
    AuditId,
    /// `files.id`
    FileId,
    /// `events.id`
    EventId,
    /// `secrets.id`
    SecretId,
    /// `avatars.id`: random (`UUIDv4`), since a client that has it can read the picture.
    AvatarId,
    /// `data_exports.id`
    ExportId,
    /// `data_requests.id`
    DataRequestId,
    /// `one_time_tokens.id`
    OneTimeTokenId,
}

impl UserId {
    /// The user's personal account, which has the user's id. Nothing converts back: an organisation is an account as well.
    #[must_use]
    pub const fn personal_account(self) -> AccountId {
        AccountId(self.0)
    }
}
