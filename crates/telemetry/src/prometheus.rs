//! The Prometheus recorder behind the `metrics` macros, and process metrics.

use std::sync::OnceLock;

use metric_families::Family;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

pub use metrics_exporter_prometheus::BuildError;

/// Content type of [`render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds in seconds: even steps from 1 ms to 10 s, two or three a decade.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Metrics of the process itself, added at each scrape.
pub const PROCESS: &[&str] = &[
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

static RECORDER: OnceLock<Recorder> = OnceLock::new();

struct Recorder {
    handle: PrometheusHandle,
    process: Collector,
}

/// Installs the recorder for the life of the process and describes the families of `tables`. Returns `false` if one
/// is installed already.
pub fn install(tables: &[&[Family]]) -> Result<bool, BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)?
        .build_recorder();
    let process = Collector::default();
    let handle = recorder.handle();
    if RECORDER.set(Recorder { handle, process }).is_err()
        || metrics::set_global_recorder(recorder).is_err()
    {
        return Ok(false);
    }
    for table in tables {
        metric_families::describe(table);
    }
    if let Some(recorder) = RECORDER.get() {
        recorder.process.describe();
    }
    Ok(true)
}

/// Returns whether a recorder is installed.
#[must_use]
pub fn is_installed() -> bool {
    RECORDER.get().is_some()
}

/// All metrics in the Prometheus text format.
#[must_use]
pub fn render() -> String {
    RECORDER.get().map_or_else(String::new, |recorder| {
        recorder.process.collect();
        // CPU seconds have fractions, which the recorder keeps for gauges alone.
        recorder.handle.render().replace(
            "# TYPE process_cpu_seconds_total gauge",
            "# TYPE process_cpu_seconds_total counter",
        )
    })
}

/// Moves observations into histogram buckets; they accumulate in memory until this runs.
pub fn run_upkeep() {
    if let Some(recorder) = RECORDER.get() {
        recorder.handle.run_upkeep();
    }
}
