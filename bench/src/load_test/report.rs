//! The report as Markdown, and the objective that it is judged by.

use std::fmt;
use std::time::Duration;

use super::compare::Comparison;
use super::processes::{self, Usage};
use super::replica_table;
use super::samples::{Percentiles, Route, Samples};
use super::saturation::Step;

/// Least replies of a route whose 95th percentile is judged by itself.
const ENOUGH: usize = 20;

/// Part of the machine's processors above which they are what limits the service.
const FULL: f64 = 0.9;

/// Objectives of a run.
#[derive(Clone, Copy)]
pub(super) struct Objective {
    /// The 95th percentile of each signed-in route, at most.
    pub(super) p95: Duration,
    /// One failed request in so many, at most.
    one_in: usize,
}

impl Default for Objective {
    fn default() -> Self {
        Self {
            p95: Duration::from_millis(200),
            one_in: 1_000,
        }
    }
}

impl Objective {
    /// `true` for at most 0.1% of errors, and for any requests at all.
    pub(super) fn allows(self, requests: usize, errors: usize) -> bool {
        requests > 0 && errors * self.one_in <= requests
    }
}

/// Results of a run.
pub(super) struct Report {
    pub(super) users: usize,
    pub(super) think_time: Duration,
    pub(super) length: Duration,
    pub(super) target: String,
    pub(super) objective: Objective,
    pub(super) has_files: bool,
    pub(super) samples: Samples,
    /// Of the servers on this machine; `None` of a deployed copy.
    pub(super) usage: Option<Usage>,
    /// Of each replica behind `HAProxy`.
    pub(super) replies: Vec<u64>,
    /// Empty of a deployed copy.
    pub(super) saturation: Vec<Step>,
    /// Of the replicas with one.
    pub(super) comparison: Option<Comparison>,
}

impl Report {
    /// `true` if the 95th percentile of each signed-in route and the share of errors are within the objective, and so is the
    /// comparison.
    pub(super) fn is_kept(&self) -> bool {
        let (requests, errors) = self.samples.totals();
        let (_, slowest) = self.slowest();
        let has_replies = self.samples.signed_in().p50 > Duration::ZERO;
        let is_equal = self.comparison.as_ref().is_none_or(Comparison::is_kept);
        let are_kept = slowest <= self.objective.p95 && self.objective.allows(requests, errors);
        has_replies && are_kept && is_equal
    }

    /// The signed-in route with the largest 95th percentile, of those with enough replies; without such a route all of them.
    fn slowest(&self) -> (&'static str, Duration) {
        let routes = Route::ALL.iter().copied();
        let routes =
            routes.filter(|it| *it != Route::SignIn && self.samples.replies(*it) >= ENOUGH);
        let each = routes.map(|it| (it.name(), self.samples.percentiles(it).p95));
        each.max_by_key(|(_, p95)| *p95)
            .unwrap_or_else(|| ("all together", self.samples.signed_in().p95))
    }

    /// The step with the highest rate within the objective.
    pub(super) fn saturated(&self) -> Option<&Step> {
        let kept = self
            .saturation
            .iter()
            .filter(|it| it.is_kept(self.objective));
        kept.max_by(|one, other| one.rate.total_cmp(&other.rate))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, errors) = self.samples.totals();
        let rate = rate(requests, self.length);
        writeln!(f, "# Load test\n")?;
        writeln!(
            f,
            "{} users of {} for {} s, think time {} s on average: {requests} requests, {rate:.0} a second, {errors} failed.{}\n",
            self.users,
            self.target,
            self.length.as_secs(),
            self.think_time.as_secs_f64(),
            if self.has_files {
                ""
            } else {
                " No object store is configured: no uploads."
            },
        )?;
        self.verdict(f)?;
        self.routes(f)?;
        if let Some(usage) = &self.usage {
            processors(f, usage)?;
            replica_table::write(f, &self.replies, usage)?;
        }
        if !self.saturation.is_empty() {
            self.saturation(f)?;
        }
        if let Some(comparison) = &self.comparison {
            write!(f, "{comparison}")?;
        }
        writeln!(f, "\n![Latency over time, and by rate](report.svg)")
    }
}

