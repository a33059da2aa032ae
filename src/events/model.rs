//! What an event is.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::config::TierConfig;
use crate::ids::EventId;
use crate::infra::Rng;
use crate::metrics::Quota;

/// The table of events, by month.
pub const TABLE: &str = "events";

/// The most that the data of an event may be, written without blanks.
const DATA_MAX: usize = 8 * 1024;

/// How deep objects and arrays may lie in each other.
const DEPTH_MAX: usize = 16;

/// Events at once.
const BATCH_MAX: usize = 100;

/// How old an id may be that a caller made: as long as one goes on trying to send.
const ID_AGE: TimeDelta = TimeDelta::days(1);

/// How far a caller's clock may be ahead.
const ID_AHEAD: TimeDelta = TimeDelta::minutes(5);

/// What happened, by a name: 1 to 100 of `a-z`, `0-9`, `_`, `.`, `:` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 100, pattern = "^[a-z0-9_.:-]{1,100}$",
    example = "report.created")]
pub(super) struct EventType(String);

impl EventType {
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl TryFrom<String> for EventType {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let plain = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b':' | b'-');
        let fits = (1..=100).contains(&raw.len()) && raw.bytes().all(plain);
        fits.then_some(Self(raw))
            .ok_or("must be 1 to 100 of a-z, 0-9, _, ., : and -")
    }
}

/// What else is to be known of it: an object of at most 8 KiB, written without blanks, and 16 levels.
#[derive(Clone, Debug, PartialEq, Deserialize, ToSchema)]
#[serde(try_from = "Map<String, Value>")]
#[schema(value_type = Object, example = json!({ "report": 7, "pages": 12 }))]
pub(super) struct EventData(Measured);

#[derive(Clone, Debug, PartialEq)]
struct Measured {
    fields: Map<String, Value>,
    /// The length as compact JSON.
    length: usize,
}

impl EventData {
    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0.fields)
    }
}

impl Default for EventData {
    fn default() -> Self {
        Self(Measured {
            fields: Map::new(),
            length: "{}".len(),
        })
    }
}

impl TryFrom<Map<String, Value>> for EventData {
    type Error = &'static str;

    fn try_from(raw: Map<String, Value>) -> Result<Self, &'static str> {
        if !raw.values().all(|value| fits(value, DEPTH_MAX - 1)) {
            return Err("must be at most 16 levels deep");
        }
        let length = serde_json::to_vec(&raw).map_or(usize::MAX, |text| text.len());
        (length <= DATA_MAX)
            .then_some(Self(Measured {
                fields: raw,
                length,
            }))
            .ok_or("must be at most 8 KiB")
    }
}

/// Whether a value has at most so many levels.
fn fits(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| fits(item, levels - 1)),
        Value::Object(fields) => levels > 0 && fields.values().all(|it| fits(it, levels - 1)),
        _ => true,
    }
}

/// An event that is told.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEvent {
    /// A `UUIDv7` (RFC 9562) made by the caller within the last day, which makes it safe to send the
    /// event again when no answer came. Its time becomes the event's. Without one we make it.
    pub id: Option<Uuid>,
    /// What happened.
    pub r#type: EventType,
    /// What else is to be known of it.
    #[serde(default)]
    pub data: EventData,
}

impl NewEvent {
    /// The bytes that count towards the quota.
    pub(super) fn bytes(&self) -> usize {
        self.r#type.0.len() + self.data.0.length
    }
}

/// Events and bytes that an account stored in a month, or may store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Events.
    pub events: u64,
    /// The bytes of their types and data.
    pub bytes: u64,
}

impl Volume {
    /// Quota of a plan for a month.
    pub(super) fn of(tier: &TierConfig) -> Self {
        Self {
            events: tier.events.unwrap_or(u64::MAX),
            bytes: tier.event_bytes.unwrap_or(u64::MAX),
        }
    }

    /// The quota that has no room for `more`; `None` when there is room.
    pub(super) fn exceeded_by(self, stored: Self, more: Self) -> Option<Quota> {
        if stored.events.saturating_add(more.events) > self.events {
            Some(Quota::Events)
        } else if stored.bytes.saturating_add(more.bytes) > self.bytes {
            Some(Quota::EventBytes)
        } else {
            None
        }
    }
}

/// Events that are told together: all of them are stored, or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEvents {
    /// The events.
    pub events: Batch,
}

/// 1 to 100 events.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "Vec<NewEvent>")]
#[schema(value_type = Vec<NewEvent>, min_items = 1, max_items = 100)]
pub(super) struct Batch(pub Vec<NewEvent>);

impl TryFrom<Vec<NewEvent>> for Batch {
    type Error = &'static str;

    fn try_from(raw: Vec<NewEvent>) -> Result<Self, &'static str> {
        (1..=BATCH_MAX)
            .contains(&raw.len())
            .then_some(Self(raw))
            .ok_or("must be 1 to 100 events")
    }
}

/// An event that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct StoredEvent {
    /// Its id.
    pub id: EventId,
    /// Its time, which is that of its id.
    #[schema(example = "2026-03-14T09:26:53.123Z")]
    pub created_at: DateTime<Utc>,
}

