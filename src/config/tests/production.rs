//! Settings that are well-formed and unsafe, or that a library would trip over.

use super::{faulty, read};

const SIGNING: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// Returns whether each value is refused in production, by the setting's own name and without the value.
#[track_caller]
fn refused(name: &str, values: &[&str]) {
    for value in values {
        let faults = read(&[(name, value)]);
        let faults = faults.expect_err(&format!("{name}={value} is refused"));
        assert!(!faults.to_string().contains(value), "{faults}");
        assert_eq!(faults.0[0].variable, name, "{value}");
    }
}

#[track_caller]
fn accepted(name: &str, values: &[&str]) {
    for value in values {
        if let Err(faults) = read(&[(name, value)]) {
            panic!("{name}={value}: {faults}");
        }
    }
}

#[test]
fn no_time_is_so_long_that_adding_it_overflows() {
    let (longest, days) = ("9223372036854775807", "100d");
    for name in [
        "HTTP_REQUEST_TIMEOUT",
        "HTTP_HEADER_TIMEOUT",
        "HTTP_BODY_TIMEOUT",
        "HTTP_WRITE_TIMEOUT",
        "HTTP_DRAIN_DELAY",
        "HTTP_DRAIN_TIMEOUT",
        "DB_POOL_TIMEOUT",
        "DB_POOL_RECYCLE",
        "DB_CONNECT_TIMEOUT",
        "DB_STATEMENT_TIMEOUT",
        "DB_LOCK_TIMEOUT",
        "DB_IDLE_TRANSACTION_TIMEOUT",
        "DB_MIGRATION_LOCK_TIMEOUT",
        "REDIS_TIMEOUT",
        "SMTP_TIMEOUT",
        "WORKER_POLL_INTERVAL",
        "PASSWORD_QUEUE_TIMEOUT",
        "BREACH_CHECK_TIMEOUT",
        "MFA_CHALLENGE_TTL",
        "SIGN_IN_MAX_WAIT",
        "USAGE_FLUSH_INTERVAL",
    ] {
        refused(name, &[longest, days, "18446744073709551615ms"]);
    }
    for name in [
        "API_KEY_MAX_TTL",
        "KNOWN_CLIENT_TTL",
        "SESSION_IDLE_TTL",
        "SESSION_MAX_TTL",
        "UNVERIFIED_TTL",
        "PLAN_PAST_DUE_GRACE",
    ] {
        refused(name, &[longest, "3651d"]);
        accepted(name, &["3650d"]);
    }
}

#[test]
fn production_refuses_times_that_keep_access_for_too_long() {
    refused("ACCESS_TOKEN_TTL", &["365d", "25h", "86401"]);
    accepted("ACCESS_TOKEN_TTL", &["1d", "5m"]);
    refused("REFRESH_GRACE", &["30d", "301s", "1h"]);
    accepted("REFRESH_GRACE", &["0", "5m"]);
    refused("TOKEN_LEEWAY", &["1h"]);
    refused("RESET_PASSWORD_TTL", &["7d"]);
    refused("UNLOCK_TTL", &["2d"]);
    let development = [("APP_ENV", "development"), ("ACCESS_TOKEN_TTL", "30d")];
    assert!(read(&development).is_ok());
}

#[test]
fn a_host_is_a_name_that_can_be_matched_and_not_everything() {
    refused(
        "ALLOWED_HOSTS",
        &[
            "*",
            "*.com",
            ".acme.test",
            "a..acme.test",
            "acme.test.",
            "https://api.acme.test",
            "api.acme.test:8443",
            "api.acme.test/path",
            "*.*.acme.test",
            "api.*.acme.test",
            "bücher.example",
            "api acme.test",
        ],
    );
    accepted(
        "ALLOWED_HOSTS",
        &[
            "*.acme.test",
            "API.Acme.test",
            "127.0.0.1",
            "[::1]",
            "my_service",
            ",",
        ],
    );
    let development = [("APP_ENV", "development"), ("ALLOWED_HOSTS", "*")];
    assert!(read(&development).is_ok());
}

#[test]
fn proxies_are_networks_that_strangers_are_not_in() {
    refused(
        "TRUSTED_PROXIES",
        &[
            "0.0.0.0/0",
            "::/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "203.0.113.7/8",
            "2000::/3",
            "::ffff:0.0.0.0/96",
            "10.0.0.0/7",
            "fe00::/7",
        ],
    );
    accepted(
        "TRUSTED_PROXIES",
        &[
            "10.0.0.0/8",
            "172.16.0.0/12",
            "127.0.0.1",
            "fd00::/8",
            "100.64.0.0/10",
            "104.16.0.0/13",
            "2400:cb00::/32",
            "2a06:98c0::/29",
            "::ffff:10.0.0.0/104",
        ],
    );
    let config = read(&[("TRUSTED_PROXIES", "10.1.2.3/8,::ffff:192.168.0.0/112")]);
    let networks = config.expect("it is good").http.trusted_proxies;
    let written: Vec<_> = networks.iter().map(ToString::to_string).collect();
    assert_eq!(written, ["10.0.0.0/8", "192.168.0.0/16"]);
    refused("DENY_NETWORKS", &["0.0.0.0/0", "::/0", "10.0.0.0/33"]);
}

