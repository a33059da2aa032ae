//! Plans: what each costs and includes.

use std::time::Duration;

use super::files::FileLimits;
use settings::{CurrencyCode, DurationOrZero, List, Mebibytes, Setting, Unlimited};

settings::settings! {
    "Plans": "What each plan includes, besides what `src/plans/model.rs` lists. `GET /pricing` shows it.", PlanSettings {
        /// Currency of prices (ISO 4217).
        PLAN_CURRENCY => currency: CurrencyCode = "USD";
        /// How long a plan goes on when its renewal is not paid, or not reported.
        PLAN_PAST_DUE_GRACE => past_due_grace: DurationOrZero = "7d";
        /// The free plan: requests a minute.
        PLAN_FREE_RATE => free_rate: u32 = 100, within(1..=1000000);
        /// Requests a month; `0` is without limit.
        PLAN_FREE_QUOTA => free_quota: Unlimited<u32> = 10000, within(0..=4000000000);
        /// Whether requests beyond the quota are refused; otherwise they are only reported.
        PLAN_FREE_QUOTA_HARD => free_quota_hard: bool = true;
        /// Events stored in a month; `0` is without limit. This quota and the next one are always
        /// hard.
        PLAN_FREE_EVENTS => free_events: Unlimited<u64> = 10000, within(0..=4000000000);
        /// Their size in MiB: types, and data as compact JSON; `0` is without limit.
        PLAN_FREE_EVENT_MIB => free_event_bytes: Unlimited<Mebibytes<u64>> = 10, within(0..=1000000);
        /// Organisations that a user on this plan may own; `0` is without limit.
        PLAN_FREE_ORGANISATIONS => free_organisations: Unlimited<u32> = 3, within(0..=1000000);
        /// Members of an organisation on this plan; `0` is without limit.
        PLAN_FREE_SEATS => free_seats: Unlimited<u32> = 5, within(0..=1000000);
        /// Secrets that an account on this plan may store; `0` is without limit.
        PLAN_FREE_SECRETS => free_secrets: Unlimited<u32> = 10, within(0..=1000000);
        /// MiB of one file.
        PLAN_FREE_FILE_MIB => free_file_size: Mebibytes<u64> = 25, within(1..=5120);
        /// Files, uploads in progress included; `0` is without limit.
        PLAN_FREE_FILES => free_files: Unlimited<u32> = 100, within(0..=100000000);
        /// MiB of all files; `0` is without limit.
        PLAN_FREE_STORAGE_MIB => free_storage: Unlimited<Mebibytes<u64>> = 250, within(0..=1000000000);
        /// The pro plan: for a month, in minor units of the currency.
        PLAN_PRO_PRICE => pro_price: u32 = 2900, within(0..=100000000);
        /// The payment provider's name for that price: `price_…`.
        PLAN_PRO_PRICE_ID => pro_price_id: Option<PriceId>;
        /// For a year, in minor units of the currency, where it can be paid by the year.
        PLAN_PRO_YEAR_PRICE => pro_year_price: Option<u32>, within(0..=1000000000);
        /// The payment provider's name for that price.
        PLAN_PRO_YEAR_PRICE_ID => pro_year_price_id: Option<PriceId>;
        /// Prices that are no longer for sale, and that subscriptions still have.
        PLAN_PRO_FORMER_PRICE_IDS => pro_former_price_ids: List<PriceId>;
        /// Metered price of requests, which checkout adds to the plan. Requires `STRIPE_METER_ID`.
        PLAN_PRO_USAGE_PRICE_ID => pro_usage_price_id: Option<PriceId>;
        /// The pro plan: requests a minute.
        PLAN_PRO_RATE => pro_rate: u32 = 1000, within(1..=1000000);
        /// Requests a month; `0` is without limit.
        PLAN_PRO_QUOTA => pro_quota: Unlimited<u32> = 1000000, within(0..=4000000000);
        /// Whether requests beyond the quota are refused; otherwise they are only reported.
        PLAN_PRO_QUOTA_HARD => pro_quota_hard: bool = false;
        /// Events stored in a month; `0` is without limit. This quota and the next one are always
        /// hard.
        PLAN_PRO_EVENTS => pro_events: Unlimited<u64> = 1000000, within(0..=4000000000);
        /// Their size in MiB: types, and data as compact JSON; `0` is without limit.
        PLAN_PRO_EVENT_MIB => pro_event_bytes: Unlimited<Mebibytes<u64>> = 1024, within(0..=1000000);
        /// Organisations that a user on this plan may own; `0` is without limit.
        PLAN_PRO_ORGANISATIONS => pro_organisations: Unlimited<u32> = 10, within(0..=1000000);
        /// Members of an organisation on this plan; `0` is without limit.
        PLAN_PRO_SEATS => pro_seats: Unlimited<u32> = 25, within(0..=1000000);
        /// Secrets that an account on this plan may store; `0` is without limit.
        PLAN_PRO_SECRETS => pro_secrets: Unlimited<u32> = 100, within(0..=1000000);
        /// MiB of one file.
        PLAN_PRO_FILE_MIB => pro_file_size: Mebibytes<u64> = 250, within(1..=5120);
        /// Files, uploads in progress included; `0` is without limit.
        PLAN_PRO_FILES => pro_files: Unlimited<u32> = 10000, within(0..=100000000);
        /// MiB of all files; `0` is without limit.
        PLAN_PRO_STORAGE_MIB => pro_storage: Unlimited<Mebibytes<u64>> = 10240, within(0..=1000000000);
        /// The enterprise plan: for a month, in minor units of the currency.
        PLAN_ENTERPRISE_PRICE => enterprise_price: u32 = 29900, within(0..=100000000);
        /// The payment provider's name for that price: `price_…`.
        PLAN_ENTERPRISE_PRICE_ID => enterprise_price_id: Option<PriceId>;
        /// For a year, in minor units of the currency, where it can be paid by the year.
        PLAN_ENTERPRISE_YEAR_PRICE => enterprise_year_price: Option<u32>, within(0..=1000000000);
        /// The payment provider's name for that price.
        PLAN_ENTERPRISE_YEAR_PRICE_ID => enterprise_year_price_id: Option<PriceId>;
        /// Prices that are no longer for sale, and that subscriptions still have.
        PLAN_ENTERPRISE_FORMER_PRICE_IDS => enterprise_former_price_ids: List<PriceId>;
        /// Metered price of requests, which checkout adds to the plan. Requires `STRIPE_METER_ID`.
        PLAN_ENTERPRISE_USAGE_PRICE_ID => enterprise_usage_price_id: Option<PriceId>;
        /// The enterprise plan: requests a minute.
        PLAN_ENTERPRISE_RATE => enterprise_rate: u32 = 10000, within(1..=1000000);
        /// Requests a month; `0` is without limit.
        PLAN_ENTERPRISE_QUOTA => enterprise_quota: Unlimited<u32> = 0, within(0..=4000000000);
        /// Whether requests beyond the quota are refused; otherwise they are only reported.
        PLAN_ENTERPRISE_QUOTA_HARD => enterprise_quota_hard: bool = false;
        /// Events stored in a month; `0` is without limit. This quota and the next one are always
        /// hard.
        PLAN_ENTERPRISE_EVENTS => enterprise_events: Unlimited<u64> = 0, within(0..=4000000000);
        /// Their size in MiB: types, and data as compact JSON; `0` is without limit.
        PLAN_ENTERPRISE_EVENT_MIB => enterprise_event_bytes: Unlimited<Mebibytes<u64>> = 0, within(0..=1000000);
        /// Organisations that a user on this plan may own; `0` is without limit.
        PLAN_ENTERPRISE_ORGANISATIONS => enterprise_organisations: Unlimited<u32> = 0, within(0..=1000000);
        /// Members of an organisation on this plan; `0` is without limit.
        PLAN_ENTERPRISE_SEATS => enterprise_seats: Unlimited<u32> = 0, within(0..=1000000);
        /// Secrets that an account on this plan may store; `0` is without limit.
        PLAN_ENTERPRISE_SECRETS => enterprise_secrets: Unlimited<u32> = 1000, within(0..=1000000);
        /// MiB of one file.
        PLAN_ENTERPRISE_FILE_MIB => enterprise_file_size: Mebibytes<u64> = 5120, within(1..=5120);
        /// Files, uploads in progress included; `0` is without limit.
        PLAN_ENTERPRISE_FILES => enterprise_files: Unlimited<u32> = 0, within(0..=100000000);
        /// MiB of all files; `0` is without limit.
        PLAN_ENTERPRISE_STORAGE_MIB => enterprise_storage: Unlimited<Mebibytes<u64>> = 0, within(0..=1000000000);
    }
}

