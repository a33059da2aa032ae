//! Configurations that are accepted and rejected.

mod production;

use std::collections::HashMap;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::{Config, Faults, MfaRequired, Settings};

fn read(overrides: &[(&str, &str)]) -> Result<Config, Faults> {
    let good = [
        ("APP_ENV", "production"),
        ("PUBLIC_URL", "https://api.example.com"),
        ("DATABASE_URL", "postgres://app:8kX2pQ@db/app"),
        (
            "JWT_SIGNING_KEYS",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        ),
        (
            "TOKEN_SECRET",
            "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8",
        ),
        (
            "ENCRYPTION_KEYS",
            "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8",
        ),
        ("SMTP_URL", "smtps://user:8kX2pQ@mail.example.com"),
        ("MAIL_FROM", "Acme <hello@example.com>"),
    ];
    let all = good.iter().chain(overrides);
    let variables = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::read(&variables.collect())
}

fn faulty(overrides: &[(&str, &str)]) -> Vec<String> {
    let faults = read(overrides).expect_err("the configuration is refused").0;
    faults.into_iter().map(|fault| fault.variable).collect()
}

#[test]
fn a_good_production_configuration_is_read() {
    let config = read(&[("TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")]).expect("it is good");
    assert_eq!(config.http.allowed_hosts, ["api.example.com"]);
    assert_eq!(config.http.trusted_proxies.len(), 2);
    assert_eq!(config.auth.issuer, "https://api.example.com");
    assert!(config.telemetry.json && !config.docs_enabled);
}

#[test]
fn the_bounds_of_clients_and_the_header_that_names_them_are_read() {
    let http = read(&[]).expect("it is good").http;
    assert_eq!(http.client_ip_header, "x-forwarded-for");
    assert!(http.idle_timeout > Duration::from_mins(1));
    assert!(http.requires_https);
    let development = read(&[("APP_ENV", "development")]).expect("it is good");
    assert!(!development.http.requires_https);
    let http = read(&[
        ("CLIENT_IP_HEADER", "CF-Connecting-IP"),
        ("HTTP_BODY_MEMORY_MIB", "128"),
    ]);
    let http = http.expect("it is good").http;
    assert_eq!(http.client_ip_header, "cf-connecting-ip");
    assert_eq!(http.body_memory, 128 * 1024 * 1024);
    let wrong = faulty(&[
        ("CLIENT_IP_HEADER", "x forwarded for"),
        ("HTTP_BODY_MEMORY_MIB", "1"),
        ("HTTP_IDLE_TIMEOUT", "0"),
        ("HTTP_MAX_BODIES_PER_CLIENT", "0"),
        ("HTTP_MAX_CONNECTIONS_PER_CLIENT", "0"),
    ]);
    assert_eq!(wrong.len(), 5, "{wrong:?}");
}

#[test]
fn all_faults_are_reported_at_once_and_no_value_is_shown() {
    let faults = read(&[
        ("DATABASE_URL", "hunter2-database"),
        ("TOKEN_SECRET", "hunter2-secret"),
        ("SMTP_URL", ""),
        ("ALLOWED_ORIGINS", "https://ok.example.com,*"),
        ("DB_POOL_SIZE", "0"),
        ("ACCESS_TOKEN_TTL", "0"),
        ("LOG_LEVEL", "loud=maybe"),
    ])
    .expect_err("the configuration is refused");
    let names: Vec<_> = faults
        .0
        .iter()
        .map(|fault| fault.variable.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "ALLOWED_ORIGINS",
            "DATABASE_URL",
            "DB_POOL_SIZE",
            "TOKEN_SECRET",
            "ACCESS_TOKEN_TTL",
            "SMTP_URL",
            "LOG_LEVEL"
        ]
    );
    assert!(!faults.to_string().contains("hunter2"));
}

#[test]
fn production_refuses_what_development_allows() {
    let unsafe_here = [
        ("PUBLIC_URL", "http://api.example.com"),
        ("DOCS_ENABLED", "true"),
        (
            "TOKEN_SECRET",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ),
        ("ALLOWED_ORIGINS", "http://localhost:3000"),
    ];
    assert_eq!(
        faulty(&unsafe_here),
        [
            "DOCS_ENABLED",
            "PUBLIC_URL",
            "ALLOWED_ORIGINS",
            "TOKEN_SECRET"
        ]
    );
    let development = [&[("APP_ENV", "development")], &unsafe_here[..]].concat();
    assert!(read(&development).is_ok());
}