/// Events that are stored, in the order in which they were told.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct StoredEvents {
    /// The events.
    pub events: Vec<StoredEvent>,
}

impl StoredEvent {
    /// The event with the caller's id, or with a new one; `None` when the caller's will not do.
    pub(super) fn identify(given: Option<Uuid>, now: DateTime<Utc>, rng: &Rng) -> Option<Self> {
        let Some(id) = given else {
            return Some(Self {
                id: EventId::new(now, rng),
                created_at: now.trunc_subsecs(3),
            });
        };
        let is_v7 = id.get_version() == Some(uuid::Version::SortRand)
            && id.get_variant() == uuid::Variant::RFC4122;
        let (seconds, nanos) = id.get_timestamp().filter(|_| is_v7)?.to_unix();
        let created_at = DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)?;
        let about_now = now - ID_AGE <= created_at && created_at <= now + ID_AHEAD;
        about_now.then_some(Self {
            id: EventId(id),
            created_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::uuid_v7;

    fn data(value: Value) -> Result<EventData, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_type_is_a_plain_name() {
        let parse = |raw: &str| EventType::try_from(raw.to_owned());
        for good in ["a", "report.created", "a-b_c:9", &"x".repeat(100)] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for wrong in ["", "A", "ä", "a b", "a/b", "a\n", &"x".repeat(101)] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn data_is_a_small_and_shallow_object() {
        assert!(data(json!({})).is_ok());
        for wrong in [json!([]), json!("x"), json!(null), json!(7)] {
            assert!(data(wrong).is_err());
        }
        // {"x":"…"} has eight bytes around the text.
        assert!(data(json!({ "x": "y".repeat(DATA_MAX - 8) })).is_ok());
        assert!(data(json!({ "x": "y".repeat(DATA_MAX - 7) })).is_err());
        let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "x": inner }));
        assert!(data(nested(16)).is_ok());
        assert!(data(nested(17)).is_err());
        let listed = (1..17).fold(json!([]), |inner, _| json!([inner]));
        assert!(data(json!({ "x": listed })).is_err());
    }

    #[test]
    fn the_quota_without_room_is_named() {
        let volume = |events, bytes| Volume { events, bytes };
        let quota = volume(10, 1_000);
        assert_eq!(quota.exceeded_by(volume(9, 999), volume(1, 1)), None);
        assert_eq!(
            quota.exceeded_by(volume(9, 0), volume(2, 2)),
            Some(Quota::Events)
        );
        assert_eq!(
            quota.exceeded_by(volume(0, 999), volume(1, 2)),
            Some(Quota::EventBytes)
        );
        let unlimited = volume(u64::MAX, u64::MAX);
        assert_eq!(unlimited.exceeded_by(unlimited, volume(1, 1)), None);
    }

    #[test]
    fn the_bytes_of_an_event_are_its_type_and_its_compact_data() {
        let event = |value| serde_json::from_value::<NewEvent>(value).expect("it is good");
        assert_eq!(event(json!({ "type": "ab" })).bytes(), 4);
        assert_eq!(event(json!({ "type": "ab", "data": {} })).bytes(), 4);
        let data = json!({ "x": "grüße", "y": [1, 2] });
        let length = r#"{"x":"grüße","y":[1,2]}"#.len();
        assert_eq!(
            event(json!({ "type": "ab", "data": data })).bytes(),
            2 + length
        );
    }

    #[test]
    fn a_batch_has_1_to_100_events() {
        let batch = |count: usize| {
            let events = vec![json!({ "type": "x" }); count];
            serde_json::from_value::<NewEvents>(json!({ "events": events })).is_ok()
        };
        assert!(!batch(0) && batch(1) && batch(100) && !batch(101));
    }

    #[test]
    fn an_id_is_a_uuid_v7_of_about_now() {
        let now: DateTime<Utc> = "2026-03-14T09:26:53.123456Z".parse().expect("it is a time");
        let rng = Rng::seeded(7);
        let ours = StoredEvent::identify(None, now, &rng).expect("it is made");
        assert_eq!(
            ours.created_at.to_rfc3339(),
            "2026-03-14T09:26:53.123+00:00"
        );
        assert_eq!(
            StoredEvent::identify(Some(ours.id.0), now, &rng),
            Some(ours),
            "ours would do as theirs"
        );
        let at = |time| StoredEvent::identify(Some(uuid_v7(time, &rng)), now, &rng);
        for good in [
            TimeDelta::zero(),
            TimeDelta::hours(-23),
            TimeDelta::minutes(4),
        ] {
            assert!(at(now + good).is_some(), "{good}");
        }
        for wrong in [
            TimeDelta::hours(-25),
            TimeDelta::minutes(6),
            TimeDelta::days(-3_000),
        ] {
            assert!(at(now + wrong).is_none(), "{wrong}");
        }
        let v4 = uuid::Builder::from_random_bytes(rng.bytes()).into_uuid();
        for wrong in [v4, Uuid::nil(), Uuid::max()] {
            assert_eq!(StoredEvent::identify(Some(wrong), now, &rng), None);
        }
    }
}
