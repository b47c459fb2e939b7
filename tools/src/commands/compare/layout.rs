//! Tables of papers as text: aligned, Markdown, LaTeX, and the CSV of OpenOOD's evaluator.

use anyhow::Result;
use dream_ood::ood::{Spread, Summary};
use dream_ood::stage::MetricName;
use dream_ood::stage::compare::{Cell, Comparison, FULL_SPECTRUM, Line, Mark, Network, Over};
use serde::Serialize;

use crate::output;

/// How a table is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    Text,
    Markdown,
    Latex,
    OpenOod,
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::Latex => "latex",
            Self::OpenOod => "openood",
        })
    }
}

impl Layout {
    pub const ALL: [Self; 4] = [Self::Text, Self::Markdown, Self::Latex, Self::OpenOod];

    /// Prints tables and what there is to know of them.
    pub fn print(self, tables: &[Comparison], networks: &[Network], spread: Spread) -> Result<()> {
        for (number, table) in tables.iter().enumerate() {
            if number > 0 {
                out!("")?;
            }
            match self {
                Self::Text | Self::OpenOod => text(table)?,
                Self::Markdown => markdown(table)?,
                Self::Latex => latex(table)?,
            }
        }
        let (comment, marks) = match self {
            Self::Text | Self::OpenOod => ("", "* best, + second best"),
            Self::Markdown => ("", "**best**, <u>second best</u>"),
            Self::Latex => ("% ", "bold: best, underlined: second best"),
        };
        let marks = match tables.iter().any(|table| table.drawn_apart) {
            true => "no best is marked: lines are of different draws of OOD images",
            false => marks,
        };
        out!("")?;
        for table in tables.iter().filter(|table| !table.left_out.is_empty()) {
            let names: Vec<String> = table.left_out.iter().map(Over::to_string).collect();
            let (metric, names) = (heading(table.metric), names.join(", "));
            out!("{comment}{metric}: left out, since it is over other sets in some lines: {names}")?;
        }
        for words in networks.iter().filter_map(Network::say_drawn_whole) {
            out!("{comment}{words}")?;
        }
        let convention = networks.first().map_or("", |network| network.convention.name());
        let side = match networks.iter().any(|network| network.full_spectrum) {
            true => format!("; {FULL_SPECTRUM}"),
            false => String::new(),
        };
        let several = networks.iter().any(|network| network.seeds.len() > 1);
        let spread = match several {
            true => format!("; ± is the standard deviation of the {spread} over seeds"),
            false => String::new(),
        };
        out!("{comment}percent; metrics by the convention of {convention}{side}{spread}; {marks}")
    }
}

/// Name of a metric in words, with the direction in which it is better.
fn heading(metric: MetricName) -> String {
    let name = match metric {
        MetricName::Accuracy => "accuracy",
        MetricName::AuprIn => "AUPR in",
        MetricName::AuprOut => "AUPR out",
        MetricName::Auroc => "AUROC",
        MetricName::Fpr95 => "FPR95",
        other => other.name(),
    };
    let arrow = if metric.higher_is_better() {
        '\u{2191}'
    } else {
        '\u{2193}'
    };
    format!("{name} {arrow}")
}

/// The word of a mark.
pub fn mark_name(mark: Mark) -> &'static str {
    match mark {
        Mark::Best => "best",
        Mark::Second => "second",
    }
}

/// The header, then the lines, with cells as `write` has them.
fn grid(table: &Comparison, write: impl Fn(&Cell) -> String) -> Vec<Vec<String>> {
    let has_scores = table.lines.iter().any(|line| line.score.is_some());
    let first = |network: &str, score: Option<&String>| {
        let mut row = vec![network.to_owned()];
        row.extend(has_scores.then(|| score.cloned().unwrap_or_default()));
        row
    };
    let mut header = first("network", Some(&"score".to_owned()));
    header.extend(table.columns.iter().map(Over::to_string));
    let row = |line: &Line| {
        let mut row = first(&line.network, line.score.as_ref());
        let cells = line
            .cells
            .iter()
            .map(|cell| cell.as_ref().map_or("\u{2013}".to_owned(), &write));
        row.extend(cells);
        row
    };
    std::iter::once(header)
        .chain(table.lines.iter().map(row))
        .collect()
}

fn text(table: &Comparison) -> Result<()> {
    out!("{}", heading(table.metric))?;
    let write = |cell: &Cell| {
        let mark = match cell.mark {
            Some(Mark::Best) => "*",
            Some(Mark::Second) => "+",
            None => "",
        };
        format!("{}{mark}", cell.summary.percent())
    };
    output::columns(&grid(table, write))
}

fn markdown(table: &Comparison) -> Result<()> {
    out!("{}\n", heading(table.metric))?;
    let write = |cell: &Cell| {
        let number = cell.summary.percent();
        match cell.mark {
            Some(Mark::Best) => format!("**{number}**"),
            Some(Mark::Second) => format!("<u>{number}</u>"),
            None => number,
        }
    };
    for (number, row) in grid(table, write).iter().enumerate() {
        let row: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        out!("| {} |", row.join(" | "))?;
        if number == 0 {
            out!("|{}", "-|".repeat(row.len()))?;
        }
    }
    Ok(())
}

