//! The table of the replicas in the report: how the proxy divided the requests, and the processor time of each.

use std::fmt;

use super::processes::{REPLICAS, Usage};

/// Writes a row for each replica; nothing without a proxy.
pub(super) fn write(f: &mut fmt::Formatter<'_>, replies: &[u64], usage: &Usage) -> fmt::Result {
    let (Some(most), Some(least)) = (replies.iter().max(), replies.iter().min()) else {
        return Ok(());
    };
    let all: u64 = replies.iter().sum();
    writeln!(
        f,
        "\n| replica | replies | share | processors |\n| --- | --: | --: | --: |"
    )?;
    for (name, count) in REPLICAS.iter().zip(replies) {
        let share = part(*count, all) * 100.0;
        let used = usage.processors(name);
        writeln!(f, "| {name} | {count} | {share:.1}% | {used:.2} |")?;
    }
    let least_of_most = part(*least, *most) * 100.0;
    writeln!(
        f,
        "\nThe replica with the fewest replies had {least_of_most:.0}% of those of the one with the most."
    )
}

fn part(count: u64, whole: u64) -> f64 {
    let float = |it: u64| u32::try_from(it).map_or(f64::from(u32::MAX), f64::from);
    float(count) / float(whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::super::processes::Usage;

    struct Table(Vec<u64>);

    impl std::fmt::Display for Table {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            super::write(f, &self.0, &Usage::now(&[]))
        }
    }

    #[test]
    fn each_replica_has_its_share() {
        let table = Table(vec![300, 100]).to_string();
        assert!(table.contains("| replica 1 | 300 | 75.0% |"), "{table}");
        assert!(table.contains("| replica 2 | 100 | 25.0% |"), "{table}");
        assert!(table.contains("had 33% of those"), "{table}");
        assert_eq!(Table(Vec::new()).to_string(), "");
    }
}
