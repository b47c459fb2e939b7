//! Detection results: FPR95, AUROC and AUPR of each network and score on each OOD set.

use super::ReportError;
use super::html::{escape, nothing, plural, put};

/// The three numbers of a detector on one OOD set, each in 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// False positive rate at 95 % true positive rate; lower is better.
    pub fpr95: f64,
    /// Area under the ROC curve; higher is better.
    pub auroc: f64,
    /// Area under the precision-recall curve; higher is better.
    pub aupr: f64,
}

/// One network and score.
#[derive(Clone, Debug)]
pub struct DetectionRow {
    /// The network ("cross-entropy", "dream").
    pub network: String,
    /// The score ("msp", "energy").
    pub score: String,
    /// Accuracy on the ID test set, in 0..=1, a seed; empty when unknown.
    pub id_accuracy: Vec<f64>,
    /// For each data set of the table its results, a seed; empty when there are none.
    pub cells: Vec<Vec<Detection>>,
}

/// Results under one convention.
#[derive(Clone, Debug)]
pub struct DetectionTable {
    /// Which toolkit's definition of the numbers ("OpenOOD v1.5"), for FPR95 and AUPR depend on it.
    pub convention: String,
    /// The OOD sets, in the order of the columns.
    pub datasets: Vec<String>,
    /// The rows.
    pub rows: Vec<DetectionRow>,
}

const METRICS: [(&str, &str, bool); 3] = [
    ("FPR95", "\u{2193}", false),
    ("AUROC", "\u{2191}", true),
    ("AUPR", "\u{2191}", true),
];

/// A number of the table: the mean over seeds and the sample standard deviation, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    pub mean: f64,
    pub spread: Option<f64>,
}

