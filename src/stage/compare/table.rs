//! One metric of many methods on many sets: the table of a paper.

use super::{Network, Over};
use crate::ood::{Spread, Summary};
use crate::stage::MetricName;
use crate::stage::evaluate::Group;

/// A table of one metric: a line a method, a column a test set or mean.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The metric.
    pub metric: MetricName,
    /// What the columns are over.
    pub columns: Vec<Over>,
    /// Whether lines are of different draws of subsets: then no cell is marked, since what the area under a
    /// precision-recall curve is depends on how many images of either side there are.
    pub drawn_apart: bool,
    /// Means that are left out, since they are over other sets in some lines than in others.
    pub left_out: Vec<Over>,
    /// The lines, network by network, score by score.
    pub lines: Vec<Line>,
}

/// A method: a network and a score.
#[derive(Clone, Debug)]
pub struct Line {
    /// The network.
    pub network: String,
    /// The score; none for the accuracy of the network itself.
    pub score: Option<String>,
    /// Its seeds.
    pub seeds: Vec<u64>,
    /// A cell a column; none where it was not measured.
    pub cells: Vec<Option<Cell>>,
}

/// A number of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Its values, seed by seed.
    pub values: Vec<f64>,
    /// Mean and spread over seeds.
    pub summary: Summary,
    /// Whether it is the best of its column, or the second best.
    pub mark: Option<Mark>,
}

/// A place in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The best, to the digits shown.
    Best,
    /// The best but those.
    Second,
}

impl Comparison {
    /// Returns the table of a metric of `networks`. With `scores`, of these alone, in their order.
    pub fn of(networks: &[Network], metric: MetricName, scores: &[String], spread: Spread) -> Self {
        let mut lines: Vec<(Vec<Over>, Line)> = Vec::new();
        for network in networks {
            let of_score = |score: &String| {
                let of = network.metrics.iter();
                let of = of.filter(|((other, _, name), _)| other == score && *name == metric);
                let (over, cells) = of
                    .map(|((_, over, _), values)| (over.clone(), Some(cell(values, spread))))
                    .unzip();
                (over, line(network, Some(score.clone()), cells))
            };
            match metric {
                MetricName::Accuracy => {
                    let (over, line) = of_accuracy(network, spread);
                    // A network whose scores were imported one by one has one accuracy.
                    let is_line = |(_, other): &(Vec<Over>, Line)| {
                        (&other.network, &other.cells) == (&line.network, &line.cells)
                    };
                    if !lines.iter().any(is_line) {
                        lines.push((over, line));
                    }
                }
                _ => lines.extend(network.shown(scores).iter().map(of_score)),
            }
        }
        let mut columns: Vec<Over> = lines.iter().flat_map(|(over, _)| over.iter().cloned()).collect();
        columns.sort();
        columns.dedup();
        let (left_out, columns): (Vec<Over>, Vec<Over>) =
            columns.into_iter().partition(|column| is_mixed(column, &lines));
        let arrange = |(over, mut line): (Vec<Over>, Line)| {
            let place = |column: &Over| over.iter().position(|other| other == column);
            let cells = columns.iter().map(|column| line.cells[place(column)?].take());
            line.cells = cells.collect();
            line
        };
        let lines = lines
            .into_iter()
            .map(arrange)
            .filter(|line| !line.cells.is_empty());
        let mut table = Self {
            metric,
            lines: lines.collect(),
            columns,
            drawn_apart: networks.windows(2).any(|pair| pair[0].draws != pair[1].draws),
            left_out,
        };
        if !table.drawn_apart {
            table.mark();
        }
        table
    }

    /// Marks the best and the second best of each column, where not all are equal.
    fn mark(&mut self) {
        for column in 0..self.columns.len() {
            let mut shown: Vec<i64> = self
                .lines
                .iter()
                .filter_map(|line| self.rank(line, column))
                .collect();
            shown.sort_unstable();
            shown.dedup();
            if shown.len() < 2 {
                continue;
            }
            for line in 0..self.lines.len() {
                let rank = self.rank(&self.lines[line], column);
                let place = rank.and_then(|rank| shown.iter().position(|other| *other == rank));
                if let Some(cell) = &mut self.lines[line].cells[column] {
                    cell.mark = match place {
                        Some(0) => Some(Mark::Best),
                        Some(1) => Some(Mark::Second),
                        _ => None,
                    };
                }
            }
        }
    }

    /// Where a cell stands: in tenths of a percent, as they are shown, the lower the better.
    fn rank(&self, line: &Line, column: usize) -> Option<i64> {
        let mean = line.cells[column].as_ref()?.summary.mean;
        let sign = if self.metric.higher_is_better() { -1.0 } else { 1.0 };
        mean.is_finite().then(|| (sign * (mean * 1000.0).round()) as i64)
    }
}

/// Says whether a mean is over other sets in some lines than in others.
fn is_mixed(mean: &Over, lines: &[(Vec<Over>, Line)]) -> bool {
    let is_of = |over: &&Over| {
        let counts = match mean.group {
            Some(group) => over.group == Some(group),
            // No mean over all OOD sets has a part of shifted ones.
            None => over.group != Some(Group::Shifted),
        };
        over.set.is_some() && counts
    };
    let sets = |over: &[Over]| -> Vec<Over> { over.iter().filter(is_of).cloned().collect() };
    let mut all = lines
        .iter()
        .filter(|(over, _)| over.contains(mean))
        .map(|(over, _)| sets(over));
    let first = all.next();
    mean.set.is_none() && all.any(|other| Some(other) != first)
}

fn cell(values: &[f64], spread: Spread) -> Cell {
    Cell {
        values: values.to_vec(),
        summary: Summary::with(values, spread),
        mark: None,
    }
}

fn line(network: &Network, score: Option<String>, cells: Vec<Option<Cell>>) -> Line {
    Line {
        network: network.name.clone(),
        score,
        seeds: network.seeds.clone(),
        cells,
    }
}

/// What the accuracy on the ID set and shifted sets together is over.
const ALL: &str = "ID and shifted";

/// The accuracy on the ID set, then on shifted sets, and on all of them where these count as in-distribution.
fn of_accuracy(network: &Network, spread: Spread) -> (Vec<Over>, Line) {
    let id = Over {
        group: None,
        set: Some(network.id.clone()),
    };
    let together = Over {
        group: None,
        set: Some(ALL.to_owned()),
    };
    let all = [(id, &network.accuracy), (together, &network.accuracy_of_all)].into_iter();
    let all = all.chain(
        network
            .shifted
            .iter()
            .map(|(over, values)| (over.clone(), values)),
    );
    let (over, cells) = all
        .filter(|(_, values)| !values.is_empty())
        .map(|(over, values)| (over, Some(cell(values, spread))))
        .unzip();
    (over, line(network, None, cells))
}