#[derive(Clone, Debug)]
pub struct PlansConfig {
    /// ISO 4217, in upper case.
    pub currency: String,
    pub past_due_grace: Duration,
    pub free: TierConfig,
    pub pro: TierConfig,
    pub enterprise: TierConfig,
}

impl PlansConfig {
    /// Bounds the size of one file in every plan.
    pub fn limit_file_size(&mut self, most: u64) {
        for tier in [&mut self.free, &mut self.pro, &mut self.enterprise] {
            tier.files.size = tier.files.size.min(most);
        }
    }
}

#[derive(Clone, Debug)]
pub struct TierConfig {
    /// Requests a minute.
    pub rate: u32,
    /// `None` is unlimited.
    pub quota: Option<Quota>,
    /// Events stored in a month; `None` is unlimited.
    pub events: Option<u64>,
    /// Bytes of events stored in a month; `None` is unlimited.
    pub event_bytes: Option<u64>,
    /// Organisations that a user may own; `None` is unlimited.
    pub organisations: Option<u32>,
    /// Members of an organisation; `None` is unlimited.
    pub seats: Option<u32>,
    /// Secrets that an account may store; `None` is unlimited.
    pub secrets: Option<u32>,
    pub files: FileLimits,
    /// For a month, in minor units of the currency.
    pub price: u32,
    /// Id of the price at the payment provider, if the plan can be bought.
    pub price_id: Option<PriceId>,
    /// The price by the year, if there is one.
    pub year: Option<YearPrice>,
    /// Prices that subscriptions have and that are not for sale.
    pub former_price_ids: Vec<PriceId>,
    /// Price of requests by a meter, besides the plan.
    pub usage_price_id: Option<PriceId>,
}

