//! Training curves: one panel a quantity, one line a run.

use super::ReportError;
use super::html::{count, escape, nothing, put};
use super::plot::{COLOURS, Frame, figure, range, short};

/// The most points of a drawn line.
const POINTS: usize = 500;

/// One quantity over the epochs of a run.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What is drawn ("training loss", "ID accuracy", "learning rate"); curves of the same name share a panel.
    pub metric: String,
    /// Whose curve it is (a run's alias or a network's name).
    pub run: String,
    /// Epochs, or fractions of them.
    pub epochs: Vec<f64>,
    /// A value an epoch.
    pub values: Vec<f64>,
}

/// Appends the section's content.
pub(super) fn render(out: &mut String, curves: &[Curve]) -> Result<(), ReportError> {
    if let Some(c) = curves.iter().find(|c| c.epochs.len() != c.values.len()) {
        return Err(ReportError::CurveLength {
            metric: c.metric.clone(),
            run: c.run.clone(),
            epochs: c.epochs.len(),
            values: c.values.len(),
        });
    }
    let mut metrics: Vec<&str> = Vec::new();
    let mut runs: Vec<&str> = Vec::new();
    for curve in curves.iter().filter(|c| points(c).next().is_some()) {
        if !metrics.contains(&curve.metric.as_str()) {
            metrics.push(&curve.metric);
        }
        if !runs.contains(&curve.run.as_str()) {
            runs.push(&curve.run);
        }
    }
    if metrics.is_empty() {
        out.push_str(&nothing(
            "There are no training curves: no stage of this lineage trained a network.",
        ));
        return Ok(());
    }
    out.push_str("<figure><div class=\"panels wide\">\n");
    for metric in metrics {
        let of: Vec<&Curve> = curves
            .iter()
            .filter(|c| c.metric == metric && points(c).next().is_some())
            .collect();
        panel(out, metric, &of, &runs);
    }
    out.push_str(
        "</div><figcaption>Horizontal axis: epoch. The number beside a name is the last value of its line",
    );
    let longest = curves.iter().map(|c| c.values.len()).max().unwrap_or(0);
    if longest > POINTS {
        put!(
            out,
            "; lines of up to {} values are drawn through {} evenly spaced ones",
            count(longest),
            count(POINTS)
        );
    }
    let skipped: usize = curves.iter().map(|c| c.values.len() - points(c).count()).sum();
    if skipped > 0 {
        put!(out, "; {} non-finite values left out", count(skipped));
    }
    out.push_str(".</figcaption></figure>\n");
    Ok(())
}

fn points(curve: &Curve) -> impl Iterator<Item = (f64, f64)> {
    let pairs = curve.epochs.iter().copied().zip(curve.values.iter().copied());
    pairs.filter(|(epoch, value)| epoch.is_finite() && value.is_finite())
}

fn panel(out: &mut String, metric: &str, curves: &[&Curve], runs: &[&str]) {
    let all = || curves.iter().flat_map(|c| points(c));
    // The caller passes only curves with points, so both ranges exist.
    let (Some(x), Some(y)) = (range(all().map(|p| p.0)), range(all().map(|p| p.1))) else {
        return;
    };
    let margin = (y.1 - y.0) * 0.05;
    let frame = Frame {
        left: 48.0,
        top: 10.0,
        width: 300.0,
        height: 160.0,
        x,
        y: (y.0 - margin, y.1 + margin),
    };
    put!(
        out,
        "<figure class=\"panel\"><figcaption>{}</figcaption><svg class=\"plot\" viewBox=\"0 0 360 196\" role=\"img\" aria-label=\"{}\">",
        escape(metric),
        escape(&format!("{metric} over epochs"))
    );
    frame.y_axis(out, 4);
    frame.x_axis(out, 5);
    let mut legend = String::new();
    for curve in curves {
        let number = runs.iter().position(|r| *r == curve.run).unwrap_or(0);
        let style = format!("k{} dash{}", number % COLOURS, number % 4);
        let points: Vec<(f64, f64)> = points(curve).collect();
        let mut path = String::new();
        let drawn = points.len().min(POINTS);
        for i in 0..drawn {
            let at = if drawn > 1 {
                i * (points.len() - 1) / (drawn - 1)
            } else {
                0
            };
            let (epoch, value) = points[at]; // at most the last
            put!(
                path,
                "{}{} {}",
                if i == 0 { "M" } else { "L" },
                short(frame.px(epoch)),
                short(frame.py(value))
            );
        }
        if drawn == 1 {
            path.push_str("h0");
        }
        put!(out, "<path class=\"curve {style}\" d=\"{path}\"/>");
        let last = points.last().map_or(f64::NAN, |p| p.1);
        put!(
            legend,
            "<li><svg class=\"key\" viewBox=\"0 0 18 18\" aria-hidden=\"true\"><path class=\"curve {style}\" d=\"M0 9H18\"/></svg>{} \
             <small>{}</small></li>",
            escape(&curve.run),
            figure(last)
        );
    }
    put!(out, "</svg><ul class=\"legend\">{legend}</ul></figure>\n");
}
