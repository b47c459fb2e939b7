//! ROC curves: a panel an OOD set, a line a score.

use maud::{Markup, html};

use super::ScoreHistogram;
use super::html::{nothing, put};
use super::plot::{COLOURS, Frame, short};
use crate::ood;

/// Steps of an axis that a drawn line is cut into.
const STEPS: f64 = 200.0;

/// Returns the section's content: curves of the scores whose distributions are drawn.
pub(super) fn render(histograms: &[ScoreHistogram]) -> Markup {
    let mut sets: Vec<&str> = Vec::new();
    for series in histograms.iter().flat_map(|histogram| &histogram.ood) {
        if !sets.contains(&series.dataset.as_str()) {
            sets.push(&series.dataset);
        }
    }
    let panels: Vec<Markup> = sets.iter().filter_map(|set| panel(set, histograms)).collect();
    if panels.is_empty() {
        return nothing("There are no ROC curves: no scores of an ID and an OOD set belong to this run.");
    }
    html! {
        figure {
            div.panels.narrow { @for panel in &panels { (panel) } }
            figcaption {
                "Horizontal axis: share of the OOD images that are taken for ID; vertical axis: share of the \
                 ID images that are. The number beside a name is the area under its curve."
            }
        }
    }
}

/// A line: its style, its path, the score's name, the area under it.
type Line<'a> = (String, String, &'a str, f64);

fn panel(set: &str, histograms: &[ScoreHistogram]) -> Option<Markup> {
    let frame = Frame {
        left: 30.0,
        top: 8.0,
        width: 180.0,
        height: 180.0,
        x: (0.0, 1.0),
        y: (0.0, 1.0),
    };
    let mut lines: Vec<Line<'_>> = Vec::new();
    for (number, histogram) in histograms.iter().enumerate() {
        let id = &histogram.id.values;
        let series = histogram.ood.iter().find(|series| series.dataset == set);
        let curve = series.and_then(|series| {
            let (curve, area) = (ood::roc(id, &series.values), ood::auroc(id, &series.values));
            Some((curve.ok()?, area.ok()?))
        });
        if let Some((curve, area)) = curve {
            let style = format!("curve k{} dash{}", number % COLOURS, number % 4);
            lines.push((style, path(&curve, &frame), &histogram.score, area));
        }
    }
    (!lines.is_empty()).then(|| {
        html! {
            figure.panel {
                figcaption { (set) }
                svg.plot viewBox="0 0 216 212" role="img" aria-label={ "ROC curves on " (set) } {
                    (frame.y_axis(4))
                    (frame.x_axis(4))
                    @for (style, path, ..) in &lines { path class=(style) d=(path) {} }
                }
                ul.legend {
                    @for (style, _, name, area) in &lines {
                        li {
                            svg.key viewBox="0 0 18 18" aria-hidden="true" {
                                path class=(style) d="M0 9H18" {}
                            }
                            (name) " " small { (format!("{:.1} %", area * 100.0)) }
                        }
                    }
                }
            }
        }
    })
}

/// The path of a curve, without points that lie nearer to the one before than a step.
fn path(curve: &[[f64; 2]], frame: &Frame) -> String {
    let mut path = String::new();
    let mut before: Option<[f64; 2]> = None;
    for (number, point) in curve.iter().enumerate() {
        let near = |before: [f64; 2]| {
            (point[0] - before[0]).abs() < 1.0 / STEPS && (point[1] - before[1]).abs() < 1.0 / STEPS
        };
        if before.is_some_and(near) && number + 1 < curve.len() {
            continue;
        }
        let command = if before.is_some() { "L" } else { "M" };
        put!(
            path,
            "{command}{} {}",
            short(frame.px(point[0])),
            short(frame.py(point[1]))
        );
        before = Some(*point);
    }
    path
}