impl Report {
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, errors) = self.samples.totals();
        let (slowest, p95) = self.slowest();
        let kept = |is_kept| if is_kept { "kept" } else { "MISSED" };
        let most = self.objective.p95;
        let sign_in = self.samples.percentiles(Route::SignIn).p95;
        writeln!(f, "| objective | measured | |\n| --- | --- | --- |")?;
        writeln!(
            f,
            "| p95 of each signed-in route at most {} ms | {} ms, {} | {} |",
            ms(most),
            ms(p95),
            slowest,
            kept(p95 <= most)
        )?;
        writeln!(
            f,
            "| errors at most 0.1% | {errors} of {requests} | {} |",
            kept(self.objective.allows(requests, errors))
        )?;
        writeln!(
            f,
            "| p95 of sign-in, which hashes the password | {} ms | |\n",
            ms(sign_in)
        )
    }

    fn routes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| route | replies | errors | p50 ms | p95 ms | p99 ms |")?;
        writeln!(f, "| --- | --: | --: | --: | --: | --: |")?;
        for route in Route::ALL.iter().copied() {
            let (replies, errors) = (self.samples.replies(route), self.samples.errors(route));
            if replies + errors > 0 {
                let percentiles = self.samples.percentiles(route);
                row(f, route.name(), replies, errors, percentiles)?;
            }
        }
        let sign_ins = self.samples.replies(Route::SignIn);
        let failed = self.samples.errors(Route::SignIn);
        let (requests, errors) = self.samples.totals();
        let replies = requests - errors - sign_ins;
        let percentiles = self.samples.signed_in();
        row(f, "all but sign-in", replies, errors - failed, percentiles)?;
        let failures = self.samples.failures();
        if !failures.is_empty() {
            writeln!(f, "\n| failed | how | times |\n| --- | --- | --: |")?;
        }
        for (route, what, count) in &failures {
            writeln!(f, "| {} | {what} | {count} |", route.name())?;
        }
        let are_limited = failures.iter().any(|(_, what, _)| what.starts_with("429"));
        if are_limited && self.usage.is_none() {
            writeln!(
                f,
                "\nA reply of 429 is of a rate limit: all users have one address there. docs/performance.md has the settings of a copy."
            )?;
        }
        Ok(())
    }

    fn saturation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.saturation.first();
        let columns = first.map_or_else(Vec::new, |it| it.usage.groups());
        writeln!(f, "\n## Saturation\n")?;
        writeln!(
            f,
            "Signed-in requests without think time and with wide limits. The columns on the right are processors, of {:.0}.\n",
            processes::count()
        )?;
        let head = columns.join(" | ");
        writeln!(
            f,
            "| connections | requests/s | p50 ms | p95 ms | p99 ms | errors | {head} | others |"
        )?;
        writeln!(f, "| --: |{}", " --: |".repeat(columns.len() + 6))?;
        for step in &self.saturation {
            let Percentiles { p50, p95, p99 } = step.percentiles;
            let used = columns
                .iter()
                .map(|it| format!("{:.2}", step.usage.processors(it)));
            let used: Vec<_> = used.collect();
            writeln!(
                f,
                "| {} | {:.0} | {} | {} | {} | {} | {} | {:.2} |",
                step.connections,
                step.rate,
                ms(p50),
                ms(p95),
                ms(p99),
                step.errors,
                used.join(" | "),
                step.usage.machine().1
            )?;
        }
        for step in &self.saturation {
            if let Some(failure) = &step.failure {
                writeln!(
                    f,
                    "\nMost frequent failure with {} connections: {failure}.",
                    step.connections
                )?;
            }
        }
        let Some(step) = self.saturated() else {
            return writeln!(f, "\nNo step was within the objective.");
        };
        writeln!(
            f,
            "\nThe highest rate within the objective is {:.0} requests a second, with {} connections. {}",
            step.rate,
            step.connections,
            limit(&step.usage)
        )
    }
}

