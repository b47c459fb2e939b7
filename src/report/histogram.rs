//! Distributions of OOD scores: each OOD set beside the ID test set, with the threshold that keeps 95 % of
//! ID.

use maud::{Markup, html};

use super::html::{count, nothing, plural, put};
use super::plot::{Frame, figure, short, widen};

const BINS: usize = 48;

/// The scores of one data set.
#[derive(Clone, Debug)]
pub struct ScoreSeries {
    /// The data set.
    pub dataset: String,
    /// A score an image; larger means more like ID.
    pub values: Vec<f32>,
}

/// One score on the ID test set and on the OOD sets.
#[derive(Clone, Debug)]
pub struct ScoreHistogram {
    /// The score, with the network where there are several ("energy, dream").
    pub score: String,
    /// The ID test set.
    pub id: ScoreSeries,
    /// The OOD sets.
    pub ood: Vec<ScoreSeries>,
    /// Imagined pictures, drawn beside each of them.
    pub imagined: Option<ScoreSeries>,
}

impl ScoreHistogram {
    fn all(&self) -> impl Iterator<Item = &ScoreSeries> {
        std::iter::once(&self.id).chain(&self.ood).chain(&self.imagined)
    }
}

/// Returns the largest value that at least 95 % of the finite `id` scores reach, or `None` when there are
/// none.
pub fn threshold_at_95(id: &[f32]) -> Option<f32> {
    let sorted = finite(id);
    // At most a twentieth lies below it.
    sorted.get(sorted.len() / 20).copied()
}

/// Returns the share of finite scores that reach a threshold, in 0..=1, or `None` when there are none.
pub fn accepted_share(values: &[f32], threshold: f32) -> Option<f64> {
    let finite = values.iter().filter(|v| v.is_finite());
    let n = finite.clone().count();
    (n > 0).then(|| finite.filter(|v| **v >= threshold).count() as f64 / n as f64)
}

fn finite(values: &[f32]) -> Vec<f32> {
    let mut kept: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    kept.sort_by(f32::total_cmp);
    kept
}

/// Returns the share of finite values in each of `bins` equal parts of a range. A part holds its lower edge;
/// values beyond the range count in the first or last part.
pub(super) fn bin_shares(values: &[f32], (lo, hi): (f64, f64), bins: usize) -> Vec<f64> {
    let mut counts = vec![0_usize; bins];
    let mut n = 0;
    for value in values.iter().filter(|v| v.is_finite()) {
        let at = (f64::from(*value) - lo) / (hi - lo) * bins as f64;
        let bin = at.floor().clamp(0.0, bins as f64 - 1.0) as usize;
        counts[bin] += 1; // clamped into the range
        n += 1;
    }
    counts.into_iter().map(|c| c as f64 / n.max(1) as f64).collect()
}

/// Returns the range that holds all but two in a thousand values at either end, of any series, or `None`
/// without values.
fn axis(histogram: &ScoreHistogram) -> Option<(f64, f64)> {
    let ends = histogram.all().filter_map(|series| {
        let sorted = finite(&series.values);
        let cut = sorted.len() / 500;
        Some((
            f64::from(*sorted.get(cut)?),
            f64::from(*sorted.get(sorted.len() - 1 - cut)?),
        ))
    });
    ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).map(widen)
}

/// Returns the content of the section on scores.
pub(super) fn render(histograms: &[ScoreHistogram]) -> Markup {
    let lead = "Larger scores mean more like the training data. The dashed line keeps 95 % of the ID images; \
                what an OOD set has to the right of it would be taken for ID.";
    let none = "There are no score distributions: no scores of an ID and an OOD set belong to this run.";
    section(histograms, lead, none)
}

/// Returns the content of the section on distances to the nearest features.
pub(super) fn render_distances(histograms: &[ScoreHistogram]) -> Markup {
    let lead = "Distances between vectors of length 1, with a minus, so that what is like the training data \
                is on the right; at most 2,000 images of a test set, and vectors of a class. Outliers help \
                where they lie between the ID data and real OOD data. Imagined pictures stand beside real \
                OOD sets where the network rated them (`dream select`).";
    let none =
        "There are no distances: neither sampled vectors nor features of test images belong to this run.";
    section(histograms, lead, none)
}

