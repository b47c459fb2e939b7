//! The embedding space in a plane: ID features, class embeddings, inliers and outliers.

use std::collections::HashMap;

use super::html::{count, escape, nothing, plural, put, thin};
use super::plot::{COLOURS, short, widen};

/// The most features in the large plot, the most marks of another kind in it, and the most of a kind in the plot of a class.
const FEATURES: usize = 9000;
const MARKS: usize = 3000;
const MARKS_OF_CLASS: usize = 400;
/// The most plots of single classes, and of names in the large plot.
const CLASSES: usize = 12;
const NAMES: usize = 30;
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 540.0;
const MARGIN: f64 = 26.0;

/// What the points of a group are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    /// ID features, drawn as faint dots.
    Feature,
    /// Sampled inlier embeddings, drawn as rings.
    Inlier,
    /// Sampled outlier embeddings, drawn as crosses.
    Outlier,
    /// Class embeddings, drawn as large diamonds with the name beside them.
    ClassEmbedding,
}

impl Mark {
    const ALL: [Mark; 4] = [Mark::Feature, Mark::Inlier, Mark::Outlier, Mark::ClassEmbedding];

    fn class(self) -> &'static str {
        match self {
            Mark::Feature => "dot",
            Mark::Inlier => "ring",
            Mark::Outlier => "cross",
            Mark::ClassEmbedding => "gem",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Mark::Feature => "ID feature",
            Mark::Inlier => "inlier embedding",
            Mark::Outlier => "outlier embedding",
            Mark::ClassEmbedding => "class embedding",
        }
    }

    /// Appends the path of one mark, `size` times its size in the large plot.
    fn path(self, out: &mut String, (x, y): (f64, f64), size: f64) {
        let (x, y) = (short(x), short(y));
        let (r, d) = (short(2.6 * size), short(5.2 * size));
        match self {
            // A line of no length with round ends is a dot, in the fewest bytes.
            Mark::Feature => put!(out, "M{x} {y}h0"),
            Mark::Inlier => put!(out, "M{x} {y}m-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0-{d} 0"),
            Mark::Outlier => put!(out, "M{x} {y}m-{r}-{r}l{d} {d}m0-{d}l-{d} {d}"),
            Mark::ClassEmbedding => {
                let r = short(6.5 * size);
                put!(out, "M{x} {y}m0-{r}l{r} {r}l-{r} {r}l-{r}-{r}z");
            }
        }
    }
}

/// Points of one kind and class.
#[derive(Clone, Debug)]
pub struct PointGroup {
    /// What they are.
    pub mark: Mark,
    /// The class they belong to.
    pub class_name: String,
    /// Coordinates in the plane, as [`Basis::project`](super::Basis::project) returns them.
    pub points: Vec<[f32; 2]>,
}

/// Vectors drawn in the plane of their largest variance.
///
/// Vectors of one scale belong in one plot: class embeddings and outliers are stored with the length of T(y), ID features
/// with length 1, so normalise all of them before [`pca2`](super::pca2).
#[derive(Clone, Debug, Default)]
pub struct Projection {
    /// The points.
    pub groups: Vec<PointGroup>,
    /// Share of the variance along each axis, in 0..=1, of the vectors that the plane was fitted to.
    pub explained: [f64; 2],
    /// What the plane was fitted to and what was normalised, in a sentence.
    pub note: String,
}

/// Appends the section's content.
pub(super) fn render(out: &mut String, projection: Option<&Projection>) {
    let empty = "There is no embedding projection: this run has neither ID features nor outlier embeddings.";
    let Some(projection) = projection else {
        return out.push_str(&nothing(empty));
    };
    let Some(view) = View::of(projection) else {
        return out.push_str(&nothing(empty));
    };
    out.push_str(
        "<p class=\"lead\">The text-conditioned space, seen along the two directions in which the ID features vary most. \
         Outliers should lie at the rim of their class, not inside another one; a plane shows only part of this.</p>\n",
    );
    view.overview(out);
    view.classes(out);
}

struct View<'a> {
    projection: &'a Projection,
    classes: Vec<&'a str>,
    /// Positions in the plot of the finite points of each group.
    placed: Vec<(&'a PointGroup, Vec<(f64, f64)>)>,
    dropped: usize,
}

