//! Where the numbers are kept, and how Prometheus reads them.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use super::{TABLES, begin};

/// Upper bounds in seconds: even steps from 1 ms to 10 s, two or three a decade.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0,
];

static RECORDER: OnceLock<Recorder> = OnceLock::new();

struct Recorder {
    handle: PrometheusHandle,
    process: Collector,
}

/// Starts recording, for the life of the process; a second time does nothing.
pub fn start(version: &str, commit: Option<&str>) -> Result<(), BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)?
        .build_recorder();
    let started = RECORDER.set(Recorder {
        handle: recorder.handle(),
        process: Collector::default(),
    });
    if started.is_err() || metrics::set_global_recorder(recorder).is_err() {
        return Ok(());
    }
    for families in TABLES {
        metric_families::describe(families);
    }
    if let Some(recorder) = RECORDER.get() {
        recorder.process.describe();
    }
    begin(version, commit.unwrap_or("unknown"));
    Ok(())
}

/// Whether anything is recorded.
pub(super) fn is_on() -> bool {
    RECORDER.get().is_some()
}

/// Everything in the text format of Prometheus, the process itself included.
#[must_use]
pub fn render() -> String {
    RECORDER.get().map_or_else(String::new, |recorder| {
        recorder.process.collect();
        // It has fractions, which the recorder keeps for gauges alone, and yet only grows.
        recorder.handle.render().replace(
            "# TYPE process_cpu_seconds_total gauge",
            "# TYPE process_cpu_seconds_total counter",
        )
    })
}

/// Sorts observations into their buckets; they pile up until this runs.
pub fn upkeep() {
    if let Some(recorder) = RECORDER.get() {
        recorder.handle.run_upkeep();
    }
}
