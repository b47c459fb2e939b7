//! Training curves: one panel per quantity, one line per run.

use maud::{Markup, html};

use super::ReportError;
use super::html::{count, nothing, put};
use super::plot::{COLOURS, Frame, figure, range, short};

/// The most points of a drawn line.
const POINTS: usize = 500;

/// One quantity over the epochs of a run.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What is drawn ("training loss", "ID accuracy", "learning rate"); curves of the same name share a
    /// panel.
    pub metric: String,
    /// Whose curve it is (a run's alias or a network's name).
    pub run: String,
    /// Epochs, or fractions of them.
    pub epochs: Vec<f64>,
    /// A value an epoch.
    pub values: Vec<f64>,
}

impl Curve {
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let pairs = self.epochs.iter().copied().zip(self.values.iter().copied());
        pairs.filter(|(epoch, value)| epoch.is_finite() && value.is_finite())
    }
}

/// Returns the section's content.
pub(super) fn render(curves: &[Curve]) -> Result<Markup, ReportError> {
    if let Some(c) = curves.iter().find(|c| c.epochs.len() != c.values.len()) {
        return Err(ReportError::CurveLength {
            metric: c.metric.clone(),
            run: c.run.clone(),
            epochs: c.epochs.len(),
            values: c.values.len(),
        });
    }
    let drawn: Vec<&Curve> = curves.iter().filter(|c| c.points().next().is_some()).collect();
    let (mut metrics, mut runs): (Vec<&str>, Vec<&str>) = Default::default();
    for curve in &drawn {
        if !metrics.contains(&curve.metric.as_str()) {
            metrics.push(&curve.metric);
        }
        if !runs.contains(&curve.run.as_str()) {
            runs.push(&curve.run);
        }
    }
    if metrics.is_empty() {
        let sentence = "There are no training curves: no stage of this lineage trained a network.";
        return Ok(nothing(sentence));
    }
    let longest = curves.iter().map(|c| c.values.len()).max().unwrap_or(0);
    let skipped: usize = curves.iter().map(|c| c.values.len() - c.points().count()).sum();
    Ok(html! {
        figure {
            div.panels.wide {
                @for metric in metrics {
                    @let of: Vec<&Curve> = drawn.iter().copied().filter(|c| c.metric == metric).collect();
                    (panel(metric, &of, &runs))
                }
            }
            figcaption {
                "Horizontal axis: epoch. The number beside a name is the last value of its line"
                @if longest > POINTS {
                    "; lines of up to " (count(longest)) " values are drawn through " (count(POINTS))
                    " evenly spaced ones"
                }
                @if skipped > 0 { "; " (count(skipped)) " non-finite values left out" }
                "."
            }
        }
    })
}

fn panel(metric: &str, curves: &[&Curve], runs: &[&str]) -> Markup {
    let all = || curves.iter().flat_map(|c| c.points());
    // The caller passes only curves with points, so both ranges exist.
    let (Some(x), Some(y)) = (range(all().map(|p| p.0)), range(all().map(|p| p.1))) else {
        return html! {};
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
    let style = |curve: &Curve| {
        let number = runs.iter().position(|r| *r == curve.run).unwrap_or(0);
        format!("curve k{} dash{}", number % COLOURS, number % 4)
    };
    html! {
        figure.panel {
            figcaption { (metric) }
            svg.plot viewBox="0 0 360 196" role="img" aria-label={ (metric) " over epochs" } {
                (frame.y_axis(4))
                (frame.x_axis(5))
                @for curve in curves { path class=(style(curve)) d=(line(curve, &frame)) {} }
            }
            ul.legend {
                @for curve in curves {
                    li {
                        svg.key viewBox="0 0 18 18" aria-hidden="true" {
                            path class=(style(curve)) d="M0 9H18" {}
                        }
                        (curve.run) " "
                        small { (figure(curve.points().last().map_or(f64::NAN, |p| p.1))) }
                    }
                }
            }
        }
    }
}

/// Returns the path of a curve, through at most [`POINTS`] of its points.
fn line(curve: &Curve, frame: &Frame) -> String {
    let points: Vec<(f64, f64)> = curve.points().collect();
    let drawn = points.len().min(POINTS);
    let mut path = String::new();
    for i in 0..drawn {
        let at = if drawn > 1 {
            i * (points.len() - 1) / (drawn - 1)
        } else {
            0
        };
        let (epoch, value) = points[at]; // at most the last
        let (x, y) = (short(frame.px(epoch)), short(frame.py(value)));
        put!(path, "{}{x} {y}", if i == 0 { "M" } else { "L" });
    }
    if drawn == 1 {
        path.push_str("h0");
    }
    path
}