fn latex(table: &Comparison) -> Result<()> {
    let write = |cell: &Cell| {
        let number = escaped(&cell.summary.percent());
        match cell.mark {
            Some(Mark::Best) => format!("\\textbf{{{number}}}"),
            Some(Mark::Second) => format!("\\underline{{{number}}}"),
            None => number,
        }
    };
    let grid = grid(table, write);
    let names = grid.first().map_or(0, |row| row.len() - table.columns.len());
    let arrow = if table.metric.higher_is_better() {
        "\\uparrow"
    } else {
        "\\downarrow"
    };
    let name = heading(table.metric);
    let name = name.trim_end_matches(['\u{2191}', '\u{2193}']).trim_end();
    out!("% {name}; needs \\usepackage{{booktabs}}")?;
    out!(
        "\\begin{{tabular}}{{{}{}}}",
        "l".repeat(names),
        "c".repeat(table.columns.len())
    )?;
    out!("\\toprule")?;
    out!(
        "\\multicolumn{{{}}}{{l}}{{{} ${arrow}$}} \\\\",
        names + table.columns.len(),
        escaped(name)
    )?;
    out!("\\midrule")?;
    for (number, row) in grid.iter().enumerate() {
        let is_name = |column: usize| number == 0 || column < names;
        let cells = row
            .iter()
            .enumerate()
            .map(|(column, cell)| match is_name(column) {
                true => escaped(cell),
                false => cell.clone(),
            });
        out!("{} \\\\", cells.collect::<Vec<_>>().join(" & "))?;
        if number == 0 {
            out!("\\midrule")?;
        }
    }
    out!("\\bottomrule")?;
    out!("\\end{{tabular}}")
}

/// Text with what LaTeX reads as commands written out.
fn escaped(text: &str) -> String {
    let mut written = String::new();
    for c in text.chars() {
        match c {
            '_' | '&' | '%' | '#' | '$' | '{' | '}' => written.extend(['\\', c]),
            '\\' => written.push_str("\\textbackslash{}"),
            '~' => written.push_str("\\textasciitilde{}"),
            '^' => written.push_str("\\textasciicircum{}"),
            '\u{B1}' => written.push_str("$\\pm$"),
            '\u{2013}' => written.push_str("--"),
            c => written.push(c),
        }
    }
    written
}

/// Prints the table of OpenOOD's evaluator: a row a set, `nearood` and `farood` behind the sets of these
/// groups; in percent, mean and spread of the population. Of several methods, or in the full spectrum, their
/// names stand before it.
pub fn openood(networks: &[Network], scores: &[String]) -> Result<()> {
    let methods: Vec<(&Network, String)> = (networks.iter())
        .flat_map(|network| {
            let shown = network.shown(scores).into_iter();
            shown.map(move |score| (network, score))
        })
        .collect();
    let several = methods.len() > 1 || networks.iter().any(|network| network.full_spectrum);
    let header = ["dataset", "FPR@95", "AUROC", "AUPR_IN", "AUPR_OUT", "ACC"];
    let method = several.then(|| "method".to_owned());
    output::csv(&Vec::from_iter(
        method.into_iter().chain(header.map(str::to_owned)),
    ))?;
    for (network, score) in &methods {
        let method = several.then(|| format!("{} {score}", network.name));
        let has_groups = network.columns().iter().any(|over| over.group.is_some());
        for over in network.columns() {
            let name = match (&over.set, over.group) {
                (Some(set), _) => set.clone(),
                (None, Some(group)) => format!("{group}ood"),
                (None, None) if has_groups => continue,
                (None, None) => "average".to_owned(),
            };
            let metrics = [
                MetricName::Fpr95,
                MetricName::Auroc,
                MetricName::AuprIn,
                MetricName::AuprOut,
            ];
            if !network
                .metrics
                .contains_key(&(score.clone(), over.clone(), MetricName::Auroc))
            {
                continue;
            }
            let values = metrics.map(|metric| network.metrics.get(&(score.clone(), over.clone(), metric)));
            let numbers = values.map(|values| values.map_or(String::new(), |values| two_digits(values)));
            // As OpenOOD has it in the full spectrum.
            let accuracy = match network.accuracy_of_all.as_slice() {
                [] => two_digits(&network.accuracy),
                of_all => two_digits(of_all),
            };
            let row = method
                .clone()
                .into_iter()
                .chain([name])
                .chain(numbers)
                .chain([accuracy]);
            output::csv(&row.collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// `88.45`, or `88.45 ± 0.12` over several seeds; nothing where there is no number.
fn two_digits(values: &[f64]) -> String {
    if values.is_empty() {
        return String::new();
    }
    let summary = Summary::with(values, Spread::Population);
    let mean = 100.0 * summary.mean;
    match summary.spread {
        Some(spread) => format!("{mean:.2} \u{B1} {:.2}", 100.0 * spread),
        None => format!("{mean:.2}"),
    }
}
