//! Processor time of processes and of the machine, from `/proc`; nothing where there is none.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// Name of the only process of the service, and of all its replicas together.
pub(super) const SERVICE: &str = "service";

/// Names of the replicas.
pub(super) const REPLICAS: [&str; 16] = [
    "replica 1",
    "replica 2",
    "replica 3",
    "replica 4",
    "replica 5",
    "replica 6",
    "replica 7",
    "replica 8",
    "replica 9",
    "replica 10",
    "replica 11",
    "replica 12",
    "replica 13",
    "replica 14",
    "replica 15",
    "replica 16",
];

/// A process whose time is read.
#[derive(Clone, Copy)]
pub(super) struct Watched {
    pub(super) name: &'static str,
    pub(super) pid: u32,
    /// Its children count as well: PostgreSQL has one for each connection.
    pub(super) has_children: bool,
}

/// Processor time since the start of each process, or between two readings.
pub(super) struct Usage {
    at: Instant,
    /// Seconds between two readings.
    pub(super) seconds: f64,
    /// Seconds of processor time by process.
    pub(super) by_process: Vec<(&'static str, f64)>,
    /// Seconds of all processors: busy, waiting for the disk, and taken by the host of a virtual machine.
    pub(super) busy: f64,
    pub(super) waiting: f64,
    pub(super) stolen: f64,
}

impl Usage {
    pub(super) fn now(watched: &[Watched]) -> Self {
        let ticks = ticks_per_second();
        let times = processes();
        let of = |it: &Watched| (it.name, time_of(it, &times) / ticks);
        let [busy, waiting, stolen] = machine().map(|it| it / ticks);
        Self {
            at: Instant::now(),
            seconds: 0.0,
            by_process: watched.iter().map(of).collect(),
            busy,
            waiting,
            stolen,
        }
    }

    /// Returns the time since an earlier reading of the same processes.
    pub(super) fn since(&self, before: &Self) -> Self {
        let pairs = self.by_process.iter().zip(&before.by_process);
        Self {
            at: self.at,
            seconds: (self.at - before.at).as_secs_f64(),
            by_process: pairs.map(|(now, then)| (now.0, now.1 - then.1)).collect(),
            busy: self.busy - before.busy,
            waiting: self.waiting - before.waiting,
            stolen: self.stolen - before.stolen,
        }
    }

    /// Processors that a process used on average, or the replicas together.
    pub(super) fn processors(&self, name: &str) -> f64 {
        let of_name = |it: &str| it == name || group_of(it) == name;
        let times = self.by_process.iter().filter(|(it, _)| of_name(it));
        // The sum of nothing is -0.0.
        times
            .map(|(_, time)| time)
            .fold(0.0, |sum, time| sum + time)
            / self.seconds
    }

    /// Names of the processes, of which the replicas are one.
    pub(super) fn groups(&self) -> Vec<&'static str> {
        let mut groups: Vec<_> = self.by_process.iter().map(|it| group_of(it.0)).collect();
        groups.dedup();
        groups
    }

    /// Processors that were busy on average, and those of them that no watched process used.
    pub(super) fn machine(&self) -> (f64, f64) {
        let watched: f64 = self.by_process.iter().map(|(_, time)| time).sum();
        let busy = self.busy / self.seconds;
        (busy, (busy - watched / self.seconds).max(0.0))
    }
}

/// [`SERVICE`] for a replica, and the name itself of others.
fn group_of(name: &str) -> &str {
    if REPLICAS.contains(&name) {
        SERVICE
    } else {
        name
    }
}

/// Number of processors of the machine.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The same, to divide by.
pub(super) fn count() -> f64 {
    u32::try_from(cores()).map_or(1.0, f64::from)
}

fn ticks_per_second() -> f64 {
    let ticks = rustix::param::clock_ticks_per_second();
    u32::try_from(ticks).map_or(100.0, f64::from)
}

/// Parent and ticks of a process.
struct Times {
    parent: u32,
    own: f64,
    /// Of children that have ended.
    ended: f64,
}

fn processes() -> BTreeMap<u32, Times> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found = pids.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parse(&stat)?))
    });
    found.collect()
}

/// Parses `/proc/PID/stat`. The name of the program is in brackets and may have any character.
fn parse(stat: &str) -> Option<Times> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // utime, stime, cutime, cstime
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Times {
        parent: fields.get(1)?.parse().ok()?,
        own: ticks(11)? + ticks(12)?,
        ended: ticks(13)? + ticks(14)?,
    })
}

/// Ticks of a process, and of its children if they count.
fn time_of(process: &Watched, all: &BTreeMap<u32, Times>) -> f64 {
    let Some(times) = all.get(&process.pid) else {
        return 0.0;
    };
    if !process.has_children {
        return times.own;
    }
    let children = all.values().filter(|it| it.parent == process.pid);
    times.own + times.ended + children.map(|it| it.own).sum::<f64>()
}

/// Ticks of all processors: busy, waiting and stolen.
fn machine() -> [f64; 3] {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let fields = line.split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|it| it.parse().ok()).collect();
    let sum = |of: &[usize]| of.iter().filter_map(|at| ticks.get(*at)).sum();
    // user, nice, system, idle, iowait, irq, softirq, steal
    [sum(&[0, 1, 2, 5, 6]), sum(&[4]), sum(&[7])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_is_read_from_behind_its_name() {
        let stat = "7 (a) b) (c) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5";
        let times = parse(stat).map(|it| (it.parent, it.own, it.ended));
        assert_eq!(times, Some((3, 30.0, 70.0)));
        assert!(parse("7 (a) S").is_none());
    }

    #[test]
    fn replicas_are_one_group() {
        let usage = Usage {
            at: Instant::now(),
            seconds: 2.0,
            by_process: vec![(REPLICAS[0], 1.0), (REPLICAS[1], 3.0), ("HAProxy", 1.0)],
            busy: 0.0,
            waiting: 0.0,
            stolen: 0.0,
        };
        assert_eq!(usage.groups(), [SERVICE, "HAProxy"]);
        let used = [SERVICE, REPLICAS[1], "HAProxy", "Redis"].map(|it| usage.processors(it));
        assert_eq!(used.map(|it| it.to_string()), ["2", "1.5", "0.5", "0"]);
    }

    #[test]
    fn children_count_with_their_parent_if_they_are_part_of_it() {
        let times = |parent, own, ended| Times { parent, own, ended };
        let all = BTreeMap::from([
            (1, times(0, 5.0, 1.0)),
            (2, times(1, 3.0, 0.0)),
            (3, times(9, 8.0, 0.0)),
        ]);
        let of = |pid, has_children| {
            let name = "it";
            time_of(
                &Watched {
                    name,
                    pid,
                    has_children,
                },
                &all,
            )
        };
        assert_eq!(
            [of(1, true), of(1, false), of(7, true)].map(|it| it.to_string()),
            ["9", "5", "0"]
        );
    }
}
