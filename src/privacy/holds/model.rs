//! Holds.

use chrono::{DateTime, Utc};
use http_toolkit::one_line_types;

one_line_types! {
    /// Why an account is held: 1 to 500 characters in one line.
    pub(super) struct HoldReason(500);

    /// Name of the person who places a hold: 1 to 100 characters in one line.
    pub(super) struct PlacedBy(100);
}

/// Hold that is placed.
#[derive(Clone, Debug)]
pub(super) struct NewHold {
    pub(super) reason: HoldReason,
    pub(super) placed_by: PlacedBy,
    pub(super) ends_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub(in crate::privacy) struct Hold {
    pub(in crate::privacy) reason: String,
    pub(in crate::privacy) placed_by: String,
    pub(in crate::privacy) ends_at: DateTime<Utc>,
}
