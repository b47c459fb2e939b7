//! Detection results: FPR95, AUROC and AUPR of each network and score on each OOD set.

use maud::{Markup, html};

use super::ReportError;
use super::html::{nothing, plural, scroll};
use crate::ood::{Detection, Summary};

/// One network and score.
#[derive(Clone, Debug)]
pub struct DetectionRow {
    /// The network ("cross-entropy", "dream").
    pub network: String,
    /// The score ("msp", "energy").
    pub score: String,
    /// Accuracy on the ID test set, in 0..=1, a seed; empty when unknown.
    pub id_accuracy: Vec<f64>,
    /// The same on each shifted set of the table.
    pub shifted_accuracy: Vec<Vec<f64>>,
    /// For each data set of the table its results, a seed; empty when there are none. FPR95, AUROC and AUPR
    /// with ID positive are shown.
    pub cells: Vec<Vec<Detection>>,
}

/// Results under one convention.
#[derive(Clone, Debug)]
pub struct DetectionTable {
    /// Which toolkit's definition of the numbers ("OpenOOD v1.5"), for FPR95 and AUPR depend on it.
    pub convention: String,
    /// The scores with the values that searches chose for them, each behind its network ("dream knn:k=50").
    pub chosen: Vec<String>,
    /// The shifted sets whose accuracy is shown beside that on the ID set, and their average.
    pub shifted: Vec<String>,
    /// The OOD sets, in the order of the columns.
    pub datasets: Vec<String>,
    /// The averages, which come before the sets.
    pub averages: Vec<Average>,
    /// The rows.
    pub rows: Vec<DetectionRow>,
}

/// A mean over data sets.
#[derive(Clone, Debug)]
pub struct Average {
    /// Its name.
    pub name: String,
    /// The places of the sets among those of the table.
    pub sets: Vec<usize>,
}

/// Name, arrow, whether more is better, and where it is.
type Metric = (&'static str, &'static str, bool, fn(&Detection) -> f64);

const METRICS: [Metric; 3] = [
    ("FPR95", "\u{2193}", false, |d| d.fpr95),
    ("AUROC", "\u{2191}", true, |d| d.auroc),
    ("AUPR", "\u{2191}", true, |d| d.aupr_in),
];

/// Mean and spread over seeds, if there are any and all are finite.
fn summary(values: &[f64]) -> Option<Summary> {
    let known = !values.is_empty() && values.iter().all(|v| v.is_finite());
    known.then(|| Summary::of(values))
}

/// Returns the number as it is printed, in percent; equal when printed equal.
fn shown(cell: Summary) -> String {
    format!("{:.2}", cell.mean * 100.0)
}

/// Returns the cells of each row: the accuracies on the ID set and on shifted sets, three numbers an average,
/// three a data set. What sums up comes first, for a wide table is cut off at the right. The average is taken
/// over the data sets for each seed, and is absent when a data set is.
pub(super) fn cells(table: &DetectionTable) -> Vec<Vec<Option<Summary>>> {
    let cells = |row: &DetectionRow| {
        let accuracies = std::iter::once(&row.id_accuracy).chain(&row.shifted_accuracy);
        let mut line: Vec<_> = accuracies.map(|seeds| summary(seeds)).collect();
        for Average { sets, .. } in &table.averages {
            line.extend(METRICS.map(|(.., of)| average(row, sets, of)));
        }
        for seeds in &row.cells {
            line.extend(METRICS.map(|(.., of)| summary(&seeds.iter().map(of).collect::<Vec<_>>())));
        }
        line
    };
    table.rows.iter().map(cells).collect()
}

/// The mean over data sets, seed by seed.
fn average(row: &DetectionRow, sets: &[usize], of: fn(&Detection) -> f64) -> Option<Summary> {
    let cells: Vec<&Vec<Detection>> = sets.iter().filter_map(|set| row.cells.get(*set)).collect();
    let seeds = cells.first().map_or(0, |cell| cell.len());
    if cells.iter().any(|cell| cell.len() != seeds) {
        return None;
    }
    let mean = |seed: usize| {
        let of_seed = cells.iter().filter_map(|cell| cell.get(seed));
        of_seed.map(of).sum::<f64>() / cells.len() as f64
    };
    summary(&(0..seeds).map(mean).collect::<Vec<_>>())
}

