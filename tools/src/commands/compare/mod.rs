//! `dream compare RUN...`.

mod layout;
mod over;

use std::path::PathBuf;

use anyhow::{Result, bail};
use dream_ood::exchange::ExchangeError;
use dream_ood::ood::{Bootstrap, Convention, Spread};
use dream_ood::stage::MetricName;
use dream_ood::stage::compare::{self, Comparison, Network, PAIRED_METRICS, Paired};
use dream_ood::stage::evaluate::{self, METRICS};
use dream_ood::store::{Readable as _, Store};
use dream_schema::RunId;
use serde_json::json;

use super::Verdict;
use super::stages::read_preset;
use crate::choices::Choices;
use crate::globals::{Format, Globals};
use crate::output;
use crate::session::{Session, Usage};
use crate::target::{self, Over};
use layout::Layout;

/// Makes the table of a paper from evaluations: a line for each network and score, a column for each test set
/// and group, mean and spread over seeds. Runs that differ by their seed alone are one network.
#[derive(Debug, clap::Args)]
pub struct Compare {
    /// The evaluations: `evaluate` runs
    #[arg(required_unless_present = "sweep", value_name = "RUN")]
    runs: Vec<String>,
    /// The evaluations of a preset, with all settings and seeds of its sweep, as far as they are in the store
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "runs")]
    sweep: Option<String>,
    /// A line for each setting in place of the tables: the values of these parameters (dotted keys that begin
    /// with the stage, as in `sample.sampling.sigma`), then of all others in which networks of a kind differ
    #[arg(long, value_name = "KEY,...", value_delimiter = ',', num_args = 0..=1, default_missing_value = "",
          conflicts_with_all = ["paired", "layout"])]
    over: Option<Vec<String>>,
    /// Also draws the metrics over the one parameter, as SVG: a line for each value of the others
    #[arg(long, value_name = "FILE.svg", requires = "over", conflicts_with_all = ["paired", "layout"])]
    plot: Option<PathBuf>,
    /// Replaces a plot that is there
    #[arg(long, requires = "plot", conflicts_with_all = ["paired", "layout"])]
    force: bool,
    /// The metrics, a table each
    #[arg(long, value_delimiter = ',', default_value = "fpr95,auroc", value_parser = Choices(METRICS))]
    metric: Vec<MetricName>,
    /// These scores alone, in this order
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    scores: Vec<String>,
    /// The standard deviation behind ±: of the sample, or of the population as in OpenOOD's tables.
    /// Without it, of the sample
    #[arg(long, value_parser = Choices(&Spread::ALL), conflicts_with = "paired")]
    spread: Option<Spread>,
    /// How the table is laid out; `openood` is the CSV of OpenOOD's evaluator, with all its metrics and the
    /// spread of the population. For programs there are --format csv (a line a method) and json (a cell a
    /// line), with fractions in place of percent
    #[arg(long, default_value = "text", value_parser = Choices(&Layout::ALL))]
    layout: Layout,
    /// Compares every method with the first one over the same images, seed by seed, in place of the tables:
    /// the difference, its bootstrap interval of 95 %, and the p-value of no difference (DeLong et al. 1988
    /// for the AUROC on a set, else the bootstrap's)
    #[arg(long)]
    paired: bool,
    /// Draws of the bootstrap
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "paired", conflicts_with = "over",
          value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    draws: u32,
    /// The seed that the bootstrap draws by
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "paired",
        conflicts_with = "over"
    )]
    seed: u64,
}

/// The metrics where none is named: the default of `--metric`.
const USUAL: [MetricName; 2] = [MetricName::Fpr95, MetricName::Auroc];

/// Refuses a name that is given twice.
fn refuse_twice<T: PartialEq + std::fmt::Display>(option: &str, names: &[T]) -> Result<(), Usage> {
    let twice = names
        .iter()
        .enumerate()
        .find(|(place, name)| names[..*place].contains(name));
    match twice {
        Some((_, name)) => Err(Usage(format!("{option} {name}: it is named twice"))),
        None => Ok(()),
    }
}