fn section(histograms: &[ScoreHistogram], lead: &str, none: &str) -> Markup {
    let drawable = |h: &&ScoreHistogram| !finite(&h.id.values).is_empty() && !h.ood.is_empty();
    if !histograms.iter().any(|h| drawable(&h)) {
        return nothing(none);
    }
    let drawn = || histograms.iter().filter(drawable);
    let all = drawn().flat_map(ScoreHistogram::all);
    let skipped: usize = all
        .map(|s| s.values.iter().filter(|v| !v.is_finite()).count())
        .sum();
    let missing = histograms.len() - drawn().count();
    html! {
        p.lead { (lead) }
        @for histogram in drawn() { (panels(histogram)) }
        p.caption {
            (BINS) " bins; each distribution has area one, each panel is scaled to its highest bin; the \
             two in a thousand outermost values of a set may lie beyond the axis and count in the end bins."
            @if skipped > 0 { " " (plural(skipped, "non-finite score", "non-finite scores")) " left out." }
            @if missing > 0 {
                " " (plural(missing, "score", "scores")) " without ID or OOD values not drawn."
            }
        }
    }
}

/// One score: a panel for each OOD set.
fn panels(histogram: &ScoreHistogram) -> Markup {
    let (Some(axis), Some(threshold)) = (axis(histogram), threshold_at_95(&histogram.id.values)) else {
        return html! {};
    };
    html! {
        figure {
            h3 { (histogram.score) }
            div.panels.narrow {
                @for series in &histogram.ood { (panel(histogram, series, axis, threshold)) }
            }
            figcaption {
                ul.legend {
                    li {
                        i.swatch.id {} "ID: " (histogram.id.dataset) " "
                        small { (count(histogram.id.values.len())) }
                    }
                    @if let Some(imagined) = &histogram.imagined {
                        li {
                            i.swatch.imagined {} (imagined.dataset) " "
                            small { (count(imagined.values.len())) ", " (taken(imagined, threshold)) }
                        }
                    }
                    li { i.swatch.ood {} "OOD set of the panel" }
                    li { i.swatch.line {} "95 % of ID at " (figure(f64::from(threshold))) " or more" }
                }
            }
        }
    }
}

/// Says what share of a set passes for ID.
fn taken(series: &ScoreSeries, threshold: f32) -> String {
    accepted_share(&series.values, threshold).map_or_else(
        || "no scores".to_owned(),
        |share| format!("{:.1} % taken for ID", share * 100.0),
    )
}

fn panel(histogram: &ScoreHistogram, series: &ScoreSeries, axis: (f64, f64), threshold: f32) -> Markup {
    let id = bin_shares(&histogram.id.values, axis, BINS);
    let ood = bin_shares(&series.values, axis, BINS);
    let imagined = histogram.imagined.as_ref();
    let imagined = imagined.map(|series| bin_shares(&series.values, axis, BINS));
    let shares = id.iter().chain(&ood).chain(imagined.iter().flatten());
    let highest = shares.fold(0.0_f64, |m, v| m.max(*v));
    let frame = Frame {
        left: 4.0,
        top: 6.0,
        width: 208.0,
        height: 92.0,
        x: axis,
        y: (0.0, highest * 1.04),
    };
    let taken = taken(series, threshold);
    let (score, known) = (&histogram.score, &histogram.id.dataset);
    let label = format!("Histogram of {score} on {known} and {}: {taken}", series.dataset);
    let x = short(frame.px(f64::from(threshold)).clamp(4.0, 212.0));
    html! {
        figure.panel {
            figcaption { (series.dataset) " " small { (taken) } }
            svg.plot viewBox="0 0 216 120" role="img" aria-label=(label) {
                path.area.id d=(steps(&id, &frame)) {}
                path.area.ood d=(steps(&ood, &frame)) {}
                @if let Some(imagined) = &imagined { path.area.imagined d=(steps(imagined, &frame)) {} }
                (frame.x_axis(4))
                path.threshold d={ "M" (x) " 2V98" } {}
            }
        }
    }
}

/// Returns the closed outline of bars.
fn steps(shares: &[f64], frame: &Frame) -> String {
    let width = frame.width / shares.len() as f64;
    let mut path = format!("M{} {}", short(frame.left), short(frame.top + frame.height));
    for (i, share) in shares.iter().enumerate() {
        put!(
            path,
            "V{}H{}",
            short(frame.py(*share)),
            short(frame.left + width * (i + 1) as f64)
        );
    }
    put!(path, "V{}Z", short(frame.top + frame.height));
    path
}