/// Returns for each cell whether it is the best of its column, to the digits shown; the first `accuracies` of
/// a row are those. A column with fewer than two numbers, or with all of them equal, has no best.
pub(super) fn best(cells: &[Vec<Option<Summary>>], accuracies: usize) -> Vec<Vec<bool>> {
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let mut marks: Vec<Vec<bool>> = cells.iter().map(|row| vec![false; row.len()]).collect();
    for column in 0..columns {
        // Behind the accuracies the columns come in threes.
        let higher = column < accuracies || METRICS[(column - accuracies) % 3].2;
        let sign = if higher { 1.0 } else { -1.0 };
        let present: Vec<Summary> = cells
            .iter()
            .filter_map(|row| row.get(column).copied().flatten())
            .collect();
        let winner = present
            .iter()
            .max_by(|a, b| (sign * a.mean).total_cmp(&(sign * b.mean)));
        let Some(winner) = winner else { continue };
        if present.iter().all(|c| shown(*c) == shown(*winner)) {
            continue;
        }
        for (row, marks) in cells.iter().zip(&mut marks) {
            if let (Some(Some(cell)), Some(mark)) = (row.get(column), marks.get_mut(column)) {
                *mark = shown(*cell) == shown(*winner);
            }
        }
    }
    marks
}

/// Returns the section's content.
pub(super) fn render(tables: &[DetectionTable]) -> Result<Markup, ReportError> {
    for (table, row) in tables.iter().flat_map(|t| t.rows.iter().map(move |r| (t, r))) {
        if row.cells.len() != table.datasets.len() || row.shifted_accuracy.len() != table.shifted.len() {
            return Err(ReportError::TableShape {
                network: row.network.clone(),
                score: row.score.clone(),
                expected: table.datasets.len(),
                actual: row.cells.len(),
            });
        }
    }
    if tables.iter().all(|t| t.rows.is_empty()) {
        let sentence = "There are no detection results: no detector of this lineage has been evaluated.";
        return Ok(nothing(sentence));
    }
    Ok(html! {
        p.lead {
            "In percent. \u{2193} lower is better, \u{2191} higher is better. FPR95 and AUPR depend on the \
             convention of the toolkit, by tens of points: compare only numbers of one convention."
        }
        @for table in tables.iter().filter(|t| !t.rows.is_empty()) { (one(table)) }
    })
}

fn one(table: &DetectionTable) -> Markup {
    let results = html! {
        table.results {
            (head(table))
            tbody { (rows(table)) }
        }
    };
    let seeds = table
        .rows
        .iter()
        .flat_map(|r| &r.cells)
        .map(Vec::len)
        .max()
        .unwrap_or(0);
    html! {
        figure {
            (scroll(&format!("Detection results, convention {}", table.convention), &results))
            figcaption {
                b { "Convention: " (table.convention) "." }
                " The best of each column is bold."
                @if seeds > 1 {
                    " Mean \u{B1} sample standard deviation over " (plural(seeds, "seed", "seeds")) "."
                }
                " \u{2013} means not measured."
                @if !table.chosen.is_empty() {
                    " Found by search on validation sets: " (table.chosen.join(", ")) "."
                }
            }
        }
    }
}

fn head(table: &DetectionTable) -> Markup {
    let averages = table.averages.iter().map(|average| average.name.as_str());
    let sets = table.datasets.iter().map(String::as_str);
    let groups: Vec<&str> = averages.chain(sets).collect();
    html! {
        thead {
            tr {
                th rowspan="2" scope="col" { "Network" }
                th rowspan="2" scope="col" { "Score" }
                th.num.group rowspan="2" scope="col" { "ID accuracy\u{A0}\u{2191}" }
                @for name in &table.shifted {
                    th.num rowspan="2" scope="col" { "accuracy on " (name) "\u{A0}\u{2191}" }
                }
                @for name in &groups { th.group colspan="3" scope="colgroup" { (name) } }
            }
            tr {
                @for _ in &groups {
                    @for (i, (name, arrow, ..)) in METRICS.iter().enumerate() {
                        th.num.group[i == 0] scope="col" { (name) "\u{A0}" (arrow) }
                    }
                }
            }
        }
    }
}

fn rows(table: &DetectionTable) -> Markup {
    let cells = cells(table);
    let accuracies = 1 + table.shifted.len();
    let best = best(&cells, accuracies);
    // Behind the accuracies the columns come in threes.
    let starts = |i: usize| i == 0 || i.checked_sub(accuracies).is_some_and(|i| i.is_multiple_of(3));
    // A network's name stands out in the first of its rows.
    let again = |i: usize| i > 0 && table.rows[i - 1].network == table.rows[i].network;
    html! {
        @for (i, ((row, line), marks)) in table.rows.iter().zip(&cells).zip(&best).enumerate() {
            tr class=[(!again(i)).then_some("first")] {
                th class=[again(i).then_some("again")] scope="row" { (row.network) }
                td { (row.score) }
                @for (i, (cell, best)) in line.iter().zip(marks).enumerate() {
                    td.num.group[starts(i)] { (number(*cell, *best)) }
                }
            }
        }
    }
}

fn number(cell: Option<Summary>, best: bool) -> Markup {
    html! {
        @match cell {
            None => { "\u{2013}" }
            Some(cell) => {
                @if best { strong { (shown(cell)) } } @else { (shown(cell)) }
                @if let Some(spread) = cell.spread {
                    small { " \u{B1}\u{A0}" (format!("{:.2}", spread * 100.0)) }
                }
            }
        }
    }
}
