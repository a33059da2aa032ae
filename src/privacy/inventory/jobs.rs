//! Payloads in the job queue: the identifier of the job and its fields.

use crate::privacy::model::Kind::{Describes, Identifies, Technical};
use crate::privacy::model::{Erasure, Export, Owner, Purpose, Retention, Store, column};

pub(super) const STORES: &[Store] = &[
    Store {
        name: "auth.send_reset",
        purpose: Purpose::Security,
        owners: &[Owner::Address("email")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("email", Identifies), column("version", Technical)],
    },
    Store {
        name: "auth.send_unlock",
        purpose: Purpose::Security,
        owners: &[Owner::Address("email")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("email", Identifies), column("version", Technical)],
    },
    Store {
        name: "auth.tell_password_changed",
        purpose: Purpose::Security,
        owners: &[Owner::Address("email")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("email", Identifies)],
    },
    Store {
        name: "auth.tell_email_changing",
        purpose: Purpose::Security,
        owners: &[Owner::Address("email")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("email", Identifies)],
    },
    Store {
        name: "auth.send_verification",
        purpose: Purpose::Security,
        owners: &[Owner::Address("email")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("email", Identifies)],
    },
    Store {
        name: "auth.send_already_registered",
        purpose: Purpose::Security,
        owners: &[Owner::Address("email")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("email", Identifies)],
    },
    Store {
        name: "auth.confirm_new_email",
        purpose: Purpose::Security,
        owners: &[Owner::User("user_id"), Owner::Address("email")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[
            column("user_id", Identifies),
            column("email", Identifies),
            column("version", Technical),
            column("requested_at", Describes),
        ],
    },
    Store {
        name: "auth.send_email_undo",
        purpose: Purpose::Security,
        owners: &[Owner::Row("email_changes", "change")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("change", Identifies)],
    },
    Store {
        name: "auth.notify_new_admin",
        purpose: Purpose::Security,
        owners: &[Owner::User("user_id"), Owner::User("admin")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("user_id", Identifies), column("admin", Identifies)],
    },
    Store {
        name: "api_keys.tell_created",
        purpose: Purpose::Security,
        owners: &[Owner::Address("email")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("email", Identifies), column("hint", Describes)],
    },
    Store {
        name: "api_keys.tell_rotated",
        purpose: Purpose::Security,
        owners: &[Owner::Address("email")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("email", Identifies), column("hint", Describes)],
    },
    Store {
        name: "mfa.tell_second_factor",
        purpose: Purpose::Security,
        owners: &[Owner::User("user_id")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("user_id", Identifies), column("news", Describes)],
    },
    Store {
        name: "billing.notify",
        purpose: Purpose::Billing,
        owners: &[Owner::User("user_id"), Owner::Account("account_id")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[
            column("user_id", Identifies),
            column("account_id", Identifies),
            column("fact", Describes),
            column("object", Identifies),
        ],
    },
    Store {
        name: "billing.sync_customer",
        purpose: Purpose::Billing,
        owners: &[Owner::Customer("customer")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("customer", Identifies)],
    },
    Store {
        name: "billing.sync_event",
        purpose: Purpose::Billing,
        owners: &[Owner::Row("stripe_events", "event")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[column("event", Identifies)],
    },
    Store {
        name: "billing.end_duplicate",
        purpose: Purpose::Billing,
        owners: &[Owner::Account("account_id")],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[
            column("account_id", Identifies),
            column("subscription", Identifies),
        ],
    },
    Store {
        name: "secrets.notify_revealed",
        purpose: Purpose::Security,
        owners: &[
            Owner::User("user_id"),
            Owner::User("revealed_by"),
            Owner::Account("account_id"),
        ],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[
            column("user_id", Identifies),
            column("account_id", Identifies),
            column("name", Describes),
            column("revealed_by", Identifies),
        ],
    },
    Store {
        name: "organisations.notify_member",
        purpose: Purpose::Account,
        owners: &[
            Owner::User("user_id"),
            Owner::User("about"),
            Owner::Account("account_id"),
        ],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[
            column("user_id", Identifies),
            column("account_id", Identifies),
            column("event", Describes),
            column("about", Identifies),
        ],
    },
    Store {
        name: "organisations.send_invitation",
        purpose: Purpose::Account,
        owners: &[
            Owner::Address("email"),
            Owner::Row("invitations", "invitation_id"),
        ],
        retention: Retention::Setting {
            name: "DEAD_JOBS_RETENTION",
            from: "the last attempt; at once when it succeeds",
        },
        export: Export::LeftOut("work in progress, about what is included"),
        erasure: Erasure::Deleted,
        columns: &[
            column("email", Identifies),
            column("invitation_id", Identifies),
        ],
    },
];