#[test]
fn networks_exempt_from_sign_in_limits_are_few_and_of_offices() {
    const NAME: &str = "SIGN_IN_LIMIT_EXEMPT";
    let many = vec!["203.0.113.7"; 65].join(",");
    refused(
        NAME,
        &[
            "0.0.0.0/0",
            "::/0",
            "8.0.0.0/8",
            "2000::/16",
            "office",
            &many,
        ],
    );
    accepted(
        NAME,
        &[
            "",
            "203.0.113.0/28",
            "203.0.113.7,2001:db8:1::/48",
            "10.0.0.0/8",
        ],
    );
    let exempt = |networks: &str| read(&[(NAME, networks)]).expect("it is good").limits.exempt;
    assert!(exempt("").is_empty());
    assert!(exempt("203.0.113.0/28").warning().is_none());
    assert!(exempt("10.0.0.0/8").warning().is_some());
}

#[test]
fn what_is_sent_to_public_hosts_is_encrypted() {
    refused("LINK_URL", &["http://app.example.com", "http://localhost"]);
    refused(
        "SENTRY_DSN",
        &["http://key@sentry.example.com/1", "http://key@8.8.8.8/1"],
    );
    refused(
        "SENTRY_DSN",
        &[
            "https://key@sentry.example.com/1#x",
            "https://sentry.example.com/1",
        ],
    );
    accepted(
        "SENTRY_DSN",
        &[
            "https://key@sentry.example.com/1",
            "http://key@sentry.internal/1",
        ],
    );
    let otlp = "OTEL_EXPORTER_OTLP_ENDPOINT";
    refused(
        otlp,
        &["http://otel.example.com:4318", "http://[2001:db8::1]:4318"],
    );
    accepted(
        otlp,
        &[
            "http://otel:4318",
            "http://10.0.0.5:4318",
            "https://otel.example.com",
        ],
    );
    let redis = [
        "redis://:8kX2pQ@cache.example.com",
        "rediss://:8kX2pQ@cache.example.com/#insecure",
        "rediss://:8kX2pQ@cache.example.com/?protocol=resp3",
        "redis://cache/none",
    ];
    refused("REDIS_URL", &redis);
    accepted(
        "REDIS_URL",
        &["redis://cache/3", "rediss://:8kX2pQ@cache.example.com:6380"],
    );
}

#[test]
fn a_public_database_is_used_by_tls_that_checks_the_certificate_unless_it_says_otherwise() {
    let url = |mode: &str| format!("postgres://app:8kX2pQ@db.example.com/app?sslmode={mode}");
    for mode in ["require", "Require", "prefer", "allow", "disable"] {
        refused("DATABASE_URL", &[&url(mode)]);
    }
    for mode in ["verify-full", "verify-ca", "VERIFY-FULL"] {
        accepted("DATABASE_URL", &[&url(mode)]);
    }
    let faults = read(&[("DATABASE_URL", &url("require"))]).expect_err("it is refused");
    assert!(
        faults.to_string().contains("checks no certificate"),
        "{faults}"
    );
    let (required, preferred) = (url("require"), url("prefer"));
    let accepting = ("DB_ALLOW_UNVERIFIED_TLS", "true");
    assert!(read(&[("DATABASE_URL", &required), accepting]).is_ok());
    assert_eq!(
        faulty(&[("DATABASE_URL", &preferred), accepting]),
        ["DATABASE_URL"]
    );
    for private in ["db", "10.0.0.7", "[fd00::7]", "db.internal"] {
        let url = format!("postgres://app:8kX2pQ@{private}/app");
        accepted("DATABASE_URL", &[&url]);
    }
}

