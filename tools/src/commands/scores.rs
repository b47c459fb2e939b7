//! `dream scores`.

use anyhow::Result;
use dream_ood::ood::score::{self, Card, Entry, Needs};
use dream_ood::stage::detect::OwnScore;
use dream_ood::stage::did_you_mean;
use serde_json::{Map, Value, json};

use super::Verdict;
use crate::globals::{Format, Globals};
use crate::output;
use crate::session::Usage;

/// Lists the detection scores of `evaluate`: what each reads, its hyperparameters, formula and paper. Those
/// that read the network run it on the images once more; the others take what `observe` stored. The last ones
/// are those of classifiers that a certain method of `detect` trained.
#[derive(Debug, clap::Args)]
pub struct Scores {
    /// Shows these alone, each with its formula and paper
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Scores {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let listed = match self.names.is_empty() {
            true => all().collect(),
            false => (self.names.iter())
                .map(|name| find(name))
                .collect::<Result<Vec<_>>>()?,
        };
        match globals.format {
            Format::Json => listed.iter().try_for_each(|score| out!("{}", document(score)))?,
            Format::Csv => {
                output::csv(&HEADER.map(str::to_owned))?;
                listed.iter().try_for_each(|score| output::csv(&row(score)))?;
            }
            Format::Table if self.names.is_empty() => {
                let mut rows = vec![HEADER.map(str::to_owned)];
                rows.extend(listed.iter().map(row));
                output::columns(&rows)?;
            }
            Format::Table => listed.iter().try_for_each(describe)?,
        }
        Ok(Verdict::Good)
    }
}

/// A score that can be asked for.
struct Listed {
    card: &'static Card,
    /// What it reads beside what its card says.
    beside: Option<&'static str>,
}

/// Returns all scores: those of every classifier, then those that come with a method of training.
fn all() -> impl Iterator<Item = Listed> {
    let of_any = score::all().map(Entry::card);
    let of_any = of_any.map(|card| Listed { card, beside: None });
    of_any.chain(OwnScore::ALL.iter().map(|own| Listed {
        card: own.card(),
        beside: Some(own.reads()),
    }))
}

fn find(name: &str) -> Result<Listed> {
    all().find(|score| score.card.name == name).ok_or_else(|| {
        let near = did_you_mean(name, all().map(|score| score.card.name));
        Usage(format!("there is no score `{name}`{near}")).into()
    })
}

const HEADER: [&str; 4] = ["score", "reads", "hyperparameters", "paper"];

fn row(score: &Listed) -> [String; 4] {
    let card = score.card;
    let values = card
        .hyperparameters
        .iter()
        .map(|h| format!("{}={}", h.name, h.default));
    [
        card.name.to_owned(),
        needs(score).join(", "),
        values.collect::<Vec<_>>().join(" "),
        format!("{} ({})", card.paper.title, card.paper.venue),
    ]
}

/// What a score reads, in words.
fn needs(score: &Listed) -> Vec<&'static str> {
    let needs: Needs = score.card.needs;
    let all = [
        (needs.network, "network and images"),
        (needs.logits, "logits"),
        (needs.features, "features"),
        (needs.head, "last layer"),
        (needs.train, "training images"),
        (needs.validation, "validation images"),
        (needs.labels, "labels"),
    ];
    all.into_iter()
        .filter(|(needed, _)| *needed)
        .map(|(_, what)| what)
        .chain(score.beside)
        .collect()
}

fn describe(score: &Listed) -> Result<()> {
    let card = score.card;
    out!("{}: {}", card.name, card.formula)?;
    out!("  reads {}", needs(score).join(", "))?;
    for h in card.hyperparameters {
        out!("  {}={}: {} ({})", h.name, h.default, h.about, h.range)?;
    }
    let paper = card.paper;
    Ok(out!("  {}, {}, {}", paper.title, paper.venue, paper.url)?)
}

fn document(score: &Listed) -> Value {
    let card = score.card;
    let values = card.hyperparameters.iter().map(|h| {
        let (range, search) = (h.range.to_string(), h.search);
        let what = json!({ "default": h.default, "about": h.about, "range": range, "search": search });
        (h.name.to_owned(), what)
    });
    json!({
        "name": card.name,
        "formula": card.formula,
        "reads": needs(score),
        "hyperparameters": values.collect::<Map<_, _>>(),
        "paper": { "title": card.paper.title, "venue": card.paper.venue, "url": card.paper.url },
    })
}