impl Compare {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        if globals.format != Format::Table && self.layout != Layout::Text {
            bail!(Usage(format!(
                "--layout {} and --format are two ways to write one table: give one of them",
                self.layout
            )));
        }
        if self.layout == Layout::OpenOod && self.metric != USUAL {
            bail!(Usage(
                "--layout openood has all metrics of OpenOOD's evaluator: leave --metric out".to_owned()
            ));
        }
        if let (Layout::OpenOod, Some(Spread::Sample)) = (self.layout, self.spread) {
            bail!(Usage(
                "--layout openood has the spread of the population, as OpenOOD's tables: leave --spread out"
                    .to_owned()
            ));
        }
        refuse_twice("--metric", &self.metric)?;
        refuse_twice("--scores", &self.scores)?;
        self.check_plot()?;
        let session = Session::reading(globals)?;
        let runs = match &self.sweep {
            Some(preset) => swept(&session, preset)?,
            None => {
                let runs = self.runs.iter().map(|name| session.resolve(name));
                runs.collect::<Result<Vec<RunId>>>()?
            }
        };
        compare::check(&session.store, &runs)?;
        let networks = compare::networks_with(&session.store, &runs, &self.metric)?;
        self.check_scores(&networks)?;
        // A table of text says it itself.
        if globals.format != Format::Table || self.over.is_some() || self.layout == Layout::OpenOod {
            let said = networks.iter().filter_map(Network::say_drawn_whole);
            said.for_each(|words| session.bars.say(&words));
        }
        if let Some(over) = &self.over {
            return self.print_over(&session, &networks, over);
        }
        if self.paired {
            return self.print_paired(&session, &networks);
        }
        if self.layout == Layout::OpenOod {
            let convention = networks.first().map(|network| network.convention);
            if let Some(convention) = convention.filter(|convention| *convention != Convention::OpenOod) {
                session.bars.say(&format!(
                    "FPR@95 and AUPR are by the convention of {convention}, not of OpenOOD: `dream evaluate \
                     --convention openood` has those"
                ));
            }
            layout::openood(&networks, &self.scores)?;
            return Ok(Verdict::Good);
        }
        let spread = self.spread.unwrap_or(Spread::Sample);
        let table = |metric: &MetricName| Comparison::of(&networks, *metric, &self.scores, spread);
        let tables: Vec<Comparison> = self.metric.iter().map(table).collect();
        match globals.format {
            Format::Table => self.layout.print(&tables, &networks, spread)?,
            Format::Csv => csv(&tables)?,
            Format::Json => {
                let full_spectrum = networks.iter().any(|network| network.full_spectrum);
                tables.iter().try_for_each(|table| json(table, full_spectrum))?;
            }
        }
        Ok(Verdict::Good)
    }

    /// Refuses a plot that cannot be written, before anything is read.
    fn check_plot(&self) -> Result<()> {
        let Some(file) = &self.plot else { return Ok(()) };
        if file.is_file() && !self.force {
            return Err(ExchangeError::Exists { path: file.clone() }.into());
        }
        match target::fault(file, &["svg"], Over::AnyFile) {
            Some(fault) => bail!(Usage(format!("--plot {fault}"))),
            None => Ok(()),
        }
    }

    fn print_over(&self, session: &Session<'_>, networks: &[Network], over: &[String]) -> Result<Verdict> {
        let named: Vec<String> = over.iter().filter(|key| !key.is_empty()).cloned().collect();
        let settings = compare::settings(&session.store, networks, &named)?;
        let shown = over::Shown {
            metrics: &self.metric,
            scores: &self.scores,
            spread: self.spread.unwrap_or(Spread::Sample),
        };
        if let Some(file) = &self.plot {
            over::plot(file, networks, &settings, &shown)?;
            session.bars.say(&format!("the plot is in {}", file.display()));
        }
        over::print(session.globals.format, networks, &settings, &shown)?;
        Ok(Verdict::Good)
    }

    fn print_paired(&self, session: &Session<'_>, networks: &[Network]) -> Result<Verdict> {
        if self.layout != Layout::Text {
            bail!(Usage(format!("--paired has no layout {}", self.layout)));
        }
        let strange = self.metric.iter().find(|metric| !PAIRED_METRICS.contains(metric));
        if let Some(metric) = strange {
            let known: Vec<&str> = PAIRED_METRICS.iter().map(|metric| metric.name()).collect();
            bail!(Usage(format!(
                "--paired --metric {metric}: expected {}",
                known.join(", ")
            )));
        }
        if draws_subsets(&session.store, networks)? {
            session.bars.say(
                "--paired compares over all images of the sets, not over the subsets that evaluations drew",
            );
        }
        let bootstrap = Bootstrap {
            draws: self.draws,
            seed: self.seed,
        };
        let rows = compare::paired(&session.store, networks, &self.scores, &self.metric, bootstrap)?;
        let names = [
            "network",
            "score",
            "seed",
            "set",
            "group",
            "metric",
            "difference",
            "low",
            "high",
            "p",
        ];
        let in_words = session.globals.format == Format::Table;
        let number = |value: f64| match in_words {
            true => json!(format!("{:+.1}", value * 100.0)),
            false => json!(value),
        };
        let row = |row: &Paired| {
            let set = match in_words {
                true => json!(row.over.to_string()),
                false => json!(row.over.set),
            };
            let p = match in_words {
                true if row.p < 0.0001 => json!("< 0.0001"),
                true => json!(format!("{:.4}", row.p)),
                false => json!(row.p),
            };
            [
                json!(row.network),
                json!(row.score),
                json!(row.seed),
                set,
                json!(row.over.group),
                json!(row.metric),
                number(row.difference),
                number(row.interval[0]),
                number(row.interval[1]),
                p,
            ]
        };
        output::records(
            session.globals.format,
            names,
            &rows.iter().map(row).collect::<Vec<_>>(),
        )?;
        if let (true, Some(first)) = (in_words, networks.first()) {
            let score = first.shown(&self.scores).into_iter().next().unwrap_or_default();
            out!("")?;
            out!(
                "against {}, {score}; differences in percentage points; {} draws",
                first.name,
                self.draws
            )?;
        }
        Ok(Verdict::Good)
    }

    /// Refuses scores that no network has.
    fn check_scores(&self, networks: &[Network]) -> Result<()> {
        let known: Vec<String> = networks.iter().flat_map(Network::scores).collect();
        match self.scores.iter().find(|score| !known.contains(score)) {
            Some(score) => bail!(Usage(format!(
                "--scores {score}: no run has it{}",
                dream_ood::stage::did_you_mean(score, known)
            ))),
            None => Ok(()),
        }
    }
}

