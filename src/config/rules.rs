//! Rules between settings.

use std::net::SocketAddr;

use rate_limit::Rate;
use settings::{Reader, Rule};

use super::{Key32, PriceId, Settings};

pub(super) const RULES: [Rule<Settings>; 18] = [
    Rule {
        variable: "PASSWORD_MEMORY_KIB",
        message: "must be 19456 with 2 `PASSWORD_ITERATIONS`, or as much: 47104 with 1, 12288 with 3, \
                  9216 with 4, 8192 with 5",
        production: true,
        broken: |all| all.password.is_cheap(),
    },
    Rule {
        variable: "TOKEN_SECRET",
        message: "must not be one of `JWT_SIGNING_KEYS`",
        production: true,
        broken: |all| {
            let auth = &all.auth;
            share_a_key(auth.token_secrets.as_ref(), auth.signing_keys.as_ref())
        },
    },
    Rule {
        variable: "ENCRYPTION_KEYS",
        message: "must not share a key with `JWT_SIGNING_KEYS` or `TOKEN_SECRET`",
        production: true,
        broken: |all| {
            let auth = &all.auth;
            let others = [auth.signing_keys.as_ref(), auth.token_secrets.as_ref()];
            others
                .into_iter()
                .any(|others| share_a_key(all.encryption.keys.as_ref(), others))
        },
    },
    Rule {
        variable: "COUNTRY_HEADER",
        message: "is required with `DENY_COUNTRIES`",
        production: false,
        broken: |all| denies_countries(all) && all.deny.country_header == Some(None),
    },
    Rule {
        variable: "TRUSTED_PROXIES",
        message: "is required with `DENY_COUNTRIES`: no other peer's header is believed",
        production: false,
        broken: |all| {
            let proxies = all.http.trusted_proxies.as_ref();
            denies_countries(all) && proxies.is_some_and(Vec::is_empty)
        },
    },
    Rule {
        variable: "PLAN_ENTERPRISE_PRICE_ID",
        message: "must not be a price of another plan; no price may be named twice",
        production: false,
        broken: |all| {
            let mut ids: Vec<_> = price_ids(all).collect();
            let count = ids.len();
            ids.sort_unstable();
            ids.dedup();
            ids.len() < count
        },
    },
    Rule {
        variable: "PLAN_PRO_YEAR_PRICE_ID",
        message: "is required with a price by the year, and the other way round; as for `PLAN_ENTERPRISE_YEAR_PRICE_ID`",
        production: false,
        broken: |all| {
            let plans = &all.plans;
            let is_half = |price: &Option<Option<u32>>, id: &Option<Option<PriceId>>| {
                price.is_some_and(|price| price.is_some())
                    != id.as_ref().is_some_and(Option::is_some)
            };
            is_half(&plans.pro_year_price, &plans.pro_year_price_id)
                || is_half(
                    &plans.enterprise_year_price,
                    &plans.enterprise_year_price_id,
                )
        },
    },
    Rule {
        variable: "STRIPE_WEBHOOK_SECRETS",
        message: "is required with `STRIPE_SECRET_KEY`: without it every webhook is refused",
        production: false,
        broken: |all| {
            let has_key = matches!(all.billing.secret_key, Some(Some(_)));
            has_key
                && all
                    .billing
                    .webhook_secrets
                    .as_ref()
                    .is_some_and(Vec::is_empty)
        },
    },
    Rule {
        variable: "STRIPE_METER_ID",
        message: "is required with `STRIPE_METER_EVENT_NAME` and `PLAN_…_USAGE_PRICE_ID`, and the other way round the name",
        production: false,
        broken: |all| {
            let has_id = matches!(all.billing.meter_id, Some(Some(_)));
            let has_name = matches!(all.billing.meter_event_name, Some(Some(_)));
            let plans = &all.plans;
            let mut prices =
                [&plans.pro_usage_price_id, &plans.enterprise_usage_price_id].into_iter();
            has_id != has_name || !has_id && prices.any(|price| matches!(price, Some(Some(_))))
        },
    },
    Rule {
        variable: "STORAGE_BUCKET",
        message: "is required with `STORAGE_ENDPOINT`, `STORAGE_PUBLIC_ENDPOINT` and `STORAGE_ACCESS_KEY_ID`",
        production: false,
        broken: |all| all.storage.lacks_bucket(),
    },
    Rule {
        variable: "STORAGE_SECRET_ACCESS_KEY",
        message: "is required with `STORAGE_ACCESS_KEY_ID`, and the other way round",
        production: false,
        broken: |all| all.storage.has_half_a_key(),
    },
    Rule {
        variable: "STORAGE_PUBLIC_ENDPOINT",
        message: "is required if `STORAGE_ENDPOINT` is not `https`: presigned URLs permit what they are signed for",
        production: true,
        broken: |all| all.storage.exposes_urls(),
    },
    Rule {
        variable: "STORAGE_COPY_BUCKET",
        message: "is required with `STORAGE_COPY_ENDPOINT` and `STORAGE_COPY_ACCESS_KEY_ID`",
        production: false,
        broken: |all| all.storage_copy.lacks_bucket(),
    },
    Rule {
        variable: "STORAGE_COPY_BUCKET",
        message: "must not be `STORAGE_BUCKET` at the same endpoint: a copy there is lost with it",
        production: false,
        broken: |all| all.storage_copy.is_original(&all.storage),
    },
    Rule {
        variable: "STORAGE_COPY_SECRET_ACCESS_KEY",
        message: "is required with `STORAGE_COPY_ACCESS_KEY_ID`, and the other way round",
        production: false,
        broken: |all| all.storage_copy.has_half_a_key(),
    },
    Rule {
        variable: "STORAGE_BUCKET",
        message: "is required with `STORAGE_COPY_BUCKET`: there is nothing to copy",
        production: false,
        broken: |all| all.storage_copy.lacks_original(&all.storage),
    },
    Rule {
        variable: "TERMS_VERSION",
        message: "is required with `TERMS_URL`, and the other way round; as for `PRIVACY_NOTICE_VERSION`",
        production: false,
        broken: |all| all.privacy.has_half_a_document(),
    },
    Rule {
        variable: "METRICS_ADDR",
        message: "must not be `BIND_ADDR`: only one listener can have it",
        production: false,
        broken: |all| {
            let metrics = all.telemetry.metrics_addr.flatten();
            metrics.zip(all.http.bind_addr).is_some_and(collide)
        },
    },
];

