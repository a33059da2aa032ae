//! Redis: the beginning of the keys. Nothing here is the only copy.

use crate::privacy::model::Kind::{Describes, Identifies};
use crate::privacy::model::{Erasure, Export, Owner, Purpose, Retention, Store, column};

pub(super) const STORES: &[Store] = &[
    Store {
        name: "cache:plan:",
        purpose: Purpose::Operation,
        owners: &[Owner::Account("key")],
        retention: Retention::Fixed {
            time: "30 seconds",
            from: "the value was read",
        },
        export: Export::LeftOut("a copy of the subscription"),
        erasure: Erasure::Deleted,
        columns: &[column("key", Identifies), column("value", Describes)],
    },
    Store {
        name: "cache:changes",
        purpose: Purpose::Operation,
        owners: &[Owner::Account("value")],
        retention: Retention::Fixed {
            time: "a day",
            from: "the last change",
        },
        export: Export::LeftOut("names of changed values"),
        erasure: Erasure::Kept("expires by itself"),
        columns: &[column("value", Identifies)],
    },
    Store {
        name: "limit:",
        purpose: Purpose::Security,
        owners: &[Owner::User("key")],
        retention: Retention::Fixed {
            time: "two days",
            from: "the last request",
        },
        export: Export::LeftOut("counts by address, user and hash of an address"),
        erasure: Erasure::Kept("what is not counted by the user or the address expires by itself"),
        columns: &[column("key", Identifies), column("value", Describes)],
    },
];