/// Says whether an evaluation measures subsets of its OOD sets.
fn draws_subsets(store: &Store, networks: &[Network]) -> Result<bool> {
    for run in networks.iter().flat_map(|network| &network.evaluations) {
        if evaluate::draws(&store.run(*run)?)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the evaluations of a preset, with all its settings and seeds, that the store has.
fn swept(session: &Session<'_>, preset: &str) -> Result<Vec<RunId>> {
    let preset = read_preset(session.globals, preset)?;
    let seeds = match preset.sweep.seeds.as_slice() {
        [] => &[0],
        seeds => seeds,
    };
    let (mut runs, mut missing) = (Vec::new(), 0);
    for preset in preset.settings()? {
        for seed in seeds {
            for part in preset.recorded(&session.store, *seed)? {
                match part.run.filter(|_| part.known) {
                    _ if !part.part.starts_with("evaluate") => {}
                    Some(run) => runs.push(run),
                    None => missing += 1,
                }
            }
        }
    }
    if runs.is_empty() {
        bail!("none of the {missing} evaluations of the preset is in the store: `dream run FILE` makes them");
    }
    if missing > 0 {
        session.bars.say(&format!(
            "{missing} evaluations of the preset are not in the store yet"
        ));
    }
    Ok(runs)
}

/// A line a method and metric, two columns a set: mean and spread.
fn csv(tables: &[Comparison]) -> Result<()> {
    let mut columns: Vec<_> = tables.iter().flat_map(|table| table.columns.clone()).collect();
    columns.sort();
    columns.dedup();
    let mut header = ["network", "score", "metric", "seeds"]
        .map(str::to_owned)
        .to_vec();
    header.extend(
        columns
            .iter()
            .flat_map(|over| [over.to_string(), format!("{over} spread")]),
    );
    output::csv(&header)?;
    for table in tables {
        for line in &table.lines {
            let mut row = vec![
                line.network.clone(),
                line.score.clone().unwrap_or_default(),
                table.metric.name().to_owned(),
                line.seeds.len().to_string(),
            ];
            for column in &columns {
                let place = table.columns.iter().position(|other| other == column);
                let cell = place.and_then(|place| line.cells[place].as_ref());
                let mean = cell.map(|cell| cell.summary.mean.to_string());
                let spread = cell.and_then(|cell| cell.summary.spread).map(|s| s.to_string());
                row.extend([mean.unwrap_or_default(), spread.unwrap_or_default()]);
            }
            output::csv(&row)?;
        }
    }
    Ok(())
}

/// A cell a line.
fn json(table: &Comparison, full_spectrum: bool) -> Result<()> {
    for line in &table.lines {
        for (over, cell) in table.columns.iter().zip(&line.cells) {
            let Some(cell) = cell else { continue };
            out!(
                "{}",
                json!({
                    "metric": table.metric, "network": line.network, "score": line.score,
                    "dataset": over.set, "group": over.group, "mean": cell.summary.mean,
                    "spread": cell.summary.spread, "values": cell.values, "seeds": line.seeds,
                    "mark": cell.mark.map(layout::mark_name), "full_spectrum": full_spectrum,
                })
            )?;
        }
    }
    Ok(())
}