impl<'a> View<'a> {
    fn of(projection: &'a Projection) -> Option<Self> {
        let finite = |p: &&[f32; 2]| p.iter().all(|v| v.is_finite());
        let all = || projection.groups.iter().flat_map(|g| &g.points);
        let total = all().count();
        let used = all().filter(finite).count();
        let extent = |axis: usize| super::plot::range(all().filter(finite).map(|p| f64::from(p[axis])));
        let (x, y) = (widen(extent(0)?), widen(extent(1)?));
        // One scale for both axes, for distances in the plane to be comparable.
        let (inner_w, inner_h) = (WIDTH - 2.0 * MARGIN, HEIGHT - 2.0 * MARGIN);
        let scale = (inner_w / (x.1 - x.0)).min(inner_h / (y.1 - y.0));
        let place = |p: &[f32; 2]| {
            let dx = f64::from(p[0]) - 0.5 * (x.0 + x.1);
            let dy = f64::from(p[1]) - 0.5 * (y.0 + y.1);
            (WIDTH / 2.0 + dx * scale, HEIGHT / 2.0 - dy * scale)
        };
        let mut classes: Vec<&str> = Vec::new();
        let mut known = HashMap::new();
        for group in &projection.groups {
            known
                .entry(group.class_name.as_str())
                .or_insert_with(|| classes.push(&group.class_name));
        }
        let placed = projection
            .groups
            .iter()
            .map(|g| (g, g.points.iter().filter(finite).map(place).collect()));
        Some(Self {
            projection,
            classes,
            placed: placed.collect(),
            dropped: total - used,
        })
    }

    fn colour(&self, class: &str) -> usize {
        self.classes.iter().position(|c| *c == class).unwrap_or(0) % COLOURS
    }

    fn total(&self, mark: Mark) -> usize {
        self.placed
            .iter()
            .filter(|(g, _)| g.mark == mark)
            .map(|(_, p)| p.len())
            .sum()
    }

    /// Returns the path of the marks of a group, thinned to its share of `limit` among `total`.
    fn path(&self, index: usize, limit: usize, total: usize, size: f64) -> (String, usize) {
        let (group, points) = &self.placed[index]; // callers enumerate `placed`
        let share = if total <= limit {
            points.len()
        } else {
            (points.len() * limit / total).max(1)
        };
        let kept = thin(points.len(), share, index as u32);
        let mut path = String::new();
        kept.iter()
            .filter_map(|i| points.get(*i))
            .for_each(|at| group.mark.path(&mut path, *at, size));
        (path, kept.len())
    }

    fn overview(&self, out: &mut String) {
        put!(
            out,
            "<figure><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Embedding projection\">\
             <svg class=\"plot scatter\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Scatter plot of {}\">\n",
            escape(&self.summary())
        );
        put!(
            out,
            "<rect class=\"pane\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>"
        );
        let mut shown = 0;
        for mark in Mark::ALL {
            let total = self.total(mark);
            let limit = if mark == Mark::Feature { FEATURES } else { MARKS };
            put!(
                out,
                "<g class=\"{}\"{}>",
                mark.class(),
                if mark == Mark::Feature {
                    " id=\"features\""
                } else {
                    ""
                }
            );
            for (i, (group, _)) in self
                .placed
                .iter()
                .enumerate()
                .filter(|(_, (g, _))| g.mark == mark)
            {
                let (path, n) = self.path(i, limit, total, 1.0);
                shown += n;
                put!(
                    out,
                    "<path class=\"k{}\" d=\"{path}\"/>",
                    self.colour(&group.class_name)
                );
            }
            out.push_str("</g>\n");
        }
        self.names(out);
        let [first, second] = self.projection.explained.map(|v| v * 100.0);
        put!(
            out,
            "<text class=\"tick end\" x=\"{}\" y=\"{}\">PC 1, {first:.1} % of variance \u{2192}</text>\
             <text class=\"tick\" transform=\"translate(16 {}) rotate(-90)\">PC 2, {second:.1} % \u{2192}</text></svg></div>\n",
            WIDTH - 10.0,
            HEIGHT - 9.0,
            HEIGHT - 12.0
        );
        out.push_str("<figcaption><ul class=\"legend\">");
        for mark in Mark::ALL.into_iter().filter(|m| self.total(*m) > 0) {
            let mut path = String::new();
            mark.path(&mut path, (9.0, 9.0), 1.2);
            put!(
                out,
                "<li><svg class=\"key\" viewBox=\"0 0 18 18\" aria-hidden=\"true\"><g class=\"{}\"><path class=\"kn\" d=\"{path}\"/>\
                 </g></svg>{} <small>{}</small></li>",
                mark.class(),
                mark.name(),
                count(self.total(mark))
            );
        }
        out.push_str("</ul>");
        let total: usize = Mark::ALL.into_iter().map(|m| self.total(m)).sum();
        out.push_str("Colour is the class, named at its embedding or amid its features.");
        if self.classes.len() > COLOURS {
            put!(out, " Colours repeat after {COLOURS} classes");
            if self.classes.len() > NAMES {
                put!(out, "; {NAMES} of {} are named", count(self.classes.len()));
            }
            out.push('.');
        }
        put!(out, " {}", escape(&self.projection.note));
        if shown < total {
            put!(
                out,
                " {} of {} points drawn, a random subset that is the same every time.",
                count(shown),
                count(total)
            );
        }
        if self.dropped > 0 {
            put!(
                out,
                " {} with non-finite coordinates left out.",
                plural(self.dropped, "point", "points")
            );
        }
        out.push_str("</figcaption></figure>\n");
    }