#[test]
fn a_secret_can_come_from_a_file_but_not_from_two_places() {
    let dir = std::env::temp_dir().join(format!("config-test-{}", std::process::id()));
    std::fs::write(&dir, "postgres://app:8kX2pQ@db/app\n").expect("the file is written");
    let path = dir.to_str().expect("the path is text");
    let config = read(&[("DATABASE_URL", ""), ("DATABASE_URL_FILE", path)]);
    assert_eq!(
        config.expect("it is good").database.url.expose_secret(),
        "postgres://app:8kX2pQ@db/app"
    );
    assert_eq!(faulty(&[("DATABASE_URL_FILE", path)]), ["DATABASE_URL"]);
    std::fs::remove_file(&dir).expect("the file is removed");
    assert_eq!(
        faulty(&[("DATABASE_URL", ""), ("DATABASE_URL_FILE", path)]),
        ["DATABASE_URL_FILE"]
    );
}

#[test]
fn unsafe_and_missing_settings_are_reported_together() {
    let all = [
        ("APP_ENV", "prod"),
        ("PUBLIC_URL", "http://api.example.com"),
        (
            "DATABASE_URL",
            "postgres://app:postgres@db.example.com/app?sslmode=prefer",
        ),
        (
            "DATABASE_MIGRATION_URL",
            "postgres://owner@db.example.com/app?sslmode=verify-full",
        ),
        ("REDIS_URL", "redis://cache.example.com"),
        ("SMTP_URL", "smtp://mail.example.com"),
        ("MAIL_FROM", ""),
        ("TOKEN_SECRET", ""),
        ("DOCS_ENABLED", "yes"),
    ];
    assert_eq!(
        faulty(&all),
        [
            "APP_ENV",
            "DOCS_ENABLED",
            "PUBLIC_URL",
            "DATABASE_URL",
            "DATABASE_URL",
            "DATABASE_MIGRATION_URL",
            "REDIS_URL",
            "TOKEN_SECRET",
            "SMTP_URL",
            "MAIL_FROM"
        ]
    );
    let encrypted = [
        (
            "DATABASE_URL",
            "postgres://app:8kX2pQ@db.example.com/app?sslmode=verify-full",
        ),
        ("REDIS_URL", "rediss://:8kX2pQ@cache.example.com"),
        (
            "SMTP_URL",
            "smtp://user:8kX2pQ@mail.example.com:587?tls=required",
        ),
    ];
    assert!(read(&encrypted).is_ok());
}

#[test]
fn misspelt_variables_are_reported_and_those_of_other_programs_are_not() {
    let set = [
        ("DATABSE_URL", "x"),
        ("SESSION_IDLE_TTTL", "1h"),
        ("DB_POOL", "5"),
        ("log_level", "info"),
        ("PATH", "/bin"),
        ("HTTP_PROXY", "x"),
        ("HOSTNAME", "x"),
        ("MAIL_FROM_FILE", ""),
    ];
    let config = read(&set).expect("it is good");
    let names: Vec<_> = config
        .suspects
        .iter()
        .map(|suspect| suspect.variable.as_str())
        .collect();
    assert_eq!(
        names,
        ["DATABSE_URL", "DB_POOL", "SESSION_IDLE_TTTL", "log_level"]
    );
    assert!(config.suspects[0].message.contains("DATABASE_URL"));
}

/// The settings in the example: the name, the value, and whether the line is commented out.
fn example() -> Vec<(&'static str, &'static str, bool)> {
    let lines = include_str!("../../.env.production.example").lines();
    let setting = |line: &'static str| {
        let (name, value) = line.trim_start_matches('#').split_once('=')?;
        let is_name = name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        is_name.then_some((name, value, line.starts_with('#')))
    };
    lines.filter_map(setting).collect()
}

#[test]
fn the_example_names_every_setting_once_and_no_other() {
    let mut listed: Vec<_> = example().into_iter().map(|(name, _, _)| name).collect();
    listed.sort_unstable();
    let entries = Settings::SECTIONS
        .iter()
        .flat_map(|section| section.entries);
    let mut ours: Vec<_> = entries.map(|entry| entry.name).collect();
    ours.sort_unstable();
    assert_eq!(listed, ours);
}

