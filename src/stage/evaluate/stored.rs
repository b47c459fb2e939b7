//! A finished evaluation read back from its scores: what is measured of it afterwards.

use arrow::datatypes::{Float32Type, Int32Type};
use dream_schema::columns::Columns;
use dream_schema::{Metric, Run, Table};
use serde::Deserialize;

use super::draws::Draws;
use super::group::{Group, Groups};
use super::metrics::{SetScores, Taken};
use crate::ood::Convention;
use crate::stage::{MetricName, StageError, params};
use crate::store::{Projection, Readable, Store};

/// The scores of an evaluation, set by set.
#[derive(Clone, Debug)]
pub struct StoredScores {
    /// The scores by name.
    pub scores: Vec<String>,
    /// The ID set, then the others.
    pub sets: Vec<SetScores>,
    common: Common,
}

/// What the parameters of all versions have in common.
#[derive(Clone, Debug, Deserialize)]
struct Common {
    convention: Convention,
    #[serde(default)]
    groups: Groups,
    #[serde(default)]
    full_spectrum: bool,
    #[serde(default)]
    draws: Option<Draws>,
}

impl StoredScores {
    /// Reads the scores of an evaluation, whichever version made it.
    ///
    /// # Errors
    /// If there are none, or the store fails.
    pub fn load(store: &Store, evaluation: &Run) -> Result<Self, StageError> {
        let common: Common = params(evaluation)?;
        let mut scores: Vec<String> = Vec::new();
        let mut sets: Vec<(SetScores, String)> = Vec::new();
        for rows in store.blocks(Table::Scores, Some(evaluation.id), None, &Projection::All)? {
            let (_, rows) = rows?;
            let columns = Columns::new(Table::Scores, &rows);
            let [names, splits] = [columns.text("dataset")?, columns.text("split")?];
            let of = columns.text("score")?;
            let values = columns.numbers::<Float32Type>("value")?;
            let labels = columns.optional_numbers::<Int32Type>("label")?;
            let predicted = columns.numbers::<Int32Type>("predicted")?;
            for row in 0..rows.num_rows() {
                if scores.last() != Some(&of[row]) {
                    scores.push(of[row].clone());
                }
                let is =
                    |(set, split): &(SetScores, String)| (&set.name, split) == (&names[row], &splits[row]);
                let place = match sets.iter().position(is) {
                    Some(place) => place,
                    None => {
                        sets.push((
                            set(&names[row], sets.is_empty(), &common.groups),
                            splits[row].clone(),
                        ));
                        sets.len() - 1
                    }
                };
                let set = &mut sets[place].0;
                set.values.resize_with(scores.len(), Vec::new);
                set.values[scores.len() - 1].push(values[row]);
                if scores.len() == 1 {
                    let right = labels[row].map(|label| label == predicted[row]);
                    set.right = set.right.take().zip(right).map(|(mut all, right)| {
                        all.push(right);
                        all
                    });
                }
            }
        }
        if sets.is_empty() {
            return Err(StageError::Mismatch(format!(
                "run {} has no scores",
                evaluation.id
            )));
        }
        Ok(Self {
            scores,
            sets: sets.into_iter().map(|(set, _)| set).collect(),
            common,
        })
    }

    /// Returns all metrics, those of `extra` too.
    ///
    /// # Errors
    /// NaN among the scores.
    pub fn metrics(&self, extra: &[MetricName]) -> Result<Vec<Metric>, StageError> {
        let taken = Taken {
            sets: &self.sets,
            full_spectrum: self.common.full_spectrum,
            scores: &self.scores,
            extra,
            draws: self.common.draws,
            convention: self.common.convention,
        };
        taken.metrics()
    }

    /// Returns the convention of its metrics.
    pub fn convention(&self) -> Convention {
        self.common.convention
    }

    /// Returns the sets that do not count as in-distribution.
    pub fn others(&self) -> impl Iterator<Item = &SetScores> {
        self.sets.iter().filter(|set| !self.counts_as_id(set))
    }

    fn counts_as_id(&self, set: &SetScores) -> bool {
        set.is_id || self.common.full_spectrum && set.group == Some(Group::Shifted)
    }

    /// Returns a score of the images that count as in-distribution.
    pub fn id(&self, score: usize) -> Vec<f32> {
        let sets = self.sets.iter().filter(|set| self.counts_as_id(set));
        sets.flat_map(|set| set.values[score].iter().copied()).collect()
    }
}

fn set(name: &str, is_id: bool, groups: &Groups) -> SetScores {
    SetScores {
        name: name.to_owned(),
        group: groups.get(name).copied().filter(|_| !is_id),
        is_id,
        right: Some(Vec::new()),
        values: Vec::new(),
        left_out: 0.0,
    }
}