    fn summary(&self) -> String {
        let parts = Mark::ALL
            .into_iter()
            .filter(|m| self.total(*m) > 0)
            .map(|m| format!("{} {}s", self.total(m), m.name()));
        format!(
            "{} of {}",
            parts.collect::<Vec<_>>().join(", "),
            plural(self.classes.len(), "class", "classes")
        )
    }

    /// Writes each class' name at its embedding, or in the middle of its features, where it covers no other name.
    fn names(&self, out: &mut String) {
        let gems = self
            .placed
            .iter()
            .filter(|(g, _)| g.mark == Mark::ClassEmbedding)
            .flat_map(|(_, points)| points);
        let mut boxes: Vec<[f64; 4]> = gems.map(|(x, y)| [x - 8.0, y - 8.0, x + 8.0, y + 8.0]).collect();
        let n = self.classes.len().min(NAMES);
        for class in (0..n).filter_map(|i| self.classes.get(i * self.classes.len() / n)) {
            let of = |mark: Mark| {
                self.placed
                    .iter()
                    .find(|(g, p)| g.mark == mark && g.class_name == *class && !p.is_empty())
            };
            let Some((_, points)) = of(Mark::ClassEmbedding).or_else(|| of(Mark::Feature)) else {
                continue;
            };
            let n = points.len() as f64;
            let (x, y) = points
                .iter()
                .fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
            let width = class.chars().count() as f64 * 6.6;
            let half = width / 2.0;
            let spots = [
                (x + 11.0 + half, y + 4.0),
                (x - 11.0 - half, y + 4.0),
                (x, y - 12.0),
                (x, y + 19.0),
                (x + 8.0 + half, y + 15.0),
            ];
            let area = |spot: &(f64, f64)| [spot.0 - half, spot.1 - 10.0, spot.0 + half, spot.1 + 3.0];
            let overlap = |spot: &(f64, f64)| {
                let a = area(spot);
                let outside =
                    (2.0 - a[0]).max(0.0) + (a[2] - WIDTH + 2.0).max(0.0) + (14.0 - spot.1).max(0.0);
                let covered: f64 = boxes
                    .iter()
                    .map(|b| {
                        let w = a[2].min(b[2]) - a[0].max(b[0]);
                        let h = a[3].min(b[3]) - a[1].max(b[1]);
                        w.max(0.0) * h.max(0.0)
                    })
                    .sum();
                covered + outside * 1e3
            };
            let best = spots
                .iter()
                .min_by(|a, b| overlap(a).total_cmp(&overlap(b)))
                .copied()
                .unwrap_or((x, y));
            put!(
                out,
                "<text class=\"name mid\" x=\"{}\" y=\"{}\">{}</text>",
                short(best.0),
                short(best.1),
                escape(class)
            );
            boxes.push(area(&best));
        }
    }

    /// One small plot a class: all features grey behind, its own in colour.
    fn classes(&self, out: &mut String) {
        if self.classes.len() < 2 {
            return;
        }
        let n = self.classes.len().min(CLASSES);
        let chosen: Vec<&str> = (0..n)
            .filter_map(|i| self.classes.get(i * self.classes.len() / n))
            .copied()
            .collect();
        out.push_str("<figure><div class=\"panels narrow\">\n");
        for class in chosen {
            put!(
                out,
                "<figure class=\"panel\"><figcaption>{}</figcaption><svg class=\"plot scatter small\" \
                 viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\"><rect class=\"pane\" width=\"{WIDTH}\" \
                 height=\"{HEIGHT}\"/><use class=\"behind\" href=\"#features\"/>",
                escape(class),
                escape(&format!("Features and outliers of {class} before all features"))
            );
            for mark in Mark::ALL {
                put!(out, "<g class=\"{}\">", mark.class());
                for (i, (group, points)) in self.placed.iter().enumerate() {
                    if group.mark == mark && group.class_name == class {
                        put!(
                            out,
                            "<path class=\"s{}\" d=\"{}\"/>",
                            mark.class(),
                            self.path(i, MARKS_OF_CLASS, points.len(), 2.2).0
                        );
                    }
                }
                out.push_str("</g>");
            }
            out.push_str("</svg></figure>\n");
        }
        out.push_str("</div><figcaption>One class at a time: its features blue, its outliers orange crosses, all other features grey");
        if self.placed.iter().any(|(_, p)| p.len() > MARKS_OF_CLASS) {
            put!(out, "; at most {} marks of a kind", count(MARKS_OF_CLASS));
        }
        if n < self.classes.len() {
            put!(
                out,
                "; {} of {} classes, evenly spaced",
                count(n),
                count(self.classes.len())
            );
        }
        out.push_str(".</figcaption></figure>\n");
    }
}
