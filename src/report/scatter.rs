//! The embedding space in a plane: ID features, class embeddings, inliers and outliers.

use std::collections::HashMap;

use maud::{Markup, html};

use super::html::{count, nothing, plural, put, scroll, thin};
use super::plot::{COLOURS, short, widen};

/// The most features in the large plot, the most marks of another kind in it, and the most of a kind in the
/// plot of a class.
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
/// Vectors of one scale belong in one plot: class embeddings and outliers are stored with the length of T(y),
/// ID features with length 1, so normalise all of them before [`pca2`](super::pca2).
#[derive(Clone, Debug, Default)]
pub struct Projection {
    /// The points.
    pub groups: Vec<PointGroup>,
    /// Share of the variance along each axis, in 0..=1, of the vectors that the plane was fitted to.
    pub explained: [f64; 2],
    /// What the plane was fitted to and what was normalised, in a sentence.
    pub note: String,
}

/// Returns the section's content.
pub(super) fn render(projection: Option<&Projection>) -> Markup {
    let Some(view) = projection.and_then(View::of) else {
        let sentence =
            "There is no embedding projection: this run has neither ID features nor outlier embeddings.";
        return nothing(sentence);
    };
    html! {
        p.lead {
            "The text-conditioned space, seen along the two directions in which the ID features vary most. \
             Outliers should lie at the rim of their class, not inside another one; a plane shows \
             only part of this."
        }
        (view.overview())
        @if view.classes.len() > 1 { (view.classes()) }
    }
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

    /// The groups of a mark, with their numbers.
    fn groups(&self, mark: Mark) -> impl Iterator<Item = (usize, &PointGroup)> {
        let groups = self.placed.iter().map(|(group, _)| *group).enumerate();
        groups.filter(move |(_, group)| group.mark == mark)
    }

    fn overview(&self) -> Markup {
        let mut shown = 0;
        let mut layers = Vec::new();
        for mark in Mark::ALL {
            let limit = if mark == Mark::Feature { FEATURES } else { MARKS };
            let total = self.total(mark);
            let mut paths = Vec::new();
            for (i, group) in self.groups(mark) {
                let (path, n) = self.path(i, limit, total, 1.0);
                shown += n;
                paths.push((self.colour(&group.class_name), path));
            }
            layers.push((mark, paths));
        }
        let [first, second] = self
            .projection
            .explained
            .map(|share| format!("{:.1} %", share * 100.0));
        let plot = html! {
            svg.plot.scatter viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img"
                aria-label={ "Scatter plot of " (self.summary()) } {
                rect.pane width=(WIDTH) height=(HEIGHT) {}
                @for (mark, paths) in &layers {
                    g class=(mark.class()) id=[(*mark == Mark::Feature).then_some("features")] {
                        @for (colour, path) in paths { path class={ "k" (colour) } d=(path) {} }
                    }
                }
                @for (class, x, y) in self.names() { text.name.mid x=(short(x)) y=(short(y)) { (class) } }
                text.tick.end x=(WIDTH - 10.0) y=(HEIGHT - 9.0) { "PC 1, " (first) " of variance \u{2192}" }
                text.tick transform={ "translate(16 " (HEIGHT - 12.0) ") rotate(-90)" } {
                    "PC 2, " (second) " \u{2192}"
                }
            }
        };
        html! {
            figure {
                (scroll("Embedding projection", &plot))
                figcaption { (self.legend()) (self.caption(shown)) }
            }
        }
    }

    fn legend(&self) -> Markup {
        let mark_path = |mark: Mark| {
            let mut path = String::new();
            mark.path(&mut path, (9.0, 9.0), 1.2);
            path
        };
        html! {
            ul.legend {
                @for mark in Mark::ALL.into_iter().filter(|m| self.total(*m) > 0) {
                    li {
                        svg.key viewBox="0 0 18 18" aria-hidden="true" {
                            g class=(mark.class()) { path.kn d=(mark_path(mark)) {} }
                        }
                        (mark.name()) " " small { (count(self.total(mark))) }
                    }
                }
            }
        }
    }

    fn caption(&self, shown: usize) -> Markup {
        let total: usize = Mark::ALL.into_iter().map(|m| self.total(m)).sum();
        let classes = self.classes.len();
        html! {
            "Colour is the class, named at its embedding or amid its features."
            @if classes > COLOURS {
                " Colours repeat after " (COLOURS) " classes"
                @if classes > NAMES { "; " (NAMES) " of " (count(classes)) " are named" }
                "."
            }
            " " (self.projection.note)
            @if shown < total {
                " " (count(shown)) " of " (count(total))
                " points drawn, a random subset that is the same every time."
            }
            @if self.dropped > 0 {
                " " (plural(self.dropped, "point", "points")) " with non-finite coordinates left out."
            }
        }
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

    /// At most `limit` of the classes, evenly from all of them.
    fn some(&self, limit: usize) -> impl Iterator<Item = &'a str> {
        let n = self.classes.len().min(limit);
        (0..n).filter_map(move |i| self.classes.get(i * self.classes.len() / n).copied())
    }

    /// Returns where each class' name stands: at its embedding, or in the middle of its features, where it
    /// covers no other name.
    fn names(&self) -> Vec<(&'a str, f64, f64)> {
        let gems = self.placed.iter().filter(|(g, _)| g.mark == Mark::ClassEmbedding);
        let gems = gems.flat_map(|(_, points)| points);
        let mut taken: Vec<Area> = gems.map(|(x, y)| [x - 8.0, y - 8.0, x + 8.0, y + 8.0]).collect();
        let mut names = Vec::new();
        for class in self.some(NAMES) {
            let of = |mark: Mark| {
                let mut groups = self.placed.iter();
                groups.find(|(g, p)| g.mark == mark && g.class_name == *class && !p.is_empty())
            };
            let Some((_, points)) = of(Mark::ClassEmbedding).or_else(|| of(Mark::Feature)) else {
                continue;
            };
            let n = points.len() as f64;
            let middle = points
                .iter()
                .fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
            let half = class.chars().count() as f64 * 6.6 / 2.0;
            let (x, y) = free_spot(middle, half, &taken);
            taken.push(area((x, y), half));
            names.push((class, x, y));
        }
        names
    }

    /// One small plot a class: all features grey behind, its own in colour.
    fn classes(&self) -> Markup {
        let shown = self.classes.len().min(CLASSES);
        html! {
            figure {
                div.panels.narrow { @for class in self.some(CLASSES) { (self.class(class)) } }
                figcaption {
                    "One class at a time: its features blue, its outliers orange crosses, all other features "
                    "grey"
                    @if self.placed.iter().any(|(_, p)| p.len() > MARKS_OF_CLASS) {
                        "; at most " (count(MARKS_OF_CLASS)) " marks of a kind"
                    }
                    @if shown < self.classes.len() {
                        "; " (count(shown)) " of " (count(self.classes.len())) " classes, evenly spaced"
                    }
                    "."
                }
            }
        }
    }

    fn class(&self, class: &str) -> Markup {
        // `i` enumerates `placed`.
        let path = |i: usize| self.path(i, MARKS_OF_CLASS, self.placed[i].1.len(), 2.2).0;
        html! {
            figure.panel {
                figcaption { (class) }
                svg.plot.scatter.small viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img"
                    aria-label={ "Features and outliers of " (class) " before all features" } {
                    rect.pane width=(WIDTH) height=(HEIGHT) {}
                    use.behind href="#features" {}
                    @for mark in Mark::ALL {
                        g class=(mark.class()) {
                            @for (i, _) in self.groups(mark).filter(|(_, group)| group.class_name == class) {
                                path class={ "s" (mark.class()) } d=(path(i)) {}
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Left, upper, right and lower end.
type Area = [f64; 4];

/// What a name covers, of which half is `half` wide.
fn area((x, y): (f64, f64), half: f64) -> Area {
    [x - half, y - 10.0, x + half, y + 3.0]
}

/// Returns the spot near `(x, y)` where a name covers least of what is there and stays in the plot.
fn free_spot((x, y): (f64, f64), half: f64, taken: &[Area]) -> (f64, f64) {
    let spots = [
        (x + 11.0 + half, y + 4.0),
        (x - 11.0 - half, y + 4.0),
        (x, y - 12.0),
        (x, y + 19.0),
        (x + 8.0 + half, y + 15.0),
    ];
    let overlap = |spot: &(f64, f64)| {
        let a = area(*spot, half);
        let outside = (2.0 - a[0]).max(0.0) + (a[2] - WIDTH + 2.0).max(0.0) + (14.0 - spot.1).max(0.0);
        let covered = taken.iter().map(|b| {
            let (width, height) = (a[2].min(b[2]) - a[0].max(b[0]), a[3].min(b[3]) - a[1].max(b[1]));
            width.max(0.0) * height.max(0.0)
        });
        covered.sum::<f64>() + outside * 1e3
    };
    let best = spots.iter().min_by(|a, b| overlap(a).total_cmp(&overlap(b)));
    best.copied().unwrap_or((x, y))
}
