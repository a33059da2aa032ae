//! Sample items in requests and responses.

use chrono::{DateTime, Utc};
use http_toolkit::one_line_types;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::SampleItemId;

/// Limit of sample items of an account.
pub const MAX_COUNT: u32 = 1_000;

one_line_types! {
    /// Name of a sample item: 1 to 100 characters in one line.
    #[schema(example = "Apollo")]
    pub(super) struct SampleItemName(100);
}

/// Request to create a sample item.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSampleItem {
    /// Name for the account's list.
    pub(super) name: SampleItemName,
}

/// Request to change a sample item.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SampleItemChanges {
    /// The new name.
    pub(super) name: SampleItemName,
}

/// A sample item of the account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SampleItem {
    /// Id of the sample item.
    pub(super) id: SampleItemId,
    /// Name for the account's list.
    pub(super) name: SampleItemName,
    /// When the sample item was created.
    pub(super) created_at: DateTime<Utc>,
    /// When the sample item was last changed.
    pub(super) updated_at: DateTime<Utc>,
}