#[test]
fn passwords_that_everybody_tries_first_are_refused() {
    for (name, scheme) in [
        ("DATABASE_URL", "postgres"),
        ("DATABASE_MIGRATION_URL", "postgres"),
    ] {
        for password in [
            "password",
            "Postgres",
            "p%61ssword",
            "123456",
            "acme-user",
            "abc",
        ] {
            refused(name, &[&format!("{scheme}://acme-user:{password}@db/app")]);
        }
        refused(name, &["postgres://app@db/app"]);
    }
    for password in ["password", "foobared", "redis", "abc"] {
        refused("REDIS_URL", &[&format!("redis://:{password}@cache")]);
    }
    accepted("REDIS_URL", &["redis://cache", "redis://:8kX2pQ@cache"]);
    for password in ["password", "p%61ssword", "ACME", "abc"] {
        refused(
            "SMTP_URL",
            &[&format!("smtps://acme:{password}@mail.example.com")],
        );
    }
    accepted("SMTP_URL", &["smtps://mail.example.com"]);
    let development = [
        ("APP_ENV", "development"),
        ("SMTP_URL", "smtp://acme:acme@mail"),
    ];
    assert!(read(&development).is_ok());
}

#[test]
fn metrics_are_not_served_where_the_public_listener_is() {
    for (bind, metrics, is_good) in [
        ("0.0.0.0:8000", "0.0.0.0:8000", false),
        ("0.0.0.0:8000", "127.0.0.1:8000", false),
        ("127.0.0.1:8000", "127.0.0.1:8000", false),
        ("0.0.0.0:8000", "127.0.0.1:9000", true),
        ("127.0.0.1:8000", "10.0.0.7:8000", true),
        ("127.0.0.1:0", "127.0.0.1:0", true),
    ] {
        for environment in ["production", "development"] {
            let set = [
                ("APP_ENV", environment),
                ("BIND_ADDR", bind),
                ("METRICS_ADDR", metrics),
            ];
            assert_eq!(read(&set).is_ok(), is_good, "{bind} {metrics}");
            if !is_good {
                assert_eq!(faulty(&set), ["METRICS_ADDR"]);
            }
        }
    }
}

#[test]
fn one_key_is_not_used_for_two_purposes() {
    assert_eq!(faulty(&[("TOKEN_SECRET", SIGNING)]), ["TOKEN_SECRET"]);
    let other = "MDEyMzQ1Njc4OTo7PD0-P0BBQkNERUZHSElKS0xNTk8";
    let ring = format!("{other},{SIGNING}");
    let older = [
        ("JWT_SIGNING_KEYS", ring.as_str()),
        ("TOKEN_SECRET", SIGNING),
    ];
    assert_eq!(faulty(&older), ["TOKEN_SECRET"]);
    let both = [("TOKEN_SECRET", SIGNING), ("ENCRYPTION_KEYS", SIGNING)];
    assert_eq!(faulty(&both), ["TOKEN_SECRET", "ENCRYPTION_KEYS"]);
}

#[test]
fn a_guess_at_a_password_costs_what_owasp_asks_for() {
    let cost = |memory, iterations| {
        read(&[
            ("PASSWORD_MEMORY_KIB", memory),
            ("PASSWORD_ITERATIONS", iterations),
        ])
        .is_ok()
    };
    for (memory, iterations) in [("8192", "1"), ("19456", "1"), ("12288", "2"), ("8192", "4")] {
        assert!(!cost(memory, iterations), "{memory} KiB, {iterations}");
    }
    for (memory, iterations) in [
        ("47104", "1"),
        ("19456", "2"),
        ("65536", "3"),
        ("12288", "3"),
        ("9216", "4"),
        ("8192", "5"),
    ] {
        assert!(cost(memory, iterations), "{memory} KiB, {iterations}");
    }
}

#[test]
fn text_is_one_line() {
    for name in ["JWT_ISSUER", "JWT_AUDIENCE", "APP_VERSION"] {
        refused(name, &["a\nb", "a\u{0}b", "a\tb", "a\u{7f}b"]);
    }
    refused("LOG_LEVEL", &["warnings", "verbose"]);
    accepted("LOG_LEVEL", &["warning", "INFO"]);
}

#[test]
fn all_that_is_unsafe_is_reported_at_once() {
    let faults = faulty(&[
        ("LINK_URL", "http://app.example.com"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TOKEN_SECRET", SIGNING),
        ("REFRESH_GRACE", "30d"),
        ("ACCESS_TOKEN_TTL", "365d"),
        ("PASSWORD_MEMORY_KIB", "8192"),
        ("PASSWORD_ITERATIONS", "1"),
        ("REDIS_URL", "redis://:password@cache"),
        ("SENTRY_DSN", "http://key@sentry.example.com/1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel.example.com"),
        (
            "DATABASE_URL",
            "postgres://app:8kX2pQ@db.example.com/app?sslmode=require",
        ),
    ]);
    assert_eq!(
        faults,
        [
            "TRUSTED_PROXIES",
            "DATABASE_URL",
            "REDIS_URL",
            "TOKEN_SECRET",
            "ACCESS_TOKEN_TTL",
            "REFRESH_GRACE",
            "PASSWORD_MEMORY_KIB",
            "LINK_URL",
            "SENTRY_DSN",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ]
    );
}