#[test]
fn the_example_requires_what_is_required_and_its_defaults_are_the_defaults() {
    let required: Vec<_> = example()
        .into_iter()
        .filter(|(_, _, optional)| !optional)
        .collect();
    let names: Vec<_> = required.iter().map(|(name, _, _)| *name).collect();
    let nothing = Config::read(&HashMap::new())
        .expect_err("nothing is not enough")
        .0;
    let mut missing: Vec<_> = nothing
        .iter()
        .map(|fault| fault.variable.as_str())
        .collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    missing.sort_unstable();
    assert_eq!(sorted, missing);

    let plain = format!("{:?}", read(&[]).expect("it is good"));
    for (name, value, _) in example()
        .into_iter()
        .filter(|(_, value, optional)| *optional && !value.is_empty())
    {
        let config = read(&[(name, value)]).unwrap_or_else(|faults| panic!("{name}: {faults}"));
        assert_eq!(
            format!("{config:?}"),
            plain,
            "{name} is not {value} by default"
        );
    }
}

#[test]
fn an_example_that_is_not_filled_in_is_refused() {
    let unfilled: Vec<_> = example()
        .into_iter()
        .filter(|(_, _, optional)| !optional)
        .collect();
    let set: HashMap<_, _> = unfilled
        .iter()
        .map(|(name, value, _)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let faults = Config::read(&set).expect_err("the secrets are missing").0;
    let names: Vec<_> = faults.iter().map(|fault| fault.variable.as_str()).collect();
    assert_eq!(
        names,
        [
            "DATABASE_URL",
            "JWT_SIGNING_KEYS",
            "TOKEN_SECRET",
            "ENCRYPTION_KEYS",
            "SMTP_URL"
        ]
    );
}

#[test]
fn the_breach_check_uses_https_in_production() {
    let refused = [("BREACH_CHECK_URL", "http://range.example.com")];
    assert_eq!(faulty(&refused), ["BREACH_CHECK_URL"]);
    for good in ["https://range.example.com", "http://range.internal"] {
        let config = read(&[("BREACH_CHECK_URL", good)]).expect("it is good");
        let breaches = config.breaches.expect("it is set");
        assert!(breaches.fail_open && breaches.timeout == Duration::from_secs(1));
    }
    assert!(read(&[]).expect("it is good").breaches.is_none());
}

#[test]
fn encryption_keys_are_random_and_of_no_other_ring() {
    let own = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8";
    let weak = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let signing = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let of_tokens = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8";
    let ring = |more: &str| format!("{own},{more}");
    for bad in [
        "",
        "hunter2",
        &ring("hunter2"),
        &ring(weak),
        &ring(signing),
        &ring(of_tokens),
    ] {
        assert_eq!(faulty(&[("ENCRYPTION_KEYS", bad)]), ["ENCRYPTION_KEYS"]);
    }
    for (keys, allowed) in [(ring(weak), true), (String::new(), false)] {
        let set = [("APP_ENV", "development"), ("ENCRYPTION_KEYS", &keys)];
        assert_eq!(read(&set).is_ok(), allowed);
    }
}

#[test]
fn the_second_factor_is_asked_of_administrators_in_production_unless_it_says_otherwise() {
    let required = |given: &[(&str, &str)]| read(given).expect("it is good").mfa.required;
    assert_eq!(required(&[]), MfaRequired::Admins);
    assert_eq!(required(&[("APP_ENV", "development")]), MfaRequired::None);
    for (text, meant) in [
        ("none", MfaRequired::None),
        ("admins", MfaRequired::Admins),
        ("all", MfaRequired::All),
    ] {
        assert_eq!(required(&[("MFA_REQUIRED", text)]), meant);
    }
    assert_eq!(faulty(&[("MFA_REQUIRED", "true")]), ["MFA_REQUIRED"]);
}

#[test]
fn payments_have_the_currency_of_the_plans_or_those_of_a_list_that_stripe_charges() {
    let currencies = |overrides: &[(&str, &str)]| {
        let config = read(overrides).expect("they are good");
        config.payments.currencies
    };
    assert_eq!(currencies(&[]), ["USD"]);
    assert_eq!(currencies(&[("PLAN_CURRENCY", "eur")]), ["EUR"]);
    let listed = [("PAYMENT_CURRENCIES", "jpy, KWD")];
    assert_eq!(currencies(&listed), ["JPY", "KWD"]);
    for wrong in [
        ("PAYMENT_CURRENCIES", "USD,XXX"),
        ("PAYMENT_CURRENCIES", "dollars"),
        ("PAYMENT_MAX_AMOUNT", "0"),
        ("PAYMENT_MAX_AMOUNT", "100000000"),
    ] {
        assert_eq!(faulty(&[wrong]), [wrong.0], "{wrong:?}");
    }
}
