//! `dream select`.

use anyhow::Result;
use dream_ood::stage::select::{self, Params};

use super::{Base, finite, json};
use crate::commands::Verdict;
use crate::globals::Globals;

/// Rates imagined pictures by a classifier and chooses some by that (table `ratings`); `detect` takes the run
/// in place of the pictures.
///
/// Without bounds all pictures are rated and chosen. Nothing is deleted. A report on an evaluation of the
/// classifier draws the distances beside those of the test sets.
#[derive(Debug, clap::Args)]
pub struct Select {
    /// The pictures: an `imagine` run, or imported images
    pictures: String,
    /// The classifier's training images, an `observe` run: its classifier rates the pictures
    #[arg(long, value_name = "RUN")]
    train_activations: String,
    /// Which of the nearest training images the distance is measured to; 50 without it
    #[arg(long, value_name = "N")]
    k: Option<usize>,
    /// Leaves out pictures nearer to the training images; features are divided by their norm, so that
    /// distances are 0 to 2
    #[arg(long, value_name = "D", value_parser = finite)]
    min_knn: Option<f64>,
    /// Leaves out pictures farther from the training images
    #[arg(long, value_name = "D", value_parser = finite)]
    max_knn: Option<f64>,
    /// Leaves out pictures whose class the classifier is less sure of
    #[arg(long, value_name = "P", value_parser = finite)]
    min_confidence: Option<f64>,
    /// Leaves out pictures whose class the classifier is surer of
    #[arg(long, value_name = "P", value_parser = finite)]
    max_confidence: Option<f64>,
    /// Leaves out pictures that the classifier gives to another class than theirs with more than this
    /// probability
    #[arg(long, value_name = "P", value_parser = finite)]
    max_other: Option<f64>,
    #[command(flatten)]
    base: Base,
}

impl Select {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let session = self.base.existing(globals)?;
        let (pictures, train) = (
            session.resolve(&self.pictures)?,
            session.resolve(&self.train_activations)?,
        );
        let options = [
            ("k", json(&self.k)),
            ("knn.min", json(&self.min_knn)),
            ("knn.max", json(&self.max_knn)),
            ("confidence.min", json(&self.min_confidence)),
            ("confidence.max", json(&self.max_confidence)),
            ("other.max", json(&self.max_other)),
        ];
        let params = self.base.apply(&Params::default(), &options)?;
        self.base
            .run(&session, |_| Ok(select::ask(&params, pictures, train)))
    }
}
