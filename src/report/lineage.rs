//! Where a result comes from: the runs, drawn as a graph from data to result, and listed with all parameters.

use std::collections::HashMap;

use maud::{Markup, html};

use super::ReportError;
use super::html::{count, nothing, put, scroll};
use super::layers::{Layout, layout};
use super::plot::short;

const STEP_X: f64 = 186.0;
const STEP_Y: f64 = 88.0;
const BOX_W: f64 = 166.0;
const BOX_H: f64 = 54.0;
/// Stands where there is nothing to say.
const NONE: &str = "\u{2013}";

/// A run of the lineage.
#[derive(Clone, Debug, Default)]
pub struct RunNode {
    /// The full id.
    pub id: String,
    /// The stage ("embed", "encode"), or "dataset".
    pub stage: String,
    /// The alias, when it has one.
    pub alias: Option<String>,
    /// "finished", "running", "failed" or "partial".
    pub status: String,
    /// Parameters as (name, value).
    pub parameters: Vec<(String, String)>,
    /// Seconds from start to finish, when known.
    pub duration_seconds: Option<f64>,
}

/// That one run reads what another wrote.
#[derive(Clone, Debug)]
pub struct RunEdge {
    /// Id of the run that wrote.
    pub from: String,
    /// Id of the run that reads.
    pub to: String,
    /// What it is used as ("features", "outliers").
    pub role: String,
}

/// The runs that a result comes from.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    /// The runs.
    pub nodes: Vec<RunNode>,
    /// Who reads whose results.
    pub edges: Vec<RunEdge>,
}

/// Returns the section's content.
pub(super) fn render(lineage: Option<&Lineage>) -> Result<Markup, ReportError> {
    let Some(lineage) = lineage.filter(|l| !l.nodes.is_empty()) else {
        return Ok(nothing("There is no lineage: the page was made without a run."));
    };
    let mut index: HashMap<&str, usize> = HashMap::new();
    for (i, node) in lineage.nodes.iter().enumerate() {
        if index.insert(&node.id, i).is_some() {
            return Err(ReportError::DuplicateRun { id: node.id.clone() });
        }
    }
    let find = |id: &String| {
        let found = index.get(id.as_str()).copied();
        found.ok_or_else(|| ReportError::UnknownRun { id: id.clone() })
    };
    let mut edges = Vec::new();
    for edge in &lineage.edges {
        edges.push((find(&edge.from)?, find(&edge.to)?));
    }
    let mut drawn = edges.clone();
    drawn.sort_unstable();
    drawn.dedup(); // two roles between the same runs are one line
    let name = |i: usize| lineage.nodes.get(i).map(|n| n.id.clone()).unwrap_or_default();
    let layout = layout(lineage.nodes.len(), &drawn, name)?;
    Ok(html! {
        figure {
            (scroll("Graph of the lineage", &graph(lineage, &layout)))
            figcaption {
                (count(lineage.nodes.len())) " runs and " (count(edges.len()))
                " links, from the data (top) to the results (bottom). \u{25CF} finished, \u{25D0} running, "
                "\u{2715} failed."
            }
        }
        (scroll("Runs of the lineage", &list(lineage, &edges)))
    })
}

/// The middle of what stands at a layout's horizontal position.
fn centre(x: f64) -> f64 {
    4.0 + BOX_W / 2.0 + x * STEP_X
}

/// The upper edge of a layer.
fn top(layer: usize) -> f64 {
    4.0 + layer as f64 * STEP_Y
}

fn graph(lineage: &Lineage, layout: &Layout) -> Markup {
    let width = short(layout.width * STEP_X + BOX_W + 8.0);
    let height = short((layout.depth.max(1) - 1) as f64 * STEP_Y + BOX_H + 8.0);
    let runs = lineage.nodes.len();
    html! {
        svg.plot.dag viewBox={ "0 0 " (width) " " (height) } style={ "width:" (width) "px" } role="img"
            aria-label={ (runs) " runs, from the data at the top to the results at the bottom" } {
            defs {
                marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
                    orient="auto" {
                    path.tip d="M0 0.5L7.5 4L0 7.5z" {}
                }
            }
            @for route in &layout.edges { path.edge d=(line(route)) marker-end="url(#tip)" {} }
            @for (node, (layer, x)) in lineage.nodes.iter().zip(&layout.nodes) {
                (run(node, centre(*x) - BOX_W / 2.0, top(*layer)))
            }
        }
    }
}

