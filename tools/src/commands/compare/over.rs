//! Metrics over the parameters that tell networks apart: what came of a sweep.

use std::path::Path;

use anyhow::{Result, bail};
use dream_ood::exchange::{Target, write_file};
use dream_ood::ood::{Spread, Summary};
use dream_ood::report::{SweepLine, SweepPanel, sweep_svg};
use dream_ood::stage::MetricName;
use dream_ood::stage::compare::{Network, Over, Settings};
use serde_json::{Value, json};

use crate::globals::Format;
use crate::output;
use crate::session::Usage;

/// What is shown.
pub struct Shown<'a> {
    /// The metrics.
    pub metrics: &'a [MetricName],
    /// The scores, in their order; all without any.
    pub scores: &'a [String],
    /// The standard deviation over seeds.
    pub spread: Spread,
}

/// A number over a setting.
struct Point<'a> {
    setting: &'a [Option<Value>],
    network: &'a Network,
    /// Its kind, or its own name where another one of its kind has the same setting.
    name: &'a str,
    score: String,
    over: Over,
    metric: MetricName,
    summary: Summary,
}

fn points<'a>(networks: &'a [Network], settings: &'a Settings, shown: &Shown<'_>) -> Vec<Point<'a>> {
    let name = |network: &'a Network, setting: &[Option<Value>]| -> &'a str {
        let same = networks.iter().zip(&settings.values);
        let same = same.filter(|(other, values)| other.kind == network.kind && values.as_slice() == setting);
        if same.count() > 1 {
            &network.name
        } else {
            &network.kind
        }
    };
    let mut points = Vec::new();
    for metric in shown.metrics {
        for (network, setting) in networks.iter().zip(&settings.values) {
            for score in network.shown(shown.scores) {
                for over in network.columns() {
                    let key = (score.clone(), over.clone(), *metric);
                    if let Some(values) = network.metrics.get(&key) {
                        points.push(Point {
                            setting,
                            network,
                            name: name(network, setting),
                            score: score.clone(),
                            over,
                            metric: *metric,
                            summary: Summary::with(values, shown.spread),
                        });
                    }
                }
            }
        }
    }
    points
}

fn word(value: &Option<Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Prints a line for each setting, score and set.
pub fn print(format: Format, networks: &[Network], settings: &Settings, shown: &Shown<'_>) -> Result<()> {
    let points = points(networks, settings, shown);
    let header = || {
        let names = ["network", "score", "set", "metric", "mean", "spread", "seeds"];
        settings
            .keys
            .iter()
            .cloned()
            .chain(names.map(str::to_owned))
            .collect::<Vec<String>>()
    };
    let row = |point: &Point<'_>| {
        let mut row: Vec<String> = point.setting.iter().map(word).collect();
        let percent = |number: f64| match format {
            Format::Table => format!("{:.1}", number * 100.0),
            Format::Json | Format::Csv => number.to_string(),
        };
        row.extend([
            point.name.to_owned(),
            point.score.clone(),
            point.over.to_string(),
            point.metric.name().to_owned(),
            percent(point.summary.mean),
            point.summary.spread.map_or(String::new(), percent),
            point.network.seeds.len().to_string(),
        ]);
        row
    };
    match format {
        Format::Table => {
            let rows: Vec<Vec<String>> = std::iter::once(header()).chain(points.iter().map(row)).collect();
            output::columns(&rows)
        }
        Format::Csv => {
            output::csv(&header())?;
            points.iter().try_for_each(|point| output::csv(&row(point)))
        }
        Format::Json => points.iter().try_for_each(|point| {
            let setting: serde_json::Map<String, Value> = (settings.keys.iter().cloned())
                .zip(point.setting.iter().map(|value| json!(value)))
                .collect();
            out!(
                "{}",
                json!({
                    "setting": setting, "network": point.name, "score": point.score,
                    "dataset": point.over.set, "group": point.over.group, "metric": point.metric,
                    "mean": point.summary.mean, "spread": point.summary.spread,
                    "seeds": point.network.seeds,
                })
            )
        }),
    }
}

/// What a line of a plot is of: network, score and the values of what is on no axis.
fn line_name(point: &Point<'_>, keys: &[String]) -> String {
    let mut name = format!("{}, {}", point.name, point.score);
    for (key, value) in keys.iter().zip(point.setting).skip(1) {
        if value.is_some() {
            name.push_str(&format!(", {key}={}", word(value)));
        }
    }
    name
}

/// Draws the metrics over one parameter, a line for each network, score and value of the other parameters:
/// over all OOD sets, or where there is one alone, over that.
pub fn plot(file: &Path, networks: &[Network], settings: &Settings, shown: &Shown<'_>) -> Result<()> {
    let named = match settings.named {
        0 => settings.keys.as_slice(),
        named => &settings.keys[..named],
    };
    let key = match named {
        [key] => key,
        [] => bail!(Usage(
            "--plot draws over a parameter in which the networks differ, and there is none".to_owned()
        )),
        keys => bail!(Usage(format!(
            "--plot takes one parameter, and there are {}: `--over KEY` names it ({})",
            keys.len(),
            keys.join(", ")
        ))),
    };
    let mut panels: Vec<SweepPanel> = Vec::new();
    for point in points(networks, settings, shown) {
        let columns = point.network.columns();
        if point.over != Over::default() && columns.contains(&Over::default()) {
            continue;
        }
        // A network without the parameter has no place on its axis.
        let Some(Some(value)) = point.setting.first() else {
            continue;
        };
        let Some(x) = value.as_f64() else {
            bail!(Usage(format!("--plot: {key} = {value} is no number")));
        };
        let metric = format!("{} in percent, {}", point.metric, point.over);
        let name = line_name(&point, &settings.keys);
        let panel = panels.iter().position(|panel| panel.metric == metric);
        let panel = panel.unwrap_or_else(|| {
            let lines = Vec::new();
            panels.push(SweepPanel { metric, lines });
            panels.len() - 1
        });
        let lines = &mut panels[panel].lines;
        let line = lines
            .iter()
            .position(|line| line.name == name)
            .unwrap_or_else(|| {
                let points = Vec::new();
                lines.push(SweepLine { name, points });
                lines.len() - 1
            });
        let percent = |number: f64| number * 100.0;
        let mean = percent(point.summary.mean);
        lines[line]
            .points
            .push((x, mean, point.summary.spread.map(percent)));
    }
    if panels.is_empty() {
        bail!(Usage(format!("--plot: no network has {key}")));
    }
    Ok(write_file(
        &Target::new(file).overwrite(true),
        sweep_svg(key, &panels).as_bytes(),
    )?)
}
