//! Replicas compared with one process, both behind `HAProxy`, on the same processors and with as many threads and connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use groundwork_dev::Result;

use super::client::Target;
use super::options::Replicas;
use super::processes::{SERVICE, Usage};
use super::saturation::{self, LIMITS};
use super::servers::Servers;
use super::user::User;
use crate::report::tell;

/// Connections of the load, as many as saturate two cores.
const CONNECTIONS: usize = 64;

/// Each measures both, and the order alternates.
const ROUNDS: usize = 7;

/// Connections are opened and caches filled meanwhile.
const WARM_UP: Duration = Duration::from_secs(1);

const LENGTH: Duration = Duration::from_secs(5);

/// Of one process, what the replicas reach at least.
const LEAST: f64 = 0.9;

/// Result of the comparison.
pub(super) struct Comparison {
    replicas: usize,
    rounds: Vec<Round>,
}

/// One process and the replicas, one directly after the other.
struct Round {
    one: Measured,
    replicas: Measured,
}

/// Result of a load without think time.
#[derive(Clone, Copy)]
struct Measured {
    /// Good replies in a second.
    rate: f64,
    p95: Duration,
    errors: usize,
    /// Processor time of the service for a request, in microseconds.
    service: f64,
    /// That of all servers together.
    servers: f64,
    /// Of PostgreSQL for a request.
    transactions: f64,
    /// Of Redis for a request.
    commands: f64,
}

/// One of the figures.
type Figure = fn(&Measured) -> f64;

/// Measures both alternately.
pub(super) async fn measure(
    servers: &Servers,
    has_files: bool,
    replicas: Replicas,
) -> Result<Comparison> {
    let mut users: Vec<User> = Vec::new();
    let mut rounds = Vec::new();
    for round in 1..=ROUNDS {
        tell(&format!("comparison with one replica, {round} of {ROUNDS}"));
        let order = if round % 2 == 0 {
            [1, replicas.count]
        } else {
            [replicas.count, 1]
        };
        let mut measured = [None, None];
        for (at, count) in order.into_iter().enumerate() {
            let set = Replicas { count, ..replicas };
            let service = servers.start(&LIMITS, Some(set)).await?;
            let target = Arc::new(Target::behind_proxy(service.addr()));
            if users.is_empty() {
                users = saturation::users(&target, 0..CONNECTIONS, has_files);
                users = saturation::sign_in(users).await?;
            }
            for user in &mut users {
                user.lead_to(&target);
            }
            let watched = servers.watched(&service);
            let (warm, ..) = saturation::hurry(users, WARM_UP, &watched).await?;
            let before = servers.counts().await?;
            let (used, samples, usage) = saturation::hurry(warm, LENGTH, &watched).await?;
            users = used;
            let after = servers.counts().await?;
            let (requests, errors) = samples.totals();
            let replies = f64::from(u32::try_from(requests - errors).unwrap_or(u32::MAX));
            measured[at] = Some(Measured {
                rate: replies / usage.seconds,
                p95: samples.signed_in().p95,
                errors,
                service: usage.seconds * usage.processors(SERVICE) * 1e6 / replies,
                servers: of_servers(&usage) * 1e6 / replies,
                transactions: (after[0] - before[0]) / replies,
                commands: (after[1] - before[1]) / replies,
            });
            service.stop().await;
        }
        let [Some(first), Some(second)] = measured else {
            continue;
        };
        let (one, replicas) = if round % 2 == 0 {
            (first, second)
        } else {
            (second, first)
        };
        rounds.push(Round { one, replicas });
    }
    Ok(Comparison {
        replicas: replicas.count,
        rounds,
    })
}

/// Seconds of processor time of all watched processes but the load.
fn of_servers(usage: &Usage) -> f64 {
    let servers = usage.by_process.iter().filter(|(name, _)| *name != "load");
    servers.map(|(_, time)| time).sum()
}

impl Comparison {
    /// `true` if the median of the ratios of rates is at least 0.9.
    pub(super) fn is_kept(&self) -> bool {
        self.ratio(|it| it.rate) >= LEAST
    }

    /// Median over the rounds of the replicas' figure divided by that of one process.
    fn ratio(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        let ratio = |round: &Round| figure(&round.replicas) / figure(&round.one);
        median(self.rounds.iter().map(ratio).collect())
    }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.replicas;
        writeln!(f, "\n## {count} replicas and one\n")?;
        writeln!(
            f,
            "Both behind HAProxy on the same processors, with as many threads and connections in all; {CONNECTIONS} connections \
             without think time, alternately. Processor time is that of a request.\n"
        )?;
        writeln!(
            f,
            "| round | one: requests/s | p95 ms | service µs | servers µs | {count}: requests/s | p95 ms | service µs | servers µs | ratio | errors |"
        )?;
        writeln!(f, "| --: |{}", " --: |".repeat(10))?;
        for (number, Round { one, replicas }) in (1..).zip(&self.rounds) {
            write!(f, "| {number} |")?;
            for it in [one, replicas] {
                let p95 = it.p95.as_secs_f64() * 1e3;
                let Measured {
                    rate,
                    service,
                    servers,
                    ..
                } = it;
                write!(f, " {rate:.0} | {p95:.1} | {service:.0} | {servers:.0} |")?;
            }
            let ratio = replicas.rate / one.rate;
            writeln!(f, " {ratio:.2} | {} |", one.errors + replicas.errors)?;
        }
        writeln!(
            f,
            "\n| {count} replicas divided by one, median | | |\n| --- | --: | --- |"
        )?;
        let kept = if self.is_kept() { "kept" } else { "MISSED" };
        writeln!(
            f,
            "| requests a second, at least {LEAST} | {:.2} | {kept} |",
            self.ratio(|it| it.rate)
        )?;
        let others: [(&str, Figure); 5] = [
            ("p95", |it| it.p95.as_secs_f64()),
            ("processor time of the service for a request", |it| {
                it.service
            }),
            ("processor time of all servers for a request", |it| {
                it.servers
            }),
            ("transactions of PostgreSQL for a request", |it| {
                it.transactions
            }),
            ("commands of Redis for a request", |it| it.commands),
        ];
        for (name, figure) in others {
            writeln!(f, "| {name} | {:.2} | |", self.ratio(figure))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(rates: &[(f64, f64)]) -> Comparison {
        let measured = |rate| Measured {
            rate,
            p95: Duration::from_millis(10),
            errors: 0,
            service: 100.0,
            servers: 300.0,
            transactions: 1.5,
            commands: 0.5,
        };
        let round = |(one, replicas): &(f64, f64)| Round {
            one: measured(*one),
            replicas: measured(*replicas),
        };
        Comparison {
            replicas: 4,
            rounds: rates.iter().map(round).collect(),
        }
    }

    #[test]
    fn the_median_round_decides() {
        let kept = comparison(&[(1000.0, 300.0), (1000.0, 910.0), (2000.0, 1900.0)]);
        assert!(kept.is_kept());
        assert!(
            kept.to_string()
                .contains("| requests a second, at least 0.9 | 0.91 | kept |")
        );
        let missed = comparison(&[(1000.0, 890.0), (1000.0, 300.0), (2000.0, 1900.0)]);
        assert!(!missed.is_kept());
        assert!(!comparison(&[]).is_kept());
    }
}