/// Checks [`RULES`], and that the guard allows what the other limits do.
pub(super) fn check(all: &Settings, reader: &mut Reader<'_>) {
    for rule in &RULES {
        rule.check(all, reader);
    }
    all.database.check(reader);
    all.redis.check(reader);
    let limits = &all.limits;
    let per_minute = |rate: Option<u32>| rate.map(Rate::per_minute);
    let behind = [
        ("LIMIT_ANONYMOUS", limits.anonymous),
        ("LIMIT_AUTH", limits.auth),
        ("LIMIT_SESSION", limits.session),
        ("PLAN_FREE_RATE", per_minute(all.plans.free_rate)),
        ("PLAN_PRO_RATE", per_minute(all.plans.pro_rate)),
        (
            "PLAN_ENTERPRISE_RATE",
            per_minute(all.plans.enterprise_rate),
        ),
    ];
    for (name, rate) in behind {
        let Some((guard, rate)) = limits.guard.zip(rate) else {
            continue;
        };
        if !guard.covers(rate) {
            let message =
                format!("must let through what {name} does, {rate}, at once and in the long run");
            reader.fault("LIMIT_GUARD", message);
        }
    }
}

/// Every price of every plan.
fn price_ids(all: &Settings) -> impl Iterator<Item = &str> {
    let plans = &all.plans;
    let single = [
        &plans.pro_price_id,
        &plans.pro_year_price_id,
        &plans.enterprise_price_id,
        &plans.enterprise_year_price_id,
    ];
    let former = [
        &plans.pro_former_price_ids,
        &plans.enterprise_former_price_ids,
    ];
    let single = single.into_iter().flatten().flatten();
    single
        .chain(former.into_iter().flatten().flatten())
        .map(PriceId::as_str)
}

fn share_a_key(some: Option<&Vec<Key32>>, others: Option<&Vec<Key32>>) -> bool {
    let (mut some, others) = (
        some.into_iter().flatten(),
        others.map_or(&[][..], Vec::as_slice),
    );
    some.any(|key| others.iter().any(|other| other.expose() == key.expose()))
}

fn denies_countries(all: &Settings) -> bool {
    all.deny
        .countries
        .as_ref()
        .is_some_and(|list| !list.is_empty())
}

/// Returns whether two listeners cannot share the addresses. Port 0 is any free one.
fn collide((a, b): (SocketAddr, SocketAddr)) -> bool {
    let is_any = a.ip().is_unspecified() || b.ip().is_unspecified();
    let overlap = a.ip() == b.ip() || is_any && a.is_ipv4() == b.is_ipv4();
    a.port() == b.port() && a.port() != 0 && overlap
}
