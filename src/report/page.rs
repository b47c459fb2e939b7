//! The page: head, key facts, table of contents, the sections in their order.

use maud::{Markup, PreEscaped, html};

use super::html::{clean, nothing};
use super::{ClassSheet, Curve, DetectionTable, Lineage, Projection, ReportError, ScoreHistogram};
use super::{curves, histogram, lineage, pictures, roc, scatter, table};

const STYLE: &str = include_str!("style.css");
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What the page allows itself: no script, nothing from outside.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// All that a page shows. Every part may be empty.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Title of the page.
    pub title: String,
    /// A sentence under the title: what was run, on what.
    pub subtitle: String,
    /// Key facts as (name, value): run, device, seed, date, headline numbers.
    pub facts: Vec<(String, String)>,
    /// Pictures of each class.
    pub pictures: Vec<ClassSheet>,
    /// What the pictures are of, and in which order they stand.
    pub pictures_of: String,
    /// The embedding space in a plane.
    pub projection: Option<Projection>,
    /// Detection results, a table a convention.
    pub detection: Vec<DetectionTable>,
    /// Distributions of scores.
    pub histograms: Vec<ScoreHistogram>,
    /// Distributions of distances to the nearest ID features, with a minus.
    pub distances: Vec<ScoreHistogram>,
    /// Training curves.
    pub curves: Vec<Curve>,
    /// Where it all comes from.
    pub lineage: Option<Lineage>,
}

/// Returns the report as one HTML page that needs nothing else.
///
/// # Errors
/// When the data contradicts itself: a picture's bytes and size, a table's cells and data sets, a curve's
/// lengths, a lineage with unknown runs or a cycle.
pub fn render(report: &Report) -> Result<String, ReportError> {
    let sections = [
        ("facts", "Key facts", facts(&report.facts)),
        (
            "pictures",
            "Pictures",
            pictures::render(&report.pictures, &report.pictures_of)?,
        ),
        (
            "projection",
            "Embedding space",
            scatter::render(report.projection.as_ref()),
        ),
        ("detection", "Detection", table::render(&report.detection)?),
        (
            "scores",
            "Score distributions",
            histogram::render(&report.histograms),
        ),
        ("roc", "ROC curves", roc::render(&report.histograms)),
        (
            "distances",
            "Distances",
            histogram::render_distances(&report.distances),
        ),
        ("training", "Training", curves::render(&report.curves)?),
        ("lineage", "Lineage", lineage::render(report.lineage.as_ref())?),
    ];
    let page = html! {
        (PreEscaped("<!doctype html>\n"))
        html lang="en" {
            (head(&report.title))
            body {
                main {
                    header {
                        h1 { (report.title) }
                        @if !report.subtitle.is_empty() { p.subtitle { (report.subtitle) } }
                        nav aria-label="Sections" {
                            ul { @for (id, name, _) in &sections { li { a href={ "#" (id) } { (name) } } } }
                        }
                    }
                    @for (id, name, content) in &sections {
                        (PreEscaped("\n"))
                        section id=(id) aria-labelledby={ (id) "-title" } {
                            h2 id={ (id) "-title" } { (name) }
                            (content)
                        }
                    }
                }
                footer {
                    "Made by dream-ood " (VERSION)
                    ". This file holds everything it shows and asks the network for nothing."
                }
            }
        }
        (PreEscaped("\n"))
    };
    Ok(clean(&page.into_string()))
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta http-equiv="Content-Security-Policy" content=(POLICY);
            meta name="color-scheme" content="light dark";
            meta name="generator" content={ "dream-ood " (VERSION) };
            title { (title) }
            style { (PreEscaped("\n")) (PreEscaped(STYLE)) }
        }
    }
}

fn facts(facts: &[(String, String)]) -> Markup {
    if facts.is_empty() {
        return nothing("No key facts were given.");
    }
    html! {
        dl.facts {
            @for (name, value) in facts { div { dt { (name) } dd { (value) } } }
        }
    }
}
