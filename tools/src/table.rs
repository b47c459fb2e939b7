//! The detection table on the terminal.

use anyhow::Result;
use dream_ood::ood::Summary;
use dream_ood::stage::MetricName::{self, AuprIn, AuprOut, Auroc, Fpr95};
use dream_ood::stage::compare::{FULL_SPECTRUM, Network, networks};
use dream_ood::stage::evaluate::EXTRA_METRICS;
use dream_schema::RunId;

use crate::globals::Format;
use crate::output;
use crate::session::Session;

/// Prints the metrics of evaluations: a row for each network, score and OOD set, in percent, mean and spread
/// over seeds.
pub fn print(session: &Session<'_>, evaluations: &[RunId]) -> Result<()> {
    let networks = networks(&session.store, evaluations)?;
    if session.globals.format == Format::Json {
        return json(&networks);
    }
    let has = |metric: &&MetricName| {
        let keys = || networks.iter().flat_map(|network| network.metrics.keys());
        keys().any(|(_, _, name)| name == *metric)
    };
    let extra: Vec<MetricName> = EXTRA_METRICS.iter().filter(has).copied().collect();
    let header = [
        "network", "score", "OOD set", "FPR95", "AUROC", "AUPR in", "AUPR out",
    ];
    let header = header.into_iter().chain(extra.iter().map(|metric| metric.name()));
    let mut rows = vec![header.map(str::to_owned).collect::<Vec<String>>()];
    for network in &networks {
        for (score, over) in network.rows() {
            let number = |metric: MetricName| {
                let key = (score.clone(), over.clone(), metric);
                let values = network.metrics.get(&key);
                values.map_or(String::new(), |values| Summary::of(values).percent())
            };
            let mut row = vec![network.name.clone(), score.clone(), over.to_string()];
            row.extend([Fpr95, Auroc, AuprIn, AuprOut].map(number));
            row.extend(extra.iter().copied().map(number));
            rows.push(row);
        }
    }
    if session.globals.format == Format::Csv {
        return rows.iter().try_for_each(output::csv);
    }
    output::columns(&rows)?;
    out!("")?;
    for network in &networks {
        let seeds: Vec<String> = network.seeds.iter().map(u64::to_string).collect();
        out!(
            "{}: ID accuracy {}, seeds {}",
            network.name,
            match network.accuracy.as_slice() {
                [] => "unknown (not all images have a class)".to_owned(),
                of => format!("{} %", Summary::of(of).percent()),
            },
            seeds.join(", ")
        )?;
        for (seed, label) in &network.chosen {
            out!(
                "{}: chosen on validation images, seed {seed}: {label}",
                network.name
            )?;
        }
        if let Some(words) = network.say_drawn_whole() {
            out!("{words}")?;
        }
        for (over, accuracies) in &network.shifted {
            let accuracy = Summary::of(accuracies).percent();
            out!("{}: accuracy on {over} {accuracy} %", network.name)?;
        }
    }
    if let Some(network) = networks.first() {
        let side = match networks.iter().any(|network| network.full_spectrum) {
            true => format!("; {FULL_SPECTRUM}"),
            false => String::new(),
        };
        out!(
            "percent; metrics by the convention of {}{side}; ± is the standard deviation over seeds",
            network.convention.name()
        )?;
    }
    Ok(())
}

fn json(networks: &[Network]) -> Result<()> {
    for network in networks {
        for ((score, over, metric), values) in &network.metrics {
            let summary = Summary::of(values);
            let line = serde_json::json!({
                "network": network.name, "score": score, "dataset": over.set, "group": over.group,
                "metric": metric.name(),
                "mean": summary.mean, "spread": summary.spread, "seeds": network.seeds,
                "convention": network.convention.name(), "full_spectrum": network.full_spectrum,
                "id_accuracy": Summary::of(&network.accuracy).mean,
            });
            out!("{line}")?;
        }
    }
    Ok(())
}
