//! The page: head, key facts, table of contents, the sections in their order.

use super::html::{escape, nothing, put};
use super::{ClassSheet, Curve, DetectionTable, Lineage, Projection, ReportError, ScoreHistogram};
use super::{curves, histogram, lineage, pictures, scatter, table};

const STYLE: &str = include_str!("style.css");

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
    /// The embedding space in a plane.
    pub projection: Option<Projection>,
    /// Detection results, a table a convention.
    pub detection: Vec<DetectionTable>,
    /// Distributions of scores.
    pub histograms: Vec<ScoreHistogram>,
    /// Training curves.
    pub curves: Vec<Curve>,
    /// Where it all comes from.
    pub lineage: Option<Lineage>,
}

/// Returns the report as one HTML page that needs nothing else.
///
/// # Errors
/// When the data contradicts itself: a picture's bytes and size, a table's cells and data sets, a curve's lengths, a lineage
/// with unknown runs or a cycle.
pub fn render(report: &Report) -> Result<String, ReportError> {
    let mut out = String::new();
    let title = escape(&report.title);
    put!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"dream-ood {}\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>{title}</h1>\n",
        env!("CARGO_PKG_VERSION")
    );
    if !report.subtitle.is_empty() {
        put!(out, "<p class=\"subtitle\">{}</p>\n", escape(&report.subtitle));
    }
    out.push_str("<nav aria-label=\"Sections\"><ul>");
    for (id, name) in SECTIONS {
        put!(out, "<li><a href=\"#{id}\">{name}</a></li>");
    }
    out.push_str("</ul></nav>\n</header>\n");
    for (id, name) in SECTIONS {
        put!(
            out,
            "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{name}</h2>\n"
        );
        match id {
            "facts" => facts(&mut out, &report.facts),
            "pictures" => pictures::render(&mut out, &report.pictures)?,
            "projection" => scatter::render(&mut out, report.projection.as_ref()),
            "detection" => table::render(&mut out, &report.detection)?,
            "scores" => histogram::render(&mut out, &report.histograms),
            "training" => curves::render(&mut out, &report.curves)?,
            _ => lineage::render(&mut out, report.lineage.as_ref())?,
        }
        out.push_str("</section>\n");
    }
    put!(
        out,
        "</main>\n<footer>Made by dream-ood {}. This file holds everything it shows and asks the network for nothing.</footer>\n\
         </body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    Ok(out)
}

const SECTIONS: [(&str, &str); 7] = [
    ("facts", "Key facts"),
    ("pictures", "Pictures"),
    ("projection", "Embedding space"),
    ("detection", "Detection"),
    ("scores", "Score distributions"),
    ("training", "Training"),
    ("lineage", "Lineage"),
];

fn facts(out: &mut String, facts: &[(String, String)]) {
    if facts.is_empty() {
        return out.push_str(&nothing("No key facts were given."));
    }
    out.push_str("<dl class=\"facts\">\n");
    for (name, value) in facts {
        put!(
            out,
            "<div><dt>{}</dt><dd>{}</dd></div>\n",
            escape(name),
            escape(value)
        );
    }
    out.push_str("</dl>\n");
}
