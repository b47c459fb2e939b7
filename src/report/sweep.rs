//! A metric over a parameter, as an SVG file of its own.

use maud::{Markup, PreEscaped, html};

use super::html::clean;
use super::plot::{COLOURS, Frame, range, short};

/// The colours of lines, chosen apart for the common kinds of colour blindness (Okabe and Ito, 2008).
const PALETTE: [&str; COLOURS] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999", "#7f3c8d",
    "#a5aa99",
];

/// A line of a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepLine {
    /// What it is of.
    pub name: String,
    /// Parameter, mean and spread, in any order; no spread of one seed.
    pub points: Vec<(f64, f64, Option<f64>)>,
}

/// A plot of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepPanel {
    /// The metric.
    pub metric: String,
    /// Its lines.
    pub lines: Vec<SweepLine>,
}

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 280.0;

/// Returns panels below each other as one SVG image; `parameter` is the horizontal axis. Whiskers are the
/// spread.
pub fn sweep_svg(parameter: &str, panels: &[SweepPanel]) -> String {
    let names = panels
        .iter()
        .flat_map(|panel| &panel.lines)
        .map(|line| line.name.as_str());
    let mut known: Vec<&str> = Vec::new();
    for name in names {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    let legend = 18.0 * known.len() as f64;
    let height = HEIGHT * panels.len() as f64 + legend + 12.0;
    let size = format!("0 0 {} {}", short(WIDTH), short(height));
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(size) width=(short(WIDTH)) height=(short(height)) {
            style { (PreEscaped(
                "text{font:12px sans-serif}.mid{text-anchor:middle}.end{text-anchor:end}.tick{fill:#555}\
                 .grid{stroke:#ddd}.axis{stroke:#555}.grid,.axis,.line{fill:none}.line{stroke-width:2}"
            )) }
            rect width="100%" height="100%" fill="white" {}
            @for (number, panel) in panels.iter().enumerate() {
                g transform={ "translate(0 " (short(HEIGHT * number as f64)) ")" } {
                    (draw(panel, parameter, &known))
                }
            }
            @for (number, name) in known.iter().enumerate() {
                @let y = HEIGHT * panels.len() as f64 + 18.0 * number as f64 + 8.0;
                path.line d={ "M56 " (short(y)) "h20" } stroke=(colour(number)) {}
                text x="82" y=(short(y + 4.0)) { (name) }
            }
        }
    };
    clean(&svg.into_string())
}

fn colour(number: usize) -> &'static str {
    PALETTE[number % COLOURS]
}

fn draw(panel: &SweepPanel, parameter: &str, known: &[&str]) -> Markup {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let ends = points().flat_map(|(_, y, spread)| {
        let spread = spread.unwrap_or(0.0);
        [y - spread, y + spread]
    });
    let (Some(x), Some(y)) = (range(points().map(|point| point.0)), range(ends)) else {
        return html! {};
    };
    let margin = |(low, high): (f64, f64), share: f64| {
        let margin = (high - low) * share;
        (low - margin, high + margin)
    };
    let frame = Frame {
        left: 56.0,
        top: 30.0,
        width: WIDTH - 76.0,
        height: HEIGHT - 78.0,
        x: margin(x, 0.03),
        y: margin(y, 0.06),
    };
    html! {
        text x="56" y="18" { (panel.metric) }
        (frame.y_axis(5))
        (frame.x_axis(6))
        text.mid x=(short(frame.left + frame.width / 2.0)) y=(short(HEIGHT - 12.0)) { (parameter) }
        @for line in &panel.lines {
            @let number = known.iter().position(|name| *name == line.name).unwrap_or(0);
            (draw_line(line, &frame, colour(number)))
        }
    }
}

fn draw_line(line: &SweepLine, frame: &Frame, colour: &str) -> Markup {
    let mut points: Vec<_> = line.points.iter().filter(|point| point.1.is_finite()).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = |x: f64, y: f64| format!("{} {}", short(frame.px(x)), short(frame.py(y)));
    let path: Vec<String> = points.iter().map(|(x, y, _)| at(*x, *y)).collect();
    html! {
        path.line stroke=(colour) d={ "M" (path.join("L")) } {}
        @for (x, y, spread) in points {
            circle cx=(short(frame.px(*x))) cy=(short(frame.py(*y))) r="3" fill=(colour) {}
            @if let Some(spread) = spread {
                path.line stroke=(colour) d={ "M" (at(*x, y - spread)) "L" (at(*x, y + spread)) } {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_points_whiskers_and_names() {
        let line = |name: &str, points: &[(f64, f64, Option<f64>)]| SweepLine {
            name: name.to_owned(),
            points: points.to_vec(),
        };
        let panel = SweepPanel {
            metric: "AUROC <%>".into(),
            lines: vec![
                line("dream, msp", &[(0.2, 70.0, Some(1.0)), (0.1, 60.0, None)]),
                line("dream, energy", &[(0.1, f64::NAN, None), (0.2, 80.0, Some(0.5))]),
            ],
        };
        let svg = sweep_svg("sample.sampling.sigma", &[panel.clone(), panel]);
        assert!(svg.starts_with("<svg xmlns"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 6);
        assert!(svg.contains("AUROC &lt;%&gt;") && !svg.contains("NaN"), "{svg}");
        assert_eq!(svg.matches("dream, msp").count(), 1, "one legend for all panels");
        assert!(!sweep_svg("k", &[]).contains("NaN"));
    }
}
