//! The chart: latency over time, and by rate up to saturation, as SVG.

use std::time::Duration;

use groundwork_dev::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::Report;
use super::samples::Percentiles;

const HEIGHT: u32 = 360;
const WIDTH: u32 = 560;

/// Replies within so long are one point over time.
const SPAN: Duration = Duration::from_secs(5);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One line of a chart.
struct Line {
    name: &'static str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Returns the chart as an SVG document.
pub(super) fn draw(report: &Report) -> Result<String> {
    let charts = if report.saturation.is_empty() { 1 } else { 2 };
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH * charts, HEIGHT)).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| Error::Other(format!("draw the chart: {error}"));
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let parts = area.split_evenly((1, if charts == 1 { 1 } else { 2 }));
    let limit = millis(report.objective.p95);
    let mut drawn = Ok(());
    if let Some(part) = parts.first() {
        let of_time = report.samples.over_time(SPAN);
        let title = format!("{} users: latency over time", report.users);
        drawn = chart(part, &title, "seconds", &lines(&of_time), limit);
    }
    if let (Ok(()), Some(part)) = (&drawn, parts.get(1)) {
        let steps = report.saturation.iter();
        let by_rate: Vec<_> = steps.map(|it| (it.rate, it.percentiles)).collect();
        let title = "Without think time: latency by rate";
        drawn = chart(part, title, "requests a second", &lines(&by_rate), limit);
    }
    drawn.map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))?;
    drop(parts);
    drop(area);
    Ok(svg)
}

fn lines(of: &[(f64, Percentiles)]) -> [Line; 3] {
    let line = |name, colour, part: fn(&Percentiles) -> Duration| Line {
        name,
        colour,
        points: of.iter().map(|(at, it)| (*at, millis(part(it)))).collect(),
    };
    [
        line("p50", RGBColor(31, 119, 180), |it| it.p50),
        line("p95", RGBColor(214, 96, 0), |it| it.p95),
        line("p99", RGBColor(130, 130, 130), |it| it.p99),
    ]
}

fn chart(
    area: &Area<'_>,
    title: &str,
    x: &str,
    lines: &[Line],
    limit: f64,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let points = lines.iter().flat_map(|line| &line.points);
    // Room above for the legend.
    let (right, top) = points.fold((1.0_f64, limit * 1.6), |most, point| {
        (most.0.max(point.0), most.1.max(point.1 * 1.05))
    });
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..right * 1.05, 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc("milliseconds")
        .x_label_formatter(&|it| format!("{it:.0}"))
        .y_label_formatter(&|it| format!("{it:.0}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let bound = [(0.0, limit), (right * 1.05, limit)];
    chart
        .draw_series(LineSeries::new(bound, RED.mix(0.7)))?
        .label(format!("objective of p95: {limit:.0} ms"))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], RED.mix(0.7)));
    for line in lines {
        let colour = line.colour;
        chart
            .draw_series(LineSeries::new(line.points.clone(), colour.stroke_width(2)))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
