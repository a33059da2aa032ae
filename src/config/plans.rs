//! The settings of plans: what each costs and how much of the service it is good for.

use std::time::Duration;

use super::reader::Reader;
use super::setting::{Flag, Setting, days};

/// What the plans cost and give.
#[derive(Clone, Debug)]
pub struct PlansConfig {
    /// `PLAN_CURRENCY`: what prices are in.
    pub currency: Currency,
    /// `PLAN_PAST_DUE_GRACE`: how long a plan goes on when its renewal is not paid or not told.
    pub past_due_grace: Duration,
    /// What everybody has.
    pub free: TierConfig,
    /// The first paid plan.
    pub pro: TierConfig,
    /// The largest.
    pub enterprise: TierConfig,
}

/// What one plan costs and gives; `X` stands for `FREE`, `PRO` or `ENTERPRISE`.
#[derive(Clone, Debug)]
pub struct TierConfig {
    /// `PLAN_X_RATE`: requests a minute.
    pub rate: u32,
    /// `PLAN_X_QUOTA` and `PLAN_X_QUOTA_HARD`: requests a month; `None` when they are not counted
    /// against anything.
    pub quota: Option<Quota>,
    /// `PLAN_X_EVENTS`: events stored in a month; `None` is unlimited.
    pub events: Option<u64>,
    /// `PLAN_X_EVENT_MIB`: their bytes; `None` is unlimited.
    pub event_bytes: Option<u64>,
    /// `PLAN_X_PRICE`: for a month, in minor units of the currency; the free plan has none.
    pub price: u32,
    /// `PLAN_X_PRICE_ID`: the payment provider's name for that price, where the plan can be bought.
    pub price_id: Option<PriceId>,
}

/// Requests a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many.
    pub requests: u32,
    /// Whether those beyond are refused; otherwise they are only told of.
    pub hard: bool,
}

/// A currency by its three letters (ISO 4217), in upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Currency(String);

impl Currency {
    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for Currency {
    fn parse(text: &str) -> Result<Self, String> {
        let fits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
        fits.then(|| Self(text.to_ascii_uppercase()))
            .ok_or_else(|| "must be the three letters of a currency, such as USD".to_owned())
    }
}

/// The payment provider's name for a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceId(String);

impl PriceId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for PriceId {
    fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("price_").unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let fits = (1..=200).contains(&rest.len()) && rest.bytes().all(plain);
        fits.then(|| Self(text.to_owned()))
            .ok_or_else(|| "must be the id of a price, such as price_1Qx2".to_owned())
    }
}

/// The most that a plan may allow a minute and a month, and cost.
const MOST_RATE: u32 = 1_000_000;
const MOST_QUOTA: u32 = 4_000_000_000;
const MOST_MIB: u32 = 1_000_000;
const MOST_PRICE: u32 = 100_000_000;

impl Reader<'_> {
    pub(super) fn plans(&mut self) -> Option<PlansConfig> {
        let currency = self.or("PLAN_CURRENCY", Currency("USD".to_owned()));
        let past_due_grace = self.span("PLAN_PAST_DUE_GRACE", days(7));
        let rate = self.within("PLAN_FREE_RATE", 100, 1..=MOST_RATE);
        let quota = self.within("PLAN_FREE_QUOTA", 10_000, 0..=MOST_QUOTA);
        let hard = self.or("PLAN_FREE_QUOTA_HARD", Flag(true));
        let events = self.within("PLAN_FREE_EVENTS", 10_000, 0..=MOST_QUOTA);
        let event_mib = self.within("PLAN_FREE_EVENT_MIB", 10, 0..=MOST_MIB);
        let volume = events.zip(event_mib);
        let free = tier(rate, quota, hard, volume, Some(0), None);
        let rate = self.within("PLAN_PRO_RATE", 1_000, 1..=MOST_RATE);
        let quota = self.within("PLAN_PRO_QUOTA", 1_000_000, 0..=MOST_QUOTA);
        let hard = self.or("PLAN_PRO_QUOTA_HARD", Flag(false));
        let events = self.within("PLAN_PRO_EVENTS", 1_000_000, 0..=MOST_QUOTA);
        let event_mib = self.within("PLAN_PRO_EVENT_MIB", 1_024, 0..=MOST_MIB);
        let volume = events.zip(event_mib);
        let price = self.within("PLAN_PRO_PRICE", 2_900, 0..=MOST_PRICE);
        let pro_price_id = self.optional::<PriceId>("PLAN_PRO_PRICE_ID");
        let pro = tier(rate, quota, hard, volume, price, pro_price_id.clone());
        let rate = self.within("PLAN_ENTERPRISE_RATE", 10_000, 1..=MOST_RATE);
        let quota = self.within("PLAN_ENTERPRISE_QUOTA", 0, 0..=MOST_QUOTA);
        let hard = self.or("PLAN_ENTERPRISE_QUOTA_HARD", Flag(false));
        let events = self.within("PLAN_ENTERPRISE_EVENTS", 0, 0..=MOST_QUOTA);
        let event_mib = self.within("PLAN_ENTERPRISE_EVENT_MIB", 0, 0..=MOST_MIB);
        let volume = events.zip(event_mib);
        let price = self.within("PLAN_ENTERPRISE_PRICE", 29_900, 0..=MOST_PRICE);
        let price_id = self.optional::<PriceId>("PLAN_ENTERPRISE_PRICE_ID");
        if price_id.is_some() && price_id == pro_price_id {
            self.fault("PLAN_ENTERPRISE_PRICE_ID", "is the price of another plan");
        }
        let enterprise = tier(rate, quota, hard, volume, price, price_id);
        Some(PlansConfig {
            currency: currency?,
            past_due_grace: past_due_grace?,
            free: free?,
            pro: pro?,
            enterprise: enterprise?,
        })
    }
}

/// A plan's settings, once all of them are read.
fn tier(
    rate: Option<u32>,
    quota: Option<u32>,
    hard: Option<Flag>,
    volume: Option<(u32, u32)>,
    price: Option<u32>,
    price_id: Option<PriceId>,
) -> Option<TierConfig> {
    let (requests, hard) = (quota?, hard?.0);
    let (events, event_mib) = volume?;
    Some(TierConfig {
        rate: rate?,
        quota: (requests > 0).then_some(Quota { requests, hard }),
        events: (events > 0).then_some(events.into()),
        event_bytes: (event_mib > 0).then_some(u64::from(event_mib) * 1024 * 1024),
        price: price?,
        price_id,
    })
}
