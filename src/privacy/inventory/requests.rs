//! Tables about consents, emails that a person agreed to, exports, deletions and holds.

use crate::privacy::model::Kind::{Describes, Identifies, OfOthers, Technical};
use crate::privacy::model::{Erasure, Export, Owner, Purpose, Retention, Store, column};

pub(super) const STORES: &[Store] = &[
    Store {
        name: "account_deletions",
        purpose: Purpose::Account,
        owners: &[Owner::User("user_id")],
        retention: Retention::Fixed {
            time: "4 days",
            from: "the user is erased; events of Stripe arrive for so long",
        },
        export: Export::Included,
        erasure: Erasure::Deleted,
        columns: &[
            column("user_id", Identifies),
            column("requested_at", Describes),
            column("erase_at", Describes),
            column("reminded_at", Describes),
            column("next_attempt_at", Technical),
            column("deferred_reason", Describes),
            column("started_at", Technical),
            column("stripe_customer_id", Identifies),
            column("books_id", Technical),
            column("erased_at", Technical),
            column("email", Identifies),
            column("is_notified", Technical),
        ],
    },
    Store {
        name: "legal_holds",
        purpose: Purpose::Security,
        owners: &[Owner::User("user_id")],
        retention: Retention::Fixed {
            time: "ten minutes",
            from: "the end of the hold",
        },
        export: Export::LeftOut("may prejudice the proceedings that the hold is for"),
        erasure: Erasure::Kept("an account that is held is not erased"),
        columns: &[
            column("user_id", Identifies),
            column("reason", Describes),
            column("placed_by", OfOthers),
            column("created_at", Describes),
            column("ends_at", Describes),
        ],
    },
    Store {
        name: "consents",
        purpose: Purpose::Account,
        owners: &[Owner::User("user_id")],
        retention: Retention::Owner,
        export: Export::Included,
        erasure: Erasure::Deleted,
        columns: &[
            column("id", Technical),
            column("user_id", Identifies),
            column("kind", Describes),
            column("version", Describes),
            column("is_given", Describes),
            column("source", Describes),
            column("ip", Identifies),
            column("user_agent", Describes),
            column("created_at", Describes),
        ],
    },
    Store {
        name: "data_exports",
        purpose: Purpose::Account,
        owners: &[Owner::User("user_id")],
        retention: Retention::Setting {
            name: "EXPORT_RETENTION",
            from: "the export is ready",
        },
        export: Export::LeftOut("exports themselves"),
        erasure: Erasure::Deleted,
        columns: &[
            column("id", Technical),
            column("user_id", Identifies),
            column("state", Describes),
            column("requested_at", Describes),
            column("attempt", Technical),
            column("parts", Technical),
            column("size", Describes),
            column("is_in_store", Technical),
            column("ready_at", Describes),
            column("expires_at", Describes),
            column("failure", Describes),
        ],
    },
    Store {
        name: "data_export_parts",
        purpose: Purpose::Account,
        owners: &[Owner::Row("data_exports", "export_id")],
        retention: Retention::Setting {
            name: "EXPORT_RETENTION",
            from: "the export is ready",
        },
        export: Export::LeftOut("exports themselves"),
        erasure: Erasure::Deleted,
        columns: &[
            column("export_id", Identifies),
            column("attempt", Technical),
            column("part", Technical),
            column("bytes", Describes),
        ],
    },
    Store {
        name: "usage_summaries",
        purpose: Purpose::Account,
        owners: &[Owner::User("user_id")],
        retention: Retention::Fixed {
            time: "100 days",
            from: "the summary was enqueued",
        },
        export: Export::LeftOut("says that an email was sent"),
        erasure: Erasure::Deleted,
        columns: &[
            column("user_id", Identifies),
            column("month", Describes),
            column("created_at", Describes),
            column("sent_at", Describes),
        ],
    },
    Store {
        name: "email_suppressions",
        purpose: Purpose::Account,
        owners: &[Owner::Address("address_hash")],
        retention: Retention::Setting {
            name: "MAIL_SUPPRESSION_RETENTION",
            from: "the last bounce or complaint",
        },
        export: Export::LeftOut(
            "a keyed hash of an address; `emails show` finds it by the address",
        ),
        erasure: Erasure::Kept(
            "a keyed hash without an address, so that no email goes to the mailbox again",
        ),
        columns: &[
            column("address_hash", Identifies),
            column("reason", Describes),
            column("created_at", Describes),
        ],
    },
];
