//! Axes, scales and the shapes that the SVG plots share.

use maud::{Markup, html};

/// Colours of the palette (`--c0` and on in the style sheet), chosen apart for the common kinds of colour
/// blindness.
pub(super) const COLOURS: usize = 10;

/// A rectangle of an SVG and the ranges of the data in it.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub x: (f64, f64),
    pub y: (f64, f64),
}

impl Frame {
    /// Returns the horizontal position of a value.
    pub fn px(&self, value: f64) -> f64 {
        self.left + (value - self.x.0) / (self.x.1 - self.x.0) * self.width
    }

    /// Returns the vertical position of a value; larger values are higher.
    pub fn py(&self, value: f64) -> f64 {
        self.top + self.height - (value - self.y.0) / (self.y.1 - self.y.0) * self.height
    }

    /// Returns grid lines and labels of the vertical axis.
    pub fn y_axis(&self, target: usize) -> Markup {
        let (ticks, step) = ticks(self.y, target);
        html! {
            @for tick in ticks {
                @let y = self.py(tick);
                path.grid d={ "M" (short(self.left)) " " (short(y)) "h" (short(self.width)) } {}
                text.tick.end x=(short(self.left - 6.0)) y=(short(y + 3.5)) { (tick_label(tick, step)) }
            }
        }
    }

    /// Returns the base line, ticks and labels of the horizontal axis.
    pub fn x_axis(&self, target: usize) -> Markup {
        let base = self.top + self.height;
        let (ticks, step) = ticks(self.x, target);
        // A label at the very edge would be cut off.
        let anchor = |x: f64| {
            if x > self.left + self.width - 8.0 {
                "tick end"
            } else {
                "tick mid"
            }
        };
        html! {
            path.axis d={ "M" (short(self.left)) " " (short(base)) "h" (short(self.width)) } {}
            @for tick in ticks {
                @let x = self.px(tick);
                path.axis d={ "M" (short(x)) " " (short(base)) "v4" } {}
                text class=(anchor(x)) x=(short(x)) y=(short(base + 16.0)) { (tick_label(tick, step)) }
            }
        }
    }
}

/// Returns the range of finite values, widened when it is a point, or `None` when there is no finite value.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (lo, hi) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| {
            (lo.min(v), hi.max(v))
        });
    (lo <= hi).then(|| widen((lo, hi)))
}

/// Returns the range itself, or one around it when it is too narrow to divide by.
pub(super) fn widen((lo, hi): (f64, f64)) -> (f64, f64) {
    let size = lo.abs().max(hi.abs());
    if hi - lo > size * 1e-9 && hi - lo > f64::MIN_POSITIVE {
        (lo, hi)
    } else {
        let margin = if size > 0.0 { size * 0.1 } else { 1.0 };
        (lo - margin, hi + margin)
    }
}

/// Returns round numbers inside a range, about `target` of them, and their distance.
pub(super) fn ticks((lo, hi): (f64, f64), target: usize) -> (Vec<f64>, f64) {
    let rough = (hi - lo) / target.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    // The round step nearest by ratio: the bounds are the geometric means of 1, 2, 5 and 10.
    let step = power
        * match rough / power {
            r if r < 2_f64.sqrt() => 1.0,
            r if r < 10_f64.sqrt() => 2.0,
            r if r < 50_f64.sqrt() => 5.0,
            _ => 10.0,
        };
    let first = (lo / step - 1e-9).ceil();
    let last = (hi / step + 1e-9).floor();
    let n = (last - first).clamp(-1.0, 1000.0) as i64 + 1;
    ((0..n).map(|i| (first + i as f64) * step).collect(), step)
}

/// Returns a tick's label with as many decimals as the distance of the ticks needs.
pub(super) fn tick_label(value: f64, step: f64) -> String {
    // A rounding residue next to zero is zero, without a sign.
    let value = if value.abs() < step * 1e-6 { 0.0 } else { value };
    let largest = value.abs().max(step);
    let text = if !(1e-4..1e6).contains(&largest) || (step < 1e-4 && largest < 1e-2) {
        if value == 0.0 {
            "0".to_owned()
        } else {
            format!("{value:.0e}")
        }
    } else {
        let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 8.0) as usize;
        format!("{value:.decimals$}")
    };
    text.replace('-', "\u{2212}")
}

/// Returns a number for reading: four significant digits.
pub(super) fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "not finite".to_owned();
    }
    let size = value.abs();
    let text = if size == 0.0 {
        "0".to_owned()
    } else if (1e-3..1e6).contains(&size) {
        let decimals = (3.0 - size.log10().floor()).clamp(0.0, 6.0) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:.2e}")
    };
    text.replace('-', "\u{2212}")
}

/// Returns a coordinate to a tenth, without a needless ".0".
pub(super) fn short(value: f64) -> String {
    let mut text = format!("{value:.1}");
    if text.ends_with(".0") {
        text.truncate(text.len() - 2);
    }
    if text == "-0" { "0".to_owned() } else { text }
}
