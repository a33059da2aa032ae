//! Payloads in the job queue: the identifier of the job and its fields.

use crate::privacy::model::Kind::{Describes, Identifies, Technical};
use crate::privacy::model::{Column, Erasure, Export, Owner, Purpose, Retention, Store, column};

/// The queue deletes a job that succeeds at once.
const fn job(
    name: &'static str,
    purpose: Purpose,
    owners: &'static [Owner],
    columns: &'static [Column],
) -> Store {
    Store {
        name,
        purpose,
        owners,
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns,
    }
}

pub(super) const STORES: &[Store] = &[
    job(
        "auth.send_reset",
        Purpose::Security,
        &[Owner::Address("email")],
        &[column("email", Identifies), column("version", Technical)],
    ),
    job(
        "auth.send_unlock",
        Purpose::Security,
        &[Owner::Address("email")],
        &[column("email", Identifies), column("version", Technical)],
    ),
    job(
        "auth.tell_password_changed",
        Purpose::Security,
        &[Owner::Address("email")],
        &[column("email", Identifies)],
    ),
    job(
        "auth.tell_email_changing",
        Purpose::Security,
        &[Owner::Address("email")],
        &[column("email", Identifies)],
    ),
    job(
        "auth.send_verification",
        Purpose::Security,
        &[Owner::Address("email")],
        &[column("email", Identifies)],
    ),
    job(
        "auth.send_already_registered",
        Purpose::Security,
        &[Owner::Address("email")],
        &[column("email", Identifies)],
    ),
    job(
        "auth.confirm_new_email",
        Purpose::Security,
        &[Owner::User("user_id"), Owner::Address("email")],
        &[
            column("user_id", Identifies),
            column("email", Identifies),
            column("version", Technical),
            column("requested_at", Describes),
        ],
    ),
    job(
        "auth.send_email_undo",
        Purpose::Security,
        &[Owner::Row("email_changes", "change")],
        &[column("change", Identifies)],
    ),
    job(
        "auth.notify_new_admin",
        Purpose::Security,
        &[Owner::User("user_id"), Owner::User("admin")],
        &[column("user_id", Identifies), column("admin", Identifies)],
    ),
    job(
        "api_keys.tell_created",
        Purpose::Security,
        &[Owner::Address("email")],
        &[column("email", Identifies), column("hint", Describes)],
    ),
    job(
        "api_keys.tell_rotated",
        Purpose::Security,
        &[Owner::Address("email")],
        &[column("email", Identifies), column("hint", Describes)],
    ),
    job(
        "mfa.tell_second_factor",
        Purpose::Security,
        &[Owner::User("user_id")],
        &[column("user_id", Identifies), column("news", Describes)],
    ),
    job(
        "billing.notify",
        Purpose::Billing,
        &[Owner::User("user_id"), Owner::Account("account_id")],
        &[
            column("user_id", Identifies),
            column("account_id", Identifies),
            column("fact", Describes),
            column("object", Identifies),
        ],
    ),
    job(
        "billing.sync_customer",
        Purpose::Billing,
        &[Owner::Customer("customer")],
        &[column("customer", Identifies)],
    ),
    job(
        "billing.sync_event",
        Purpose::Billing,
        &[Owner::Row("stripe_events", "event")],
        &[column("event", Identifies)],
    ),
    job(
        "billing.end_duplicate",
        Purpose::Billing,
        &[Owner::Account("account_id")],
        &[
            column("account_id", Identifies),
            column("subscription", Identifies),
        ],
    ),
    job(
        "privacy.make_export",
        Purpose::Account,
        &[Owner::Row("data_exports", "id")],
        &[column("id", Identifies)],
    ),
    job(
        "privacy.notify_export",
        Purpose::Account,
        &[Owner::User("user_id")],
        &[column("user_id", Identifies), column("id", Identifies)],
    ),
    job(
        "secrets.notify_revealed",
        Purpose::Security,
        &[
            Owner::User("user_id"),
            Owner::User("revealed_by"),
            Owner::Account("account_id"),
        ],
        &[
            column("user_id", Identifies),
            column("account_id", Identifies),
            column("name", Describes),
            column("revealed_by", Identifies),
        ],
    ),
    job(
        "organisations.notify_member",
        Purpose::Account,
        &[
            Owner::User("user_id"),
            Owner::User("about"),
            Owner::Account("account_id"),
        ],
        &[
            column("user_id", Identifies),
            column("account_id", Identifies),
            column("event", Describes),
            column("about", Identifies),
        ],
    ),
    job(
        "organisations.send_invitation",
        Purpose::Account,
        &[
            Owner::Address("email"),
            Owner::Row("invitations", "invitation_id"),
        ],
        &[
            column("email", Identifies),
            column("invitation_id", Identifies),
        ],
    ),
    job(
        "privacy.notify_deletion",
        Purpose::Account,
        &[Owner::User("user_id")],
        &[
            column("user_id", Identifies),
            column("event", Describes),
            column("erase_at", Describes),
        ],
    ),
    job(
        "usage_summary.send",
        Purpose::Account,
        &[Owner::User("user_id")],
        &[column("user_id", Identifies), column("month", Describes)],
    ),
    job(
        "files.scan",
        Purpose::Content,
        &[Owner::Account("account_id")],
        &[column("account_id", Identifies), column("id", Describes)],
    ),
    job(
        "files.notify_infected",
        Purpose::Content,
        &[
            Owner::Address("email"),
            Owner::User("uploaded_by"),
            Owner::Account("account_id"),
        ],
        &[
            column("email", Identifies),
            column("account_id", Identifies),
            column("id", Describes),
            column("uploaded_by", Identifies),
            column("signature", Describes),
        ],
    ),
];