/// Returns the path of an edge, which leaves boxes at the bottom and reaches them at the top.
fn line(route: &[(usize, f64)]) -> String {
    let mut path = String::new();
    let mut bottom = None;
    for (i, (layer, x)) in route.iter().enumerate() {
        let (x, top) = (centre(*x), top(*layer));
        let end = i + 1 == route.len();
        match bottom {
            None => put!(path, "M{} {}", short(x), short(top + BOX_H)),
            Some((x0, y0)) => {
                let y = if end { top - 1.0 } else { top };
                let middle = short((y0 + y) / 2.0);
                put!(
                    path,
                    "C{} {middle} {} {middle} {} {}",
                    short(x0),
                    short(x),
                    short(x),
                    short(y)
                );
            }
        }
        if i > 0 && !end {
            // A bend goes straight down past the boxes of its layer.
            put!(path, "V{}", short(top + BOX_H));
        }
        bottom = Some((x, top + BOX_H));
    }
    path
}

/// The box of a run, whose upper left corner is at `(x, y)`.
fn run(node: &RunNode, x: f64, y: f64) -> Markup {
    let (symbol, status) = status(&node.status);
    let alias = node.alias.as_ref().map(|alias| clip(alias, 18));
    let (left, right) = (short(x + 12.0), short(x + BOX_W - 11.0));
    let (first, second) = (short(y + 22.0), short(y + 41.0));
    html! {
        g {
            title { (node.stage) " " (node.id) ": " (node.status) }
            rect.run x=(short(x)) y=(short(y)) width=(BOX_W) height=(BOX_H) rx="7" {}
            text.stage x=(left) y=(first) { (clip(&node.stage, 9)) }
            text.sub.end x=(right) y=(first) { (node.duration_seconds.map(duration).unwrap_or_default()) }
            text.sub x=(left) y=(second) { (alias.unwrap_or_else(|| brief(&node.id))) }
            text class={ (status) " end" } x=(right) y=(second) { (symbol) }
        }
    }
}

fn list(lineage: &Lineage, edges: &[(usize, usize)]) -> Markup {
    html! {
        table.runs {
            thead {
                tr {
                    th scope="col" { "Stage" }
                    th scope="col" { "Run" }
                    th scope="col" { "Status" }
                    th.num scope="col" { "Time" }
                    th scope="col" { "Inputs" }
                    th scope="col" { "Parameters" }
                }
            }
            tbody {
                @for (i, node) in lineage.nodes.iter().enumerate() {
                    tr.first {
                        th scope="row" { (node.stage) }
                        td { @if let Some(alias) = &node.alias { (alias) br; } code { (node.id) } }
                        td.nowrap { (mark(&node.status)) " " (node.status) }
                        td.num { (node.duration_seconds.map_or_else(|| NONE.to_owned(), duration)) }
                        td.nowrap { (inputs(lineage, edges, i)) }
                        td.params {
                            @for (name, value) in &node.parameters {
                                span { i { (name) } "\u{A0}" (value) } " "
                            }
                        }
                    }
                }
            }
        }
    }
}

fn mark(of: &str) -> Markup {
    let (symbol, class) = status(of);
    html! { span class=(class) aria-hidden="true" { (symbol) } }
}

/// What the run `reader` reads.
fn inputs(lineage: &Lineage, edges: &[(usize, usize)], reader: usize) -> Markup {
    let both = edges
        .iter()
        .zip(&lineage.edges)
        .filter(|((_, to), _)| *to == reader);
    let inputs = both.filter_map(|((from, _), edge)| Some((&edge.role, lineage.nodes.get(*from)?)));
    let inputs: Vec<_> = inputs.collect();
    html! {
        @if inputs.is_empty() { (NONE) }
        @for (i, (role, source)) in inputs.iter().enumerate() {
            @if i > 0 { br; }
            (role) ": " (source.stage) " " code { (brief(&source.id)) }
        }
    }
}

fn status(status: &str) -> (&'static str, &'static str) {
    match status {
        "finished" => ("\u{25CF}", "good"),
        "running" => ("\u{25D0}", "open"),
        "failed" | "partial" => ("\u{2715}", "bad"),
        _ => ("\u{25CB}", "open"),
    }
}

/// Returns the first eight characters of an id, which are enough to name a run.
fn brief(id: &str) -> String {
    id.chars().take(8).collect()
}

fn clip(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars()
        .take(length - 1)
        .chain(std::iter::once('\u{2026}'))
        .collect()
}

/// Returns a time for reading: "120 ms", "4.2 s", "3 min 20 s", "1 h 02 min".
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "unknown".to_owned();
    }
    if seconds < 0.9995 {
        return format!("{:.0} ms", seconds * 1e3);
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole / 60 % 60)
    }
}