/// Price for a year.
#[derive(Clone, Debug)]
pub struct YearPrice {
    /// In minor units of the currency.
    pub price: u32,
    pub price_id: PriceId,
}

/// Requests a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub requests: u32,
    /// Whether requests beyond the quota are rejected; otherwise they are only reported.
    pub hard: bool,
}

/// Id of a price at the payment provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceId(String);

impl PriceId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for PriceId {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("price_").unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let fits = (1..=200).contains(&rest.len()) && rest.bytes().all(plain);
        fits.then(|| Self(text.to_owned()))
            .ok_or_else(|| "must be the id of a price, such as price_1Qx2".to_owned())
    }
}

impl PlanSettings {
    pub(super) fn into_config(self) -> Option<PlansConfig> {
        let quota = |requests: Option<u32>, hard| requests.map(|requests| Quota { requests, hard });
        Some(PlansConfig {
            currency: self.currency?,
            past_due_grace: self.past_due_grace?,
            free: TierConfig {
                rate: self.free_rate?,
                quota: quota(self.free_quota?, self.free_quota_hard?),
                events: self.free_events?,
                event_bytes: self.free_event_bytes?,
                organisations: self.free_organisations?,
                seats: self.free_seats?,
                secrets: self.free_secrets?,
                files: FileLimits {
                    size: self.free_file_size?,
                    count: self.free_files?,
                    bytes: self.free_storage?,
                },
                price: 0,
                price_id: None,
                year: None,
                former_price_ids: Vec::new(),
                usage_price_id: None,
            },
            pro: TierConfig {
                rate: self.pro_rate?,
                quota: quota(self.pro_quota?, self.pro_quota_hard?),
                events: self.pro_events?,
                event_bytes: self.pro_event_bytes?,
                organisations: self.pro_organisations?,
                seats: self.pro_seats?,
                secrets: self.pro_secrets?,
                files: FileLimits {
                    size: self.pro_file_size?,
                    count: self.pro_files?,
                    bytes: self.pro_storage?,
                },
                price: self.pro_price?,
                price_id: self.pro_price_id?,
                year: self
                    .pro_year_price?
                    .zip(self.pro_year_price_id?)
                    .map(|(price, price_id)| YearPrice { price, price_id }),
                former_price_ids: self.pro_former_price_ids?,
                usage_price_id: self.pro_usage_price_id?,
            },
            enterprise: TierConfig {
                rate: self.enterprise_rate?,
                quota: quota(self.enterprise_quota?, self.enterprise_quota_hard?),
                events: self.enterprise_events?,
                event_bytes: self.enterprise_event_bytes?,
                organisations: self.enterprise_organisations?,
                seats: self.enterprise_seats?,
                secrets: self.enterprise_secrets?,
                files: FileLimits {
                    size: self.enterprise_file_size?,
                    count: self.enterprise_files?,
                    bytes: self.enterprise_storage?,
                },
                price: self.enterprise_price?,
                price_id: self.enterprise_price_id?,
                year: self
                    .enterprise_year_price?
                    .zip(self.enterprise_year_price_id?)
                    .map(|(price, price_id)| YearPrice { price, price_id }),
                former_price_ids: self.enterprise_former_price_ids?,
                usage_price_id: self.enterprise_usage_price_id?,
            },
        })
    }
}