impl Cell {
    fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        if values.is_empty() || values.iter().any(|v| !v.is_finite()) {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        let spread = (values.len() > 1)
            .then(|| (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt());
        Some(Self {
            mean: mean * 100.0,
            spread: spread.map(|s| s * 100.0),
        })
    }

    /// Returns the number as it is printed; equal when printed equal.
    fn shown(self) -> String {
        format!("{:.2}", self.mean)
    }
}

/// Returns the cells of each row: the ID accuracy, three numbers of the average when there are several sets, three a data
/// set. What sums up comes first, for a wide table is cut off at the right. The average is taken over the data sets for each seed, and is absent when a data set is.
pub(super) fn cells(table: &DetectionTable) -> Vec<Vec<Option<Cell>>> {
    let pick: [fn(&Detection) -> f64; 3] = [|d| d.fpr95, |d| d.auroc, |d| d.aupr];
    table
        .rows
        .iter()
        .map(|row| {
            let mut line = vec![Cell::of(&row.id_accuracy)];
            if table.datasets.len() > 1 {
                let seeds = row.cells.first().map_or(0, Vec::len);
                let whole = row.cells.iter().all(|c| c.len() == seeds);
                line.extend(pick.map(|of| {
                    let mean = |seed: usize| {
                        row.cells.iter().filter_map(|c| c.get(seed)).map(of).sum::<f64>()
                            / row.cells.len() as f64
                    };
                    if whole {
                        Cell::of(&(0..seeds).map(mean).collect::<Vec<_>>())
                    } else {
                        None
                    }
                }));
            }
            for seeds in &row.cells {
                line.extend(pick.map(|of| Cell::of(&seeds.iter().map(of).collect::<Vec<_>>())));
            }
            line
        })
        .collect()
}

/// Returns for each cell whether it is the best of its column, to the digits shown. A column with fewer than two numbers, or
/// with all of them equal, has no best.
pub(super) fn best(cells: &[Vec<Option<Cell>>]) -> Vec<Vec<bool>> {
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let mut marks: Vec<Vec<bool>> = cells.iter().map(|row| vec![false; row.len()]).collect();
    for column in 0..columns {
        // The first column is the accuracy; the others come in threes.
        let higher = column == 0 || METRICS[(column - 1) % 3].2;
        let sign = if higher { 1.0 } else { -1.0 };
        let present: Vec<Cell> = cells
            .iter()
            .filter_map(|row| row.get(column).copied().flatten())
            .collect();
        let Some(winner) = present
            .iter()
            .max_by(|a, b| (sign * a.mean).total_cmp(&(sign * b.mean)))
        else {
            continue;
        };
        if present.iter().all(|c| c.shown() == winner.shown()) {
            continue;
        }
        for (row, marks) in cells.iter().zip(&mut marks) {
            if let (Some(Some(cell)), Some(mark)) = (row.get(column), marks.get_mut(column)) {
                *mark = cell.shown() == winner.shown();
            }
        }
    }
    marks
}

/// Appends the section's content.
pub(super) fn render(out: &mut String, tables: &[DetectionTable]) -> Result<(), ReportError> {
    for (table, row) in tables.iter().flat_map(|t| t.rows.iter().map(move |r| (t, r))) {
        if row.cells.len() != table.datasets.len() {
            return Err(ReportError::TableShape {
                network: row.network.clone(),
                score: row.score.clone(),
                expected: table.datasets.len(),
                actual: row.cells.len(),
            });
        }
    }
    if tables.iter().all(|t| t.rows.is_empty()) {
        out.push_str(&nothing(
            "There are no detection results: no detector of this lineage has been evaluated.",
        ));
        return Ok(());
    }
    out.push_str(
        "<p class=\"lead\">In percent. \u{2193} lower is better, \u{2191} higher is better. FPR95 and AUPR depend on the convention \
         of the toolkit, by tens of points: compare only numbers of one convention.</p>\n",
    );
    tables
        .iter()
        .filter(|t| !t.rows.is_empty())
        .for_each(|t| one(out, t));
    Ok(())
}

fn one(out: &mut String, table: &DetectionTable) {
    let cells = cells(table);
    let best = best(&cells);
    let convention = escape(&table.convention);
    put!(
        out,
        "<figure><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Detection results, convention {convention}\">\
         <table class=\"results\"><thead><tr><th rowspan=\"2\" scope=\"col\">Network</th><th rowspan=\"2\" scope=\"col\">Score</th>"
    );
    out.push_str("<th rowspan=\"2\" scope=\"col\" class=\"num group\">ID accuracy&nbsp;\u{2191}</th>");
    let average = (table.datasets.len() > 1).then_some("Average");
    let groups: Vec<&str> = average
        .into_iter()
        .chain(table.datasets.iter().map(String::as_str))
        .collect();
    for name in &groups {
        put!(
            out,
            "<th colspan=\"3\" scope=\"colgroup\" class=\"group\">{}</th>",
            escape(name)
        );
    }
    out.push_str("</tr><tr>");
    for _ in &groups {
        for (i, (name, arrow, _)) in METRICS.iter().enumerate() {
            put!(
                out,
                "<th scope=\"col\" class=\"num{}\">{name}&nbsp;{arrow}</th>",
                if i == 0 { " group" } else { "" }
            );
        }
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let mut above: Option<&str> = None;
    for ((row, line), marks) in table.rows.iter().zip(&cells).zip(&best) {
        let again = above == Some(row.network.as_str());
        above = Some(&row.network);
        put!(
            out,
            "<tr{}><th scope=\"row\"{}>{}</th><td>{}</td>",
            if again { "" } else { " class=\"first\"" },
            if again { " class=\"again\"" } else { "" },
            escape(&row.network),
            escape(&row.score)
        );
        for (i, (cell, best)) in line.iter().zip(marks).enumerate() {
            let group = if i == 0 || i % 3 == 1 { " group" } else { "" };
            match cell {
                None => put!(out, "<td class=\"num{group}\">\u{2013}</td>"),
                Some(cell) => {
                    let spread = cell
                        .spread
                        .map_or_else(String::new, |s| format!("<small> \u{00B1}&nbsp;{s:.2}</small>"));
                    let (open, close) = if *best {
                        ("<strong>", "</strong>")
                    } else {
                        ("", "")
                    };
                    put!(
                        out,
                        "<td class=\"num{group}\">{open}{}{close}{spread}</td>",
                        cell.shown()
                    );
                }
            }
        }
        out.push_str("</tr>\n");
    }
    let seeds = table
        .rows
        .iter()
        .flat_map(|r| &r.cells)
        .map(Vec::len)
        .max()
        .unwrap_or(0);
    put!(
        out,
        "</tbody></table></div><figcaption><b>Convention: {convention}.</b> The best of each column is bold."
    );
    if seeds > 1 {
        put!(
            out,
            " Mean \u{00B1} sample standard deviation over {}.",
            plural(seeds, "seed", "seeds")
        );
    }
    out.push_str(" \u{2013} means not measured.</figcaption></figure>\n");
}