/// Says which resource limits the service.
fn limit(usage: &Usage) -> String {
    let (busy, _) = usage.machine();
    if busy == 0.0 {
        return "The use of processors cannot be read here.".to_owned();
    }
    let groups = usage.groups().into_iter();
    let used = groups.map(|name| (name, usage.processors(name)));
    let largest = used.max_by(|one, other| one.1.total_cmp(&other.1));
    let (name, most) = largest.unwrap_or_default();
    let of = processes::count();
    let waiting = usage.waiting / usage.seconds;
    let stolen = usage.stolen / usage.seconds;
    if (busy + stolen) / of >= FULL {
        let by_host = if stolen > 0.05 {
            format!(", {stolen:.2} of them taken by the host of this virtual machine")
        } else {
            String::new()
        };
        return format!(
            "The processors limit it: {:.2} of {of:.0} are busy{by_host}; {name} uses most, {:.2}.",
            busy + stolen,
            most
        );
    }
    format!(
        "The processors do not limit it, {busy:.2} of {of:.0} are busy: requests wait for connections, locks or the disk \
         (processors idle because of the disk: {waiting:.2})."
    )
}

fn processors(f: &mut fmt::Formatter<'_>, usage: &Usage) -> fmt::Result {
    let (busy, others) = usage.machine();
    if busy == 0.0 {
        return Ok(());
    }
    writeln!(
        f,
        "\n| processors used on average | of {:.0} |\n| --- | --: |",
        processes::count()
    )?;
    for name in usage.groups() {
        writeln!(f, "| {name} | {:.2} |", usage.processors(name))?;
    }
    writeln!(f, "| other programs of this machine | {others:.2} |")
}

fn row(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    replies: usize,
    errors: usize,
    of: Percentiles,
) -> fmt::Result {
    let Percentiles { p50, p95, p99 } = of;
    let [p50, p95, p99] = [p50, p95, p99].map(ms);
    writeln!(
        f,
        "| {name} | {replies} | {errors} | {p50} | {p95} | {p99} |"
    )
}

/// Milliseconds with one digit after the point.
fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

fn rate(count: usize, length: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / length.as_secs_f64()
}

/// Prints the report.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub(super) fn print(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn report(replies: u32, took: Duration, errors: usize) -> Report {
        let began = Instant::now();
        let mut samples = Samples::since(began);
        for _ in 0..replies {
            samples.record(Route::Event, began, Duration::from_millis(9));
            samples.record(Route::Files, began, took);
            samples.record(Route::SignIn, began, Duration::from_secs(2));
        }
        for _ in 0..errors {
            samples.fail(Route::Event, "429 rate_limited".to_owned());
        }
        Report {
            users: 100,
            think_time: Duration::from_secs(1),
            length: Duration::from_mins(1),
            target: "https://staging.example.com/".to_owned(),
            objective: Objective::default(),
            has_files: true,
            samples,
            usage: None,
            replies: Vec::new(),
            saturation: Vec::new(),
            comparison: None,
        }
    }

    #[test]
    fn a_slow_route_misses_the_objective_and_is_named() {
        assert!(report(1000, Duration::from_millis(200), 0).is_kept());
        let slow = report(1000, Duration::from_millis(201), 0);
        assert!(!slow.is_kept());
        let text = slow.to_string();
        assert!(text.contains("201.0 ms, GET /files | MISSED |"), "{text}");
    }

    #[test]
    fn one_error_in_a_thousand_is_allowed() {
        let took = Duration::from_millis(5);
        assert!(report(1000, took, 3).is_kept());
        let failed = report(1000, took, 4);
        assert!(!failed.is_kept());
        let text = failed.to_string();
        assert!(
            text.contains("| POST /events | 429 rate_limited | 4 |"),
            "{text}"
        );
        assert!(
            text.contains("| errors at most 0.1% | 4 of 3004 | MISSED |"),
            "{text}"
        );
    }

    #[test]
    fn a_run_without_replies_is_not_kept() {
        assert!(!report(0, Duration::ZERO, 0).is_kept());
    }
}
