//! Types of the start page: links, the state of the process, and sums of its HTTP metrics.

use std::collections::BTreeMap;

use job_queue::{FailedJob, JobCounts};
use serde::{Deserialize, Serialize};

/// Addresses outside of the service, and who can sign in. The file that `make run` writes has more in it, such as the
/// database's password, which is not shown.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Links {
    inbox: Option<String>,
    stripe: Option<FakeStripe>,
    s3: Option<String>,
    metrics: Option<String>,
    demo: Option<Login>,
    admin: Option<Login>,
    organisation: Option<Organisation>,
}

#[derive(Debug, Deserialize, Serialize)]
struct FakeStripe {
    url: String,
}

/// Somebody who can sign in.
#[derive(Debug, Deserialize, Serialize)]
struct Login {
    email: String,
    password: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Organisation {
    slug: String,
    name: String,
}

/// State of the process and its queue.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) uptime_seconds: u64,
    pub(super) pool: Pool,
    /// `None` where nothing is recorded (`METRICS_ADDR`).
    pub(super) http: Option<HttpTotals>,
    /// `None` while PostgreSQL does not respond.
    pub(super) queue: Option<Queue>,
}

/// Connections of the database pool.
#[derive(Debug, Serialize)]
pub(super) struct Pool {
    pub(super) busy: u32,
    pub(super) idle: u32,
    pub(super) max: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Queue {
    pub(super) counts: JobCounts,
    /// Newest failure first.
    pub(super) jobs: Vec<FailedJob>,
}

/// Totals of responses since the process started, without those of probes and of the start page itself.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct HttpTotals {
    /// By class of status, such as `2xx`.
    responses: BTreeMap<String, u64>,
    /// Responses at most so slow, by upper bound in seconds, `+Inf` among them.
    durations: BTreeMap<String, u64>,
}

impl HttpTotals {
    /// Sums the series of `metrics`, in the Prometheus text format.
    pub(super) fn sum(metrics: &str) -> Self {
        let mut totals = Self::default();
        for line in metrics.lines() {
            let Some((name, labels, value)) = parse(line) else {
                continue;
            };
            if label(labels, "route").is_none_or(is_left_out) {
                continue;
            }
            let (sums, key) = match name {
                "http_requests_total" => {
                    let status = label(labels, "status").and_then(|status| status.get(..1));
                    let class = status.map(|first| format!("{first}xx"));
                    (&mut totals.responses, class)
                }
                "http_request_duration_seconds_bucket" => {
                    let bound = label(labels, "le").map(str::to_owned);
                    (&mut totals.durations, bound)
                }
                _ => continue,
            };
            if let Some(key) = key {
                *sums.entry(key).or_default() += value;
            }
        }
        totals
    }
}

fn is_left_out(route: &str) -> bool {
    route == "/"
        || ["/start/", "/assets/start-page", "/health"]
            .iter()
            .any(|start| route.starts_with(start))
}

/// Name, labels and value of a sample with labels and a whole number.
fn parse(line: &str) -> Option<(&str, &str, u64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.strip_suffix('}')?.split_once('{')?;
    Some((name, labels, value.parse().ok()?))
}

/// Value of a label. The values looked for have neither quotes nor backslashes.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = labels.split("\",");
    parts.find_map(|part| {
        let value = part.strip_prefix(name)?.strip_prefix("=\"")?;
        Some(value.strip_suffix('"').unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_class_and_by_bound_without_probes_and_the_page() {
        let text = r#"
# TYPE http_requests_total counter
http_requests_total{method="GET",route="/api/v1/files/{id}",status="200"} 5
http_requests_total{method="POST",route="/api/v1/auth/login",status="202"} 2
http_requests_total{method="POST",route="/api/v1/auth/login",status="401"} 3
http_requests_total{method="GET",route="/health/ready",status="200"} 100
http_requests_total{method="GET",route="/start/status",status="200"} 100
http_request_duration_seconds_bucket{method="GET",route="/a",class="2xx",le="0.001"} 1
http_request_duration_seconds_bucket{method="GET",route="/a",class="2xx",le="+Inf"} 4
http_request_duration_seconds_bucket{method="GET",route="/b",class="4xx",le="+Inf"} 6
http_request_duration_seconds_sum{method="GET",route="/a",class="2xx"} 0.25
http_connections 7
"#;
        let sums = |pairs: &[(&str, u64)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), *value))
                .collect()
        };
        assert_eq!(
            HttpTotals::sum(text),
            HttpTotals {
                responses: sums(&[("2xx", 7), ("4xx", 3)]),
                durations: sums(&[("0.001", 1), ("+Inf", 10)]),
            }
        );
    }

    #[test]
    fn the_file_of_make_run_is_read_and_the_database_left_out() {
        let file = r#"{ "root": "http://127.0.0.1:8000", "database": "postgres://app_owner:secret@127.0.0.1/app",
            "inbox": "http://127.0.0.1:8025", "redis": null, "s3": null,
            "stripe": { "url": "http://127.0.0.1:12111", "secret_key": "sk_test_development" },
            "demo": { "email": "demo@example.com", "password": "demo-on-my-machine" } }"#;
        let links: Links = serde_json::from_str(file).unwrap();
        let shown = serde_json::to_string(&links).unwrap();
        assert!(
            shown.contains("http://127.0.0.1:8025") && shown.contains("demo-on-my-machine"),
            "{shown}"
        );
        assert!(
            !shown.contains("secret") && !shown.contains("sk_test"),
            "{shown}"
        );
    }
}
