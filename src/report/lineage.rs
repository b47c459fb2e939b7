//! Where a result comes from: the runs, drawn as a graph from data to result, and listed with all parameters.

use std::collections::HashMap;

use super::ReportError;
use super::html::{count, escape, nothing, put};
use super::layers::{Layout, layout};
use super::plot::short;

const STEP_X: f64 = 186.0;
const STEP_Y: f64 = 88.0;
const BOX_W: f64 = 166.0;
const BOX_H: f64 = 54.0;

/// A run of the lineage.
#[derive(Clone, Debug, Default)]
pub struct RunNode {
    /// The full id.
    pub id: String,
    /// The stage ("embed", "encode"), or "dataset".
    pub stage: String,
    /// The alias, when it has one.
    pub alias: Option<String>,
    /// "finished", "running" or "failed".
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

/// Appends the section's content.
pub(super) fn render(out: &mut String, lineage: Option<&Lineage>) -> Result<(), ReportError> {
    let Some(lineage) = lineage.filter(|l| !l.nodes.is_empty()) else {
        out.push_str(&nothing("There is no lineage: the page was made without a run."));
        return Ok(());
    };
    let mut index: HashMap<&str, usize> = HashMap::new();
    for (i, node) in lineage.nodes.iter().enumerate() {
        if index.insert(&node.id, i).is_some() {
            return Err(ReportError::DuplicateRun { id: node.id.clone() });
        }
    }
    let find = |id: &String| {
        index
            .get(id.as_str())
            .copied()
            .ok_or_else(|| ReportError::UnknownRun { id: id.clone() })
    };
    let mut edges = Vec::new();
    for edge in &lineage.edges {
        edges.push((find(&edge.from)?, find(&edge.to)?));
    }
    let mut drawn = edges.clone();
    drawn.sort_unstable();
    drawn.dedup(); // two roles between the same runs are one line
    let name = |i: usize| lineage.nodes.get(i).map(|n| n.id.clone()).unwrap_or_default();
    graph(out, lineage, &drawn, &layout(lineage.nodes.len(), &drawn, name)?);
    list(out, lineage, &edges);
    Ok(())
}

fn graph(out: &mut String, lineage: &Lineage, edges: &[(usize, usize)], layout: &Layout) {
    let width = layout.width * STEP_X + BOX_W + 8.0;
    let height = (layout.depth.max(1) - 1) as f64 * STEP_Y + BOX_H + 8.0;
    let centre = |x: f64| 4.0 + BOX_W / 2.0 + x * STEP_X;
    let top = |layer: usize| 4.0 + layer as f64 * STEP_Y;
    put!(
        out,
        "<figure><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Graph of the lineage\">\
         <svg class=\"plot dag\" viewBox=\"0 0 {} {}\" style=\"width:{}px\" role=\"img\" aria-label=\"{} runs, from the data at \
         the top to the results at the bottom\">\n<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
         markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path class=\"tip\" d=\"M0 0.5L7.5 4L0 7.5z\"/></marker></defs>\n",
        short(width),
        short(height),
        short(width),
        lineage.nodes.len()
    );
    for (route, _) in layout.edges.iter().zip(edges) {
        let mut path = String::new();
        let mut bottom = None;
        for (i, (layer, x)) in route.iter().enumerate() {
            let x = centre(*x);
            let end = i + 1 == route.len();
            match bottom {
                None => put!(path, "M{} {}", short(x), short(top(*layer) + BOX_H)),
                Some((x0, y0)) => {
                    let y = if end { top(*layer) - 1.0 } else { top(*layer) };
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
                put!(path, "V{}", short(top(*layer) + BOX_H));
            }
            bottom = Some((x, top(*layer) + BOX_H));
        }
        put!(
            out,
            "<path class=\"edge\" d=\"{path}\" marker-end=\"url(#tip)\"/>\n"
        );
    }
    for (node, (layer, x)) in lineage.nodes.iter().zip(&layout.nodes) {
        let (x, y) = (centre(*x) - BOX_W / 2.0, top(*layer));
        let (symbol, status) = status(&node.status);
        let second = node
            .alias
            .clone()
            .map_or_else(|| brief(&node.id), |alias| clip(&alias, 18));
        put!(
            out,
            "<g><title>{}</title><rect class=\"run\" x=\"{}\" y=\"{}\" width=\"{BOX_W}\" height=\"{BOX_H}\" rx=\"7\"/>\
             <text class=\"stage\" x=\"{}\" y=\"{}\">{}</text><text class=\"sub end\" x=\"{}\" y=\"{}\">{}</text>\
             <text class=\"sub\" x=\"{}\" y=\"{}\">{}</text><text class=\"{status} end\" x=\"{}\" y=\"{}\">{symbol}</text></g>\n",
            escape(&format!("{} {}: {}", node.stage, node.id, node.status)),
            short(x),
            short(y),
            short(x + 12.0),
            short(y + 22.0),
            escape(&clip(&node.stage, 9)),
            short(x + BOX_W - 11.0),
            short(y + 22.0),
            escape(&node.duration_seconds.map(duration).unwrap_or_default()),
            short(x + 12.0),
            short(y + 41.0),
            escape(&second),
            short(x + BOX_W - 11.0),
            short(y + 41.0)
        );
    }
    put!(
        out,
        "</svg></div><figcaption>{} runs and {} links, from the data (top) to the results (bottom). \u{25CF} finished, \u{25D0} \
         running, \u{2715} failed.</figcaption></figure>\n",
        count(lineage.nodes.len()),
        count(edges.len())
    );
}

fn list(out: &mut String, lineage: &Lineage, edges: &[(usize, usize)]) {
    out.push_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Runs of the lineage\"><table class=\"runs\"><thead><tr>\
         <th scope=\"col\">Stage</th><th scope=\"col\">Run</th><th scope=\"col\">Status</th><th scope=\"col\" class=\"num\">Time</th>\
         <th scope=\"col\">Inputs</th><th scope=\"col\">Parameters</th></tr></thead>\n<tbody>\n",
    );
    for (i, node) in lineage.nodes.iter().enumerate() {
        let (symbol, class) = status(&node.status);
        let alias = node
            .alias
            .as_ref()
            .map_or_else(String::new, |a| format!("{}<br>", escape(a)));
        put!(
            out,
            "<tr class=\"first\"><th scope=\"row\">{}</th><td>{alias}<code>{}</code></td><td class=\"nowrap\">\
             <span class=\"{class}\" aria-hidden=\"true\">{symbol}</span> {}</td><td class=\"num\">{}</td><td class=\"nowrap\">",
            escape(&node.stage),
            escape(&node.id),
            escape(&node.status),
            escape(
                &node
                    .duration_seconds
                    .map_or_else(|| "\u{2013}".to_owned(), duration)
            )
        );
        let inputs: Vec<String> = edges
            .iter()
            .zip(&lineage.edges)
            .filter(|((_, to), _)| *to == i)
            .filter_map(|((from, _), edge)| {
                let source = lineage.nodes.get(*from)?;
                Some(format!(
                    "{}: {} <code>{}</code>",
                    escape(&edge.role),
                    escape(&source.stage),
                    escape(&brief(&source.id))
                ))
            })
            .collect();
        out.push_str(&if inputs.is_empty() {
            "\u{2013}".to_owned()
        } else {
            inputs.join("<br>")
        });
        out.push_str("</td><td class=\"params\">");
        for (name, value) in &node.parameters {
            put!(
                out,
                "<span><i>{}</i>&nbsp;{}</span> ",
                escape(name),
                escape(value)
            );
        }
        out.push_str("</td></tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn status(status: &str) -> (&'static str, &'static str) {
    match status {
        "finished" => ("\u{25CF}", "good"),
        "running" => ("\u{25D0}", "open"),
        "failed" => ("\u{2715}", "bad"),
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
