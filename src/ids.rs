//! Typed ids. All are `UUIDv7` (RFC 9562 §5.7), which sort by time.

clock::typed_ids! {
    /// `users.id`
    UserId,
    /// `sessions.id`
    SessionId,
    /// `api_keys.id`
    ApiKeyId,
    /// `subscriptions.id`
    SubscriptionId,
    /// `payments.id`
    PaymentId,
    /// `audit_log.id`
    AuditId,
    /// `events.id`
    EventId,
    /// `one_time_tokens.id`
    OneTimeTokenId,
}
