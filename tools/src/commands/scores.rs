//! `dream scores`.

use anyhow::{Result, bail};
use dream_ood::ood::score::{self, Card, Entry, Needs};
use serde_json::{Map, Value, json};

use super::Verdict;
use crate::globals::{Format, Globals};
use crate::output;
use crate::session::Usage;

/// Lists the detection scores of `evaluate`: what each reads, its hyperparameters, formula and paper. Those
/// that read the network run it on the images once more; the others take what `observe` stored.
#[derive(Debug, clap::Args)]
pub struct Scores {
    /// Shows these alone, each with its formula and paper
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Scores {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let cards = match self.names.is_empty() {
            true => score::all().map(Entry::card).collect(),
            false => (self.names.iter())
                .map(|name| card(name))
                .collect::<Result<Vec<_>>>()?,
        };
        match globals.format {
            Format::Json => cards.iter().try_for_each(|card| out!("{}", document(card)))?,
            Format::Csv => {
                output::csv(&HEADER.map(str::to_owned))?;
                cards.iter().try_for_each(|card| output::csv(&row(card)))?;
            }
            Format::Table if self.names.is_empty() => {
                let mut rows = vec![HEADER.map(str::to_owned)];
                rows.extend(cards.iter().map(|card| row(card)));
                output::columns(&rows)?;
            }
            Format::Table => cards.iter().try_for_each(|card| describe(card))?,
        }
        Ok(Verdict::Good)
    }
}

fn card(name: &str) -> Result<&'static Card> {
    let Some(score) = score::find(name) else {
        let near = score::near(name);
        let hint = near
            .first()
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        bail!(Usage(format!("there is no score `{name}`{hint}")));
    };
    Ok(score.card())
}

const HEADER: [&str; 4] = ["score", "reads", "hyperparameters", "paper"];

fn row(card: &Card) -> [String; 4] {
    let values = card
        .hyperparameters
        .iter()
        .map(|h| format!("{}={}", h.name, h.default));
    [
        card.name.to_owned(),
        needs(card.needs).join(", "),
        values.collect::<Vec<_>>().join(" "),
        format!("{} ({})", card.paper.title, card.paper.venue),
    ]
}

/// What a score reads, in words.
fn needs(needs: Needs) -> Vec<&'static str> {
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
        .collect()
}

fn describe(card: &Card) -> Result<()> {
    out!("{}: {}", card.name, card.formula)?;
    out!("  reads {}", needs(card.needs).join(", "))?;
    for h in card.hyperparameters {
        out!("  {}={}: {} ({})", h.name, h.default, h.about, h.range)?;
    }
    let paper = card.paper;
    Ok(out!("  {}, {}, {}", paper.title, paper.venue, paper.url)?)
}

fn document(card: &Card) -> Value {
    let values = card.hyperparameters.iter().map(|h| {
        let (range, search) = (h.range.to_string(), h.search);
        let what = json!({ "default": h.default, "about": h.about, "range": range, "search": search });
        (h.name.to_owned(), what)
    });
    json!({
        "name": card.name,
        "formula": card.formula,
        "reads": needs(card.needs),
        "hyperparameters": values.collect::<Map<_, _>>(),
        "paper": { "title": card.paper.title, "venue": card.paper.venue, "url": card.paper.url },
    })
}
