//! The search for the values of hyperparameters: those of the highest AUROC of ID validation images against
//! OOD validation images, as OpenOOD's automatic parameter search.

use std::collections::BTreeMap;

use dream_schema::{Metric, Run};

use super::chosen::{Chosen, ScoreSpec, Tuned, Way};
use crate::ood::score::{Entry, Extent, Hyperparameter, ScoreError, Values};
use crate::stage::rows::stretch;
use crate::stage::{Context, MetricName, StageError};
use crate::store::Snapshot;

/// The index of the first row of a search among the metrics: far behind all others.
const SEARCH: u64 = 1 << 32;
/// Rows that a score's search may have.
const ROOM: u64 = 1 << 20;

/// A search of an evaluation.
pub(super) struct Search<'a> {
    pub ctx: &'a Context<'a>,
    pub run: &'a Run,
    pub snapshot: &'a Snapshot,
}

/// Returns the settings that a search tries: every combination of the values that the score's hyperparameters
/// are searched over that go together. A score that is asked for with values of its own, and one that
/// leaves nothing open have none.
fn settings(score: &Chosen) -> Vec<BTreeMap<String, f64>> {
    let (Way::Of(way, _), true) = (&score.way, score.is_plain()) else {
        return Vec::new();
    };
    let with = |all: Vec<BTreeMap<String, f64>>, open: &Hyperparameter| -> Vec<_> {
        let of = |setting: &BTreeMap<String, f64>| {
            let setting = setting.clone();
            open.search.iter().map(move |value| {
                let mut setting = setting.clone();
                setting.insert(open.name.to_owned(), *value);
                setting
            })
        };
        all.iter().flat_map(of).collect()
    };
    let open = way.card().hyperparameters.iter();
    let mut all = open.fold(vec![BTreeMap::new()], with);
    all.retain(|setting| {
        let values = way.values(&given(setting));
        values.is_ok_and(|values| way.check(&values, Extent::default()).is_ok())
    });
    if all.len() > 1 { all } else { Vec::new() }
}

fn given(setting: &BTreeMap<String, f64>) -> Vec<(&str, f64)> {
    let pairs = setting.iter();
    pairs.map(|(name, value)| (name.as_str(), *value)).collect()
}

impl Search<'_> {
    /// Says whether a score's values are searched for.
    pub fn is_of(score: &Chosen) -> bool {
        !settings(score).is_empty()
    }

    /// How many settings are tried of a score.
    pub fn settings_of(score: &Chosen) -> u64 {
        settings(score).len() as u64
    }

    /// Returns how many settings a search of a score would try, and why the least of them is impossible,
    /// where all are: none fits what there is to learn from.
    pub fn unfit(score: &Chosen, extent: Extent) -> Option<(usize, ScoreError)> {
        let Way::Of(way, _) = &score.way else { return None };
        let errors = settings(score).into_iter().map(|setting| {
            way.values(&given(&setting))
                .and_then(|values| way.check(&values, extent))
                .err()
        });
        let errors = errors.collect::<Option<Vec<ScoreError>>>()?;
        let count = errors.len();
        let needed = |error: &ScoreError| match error {
            ScoreError::TooFew { needed, .. } => *needed,
            _ => usize::MAX,
        };
        errors.into_iter().min_by_key(needed).map(|least| (count, least))
    }

    /// Returns the score with the best values by `auroc`. What was tried is stored as it is found: a row
    /// `search_auroc` a setting, then `chosen_auroc`; and is taken from there where it is stored already.
    ///
    /// # Errors
    /// If no setting can learn from what is there.
    pub fn best(
        &self,
        place: usize,
        score: &Chosen,
        auroc: &dyn Fn(&Values) -> Result<f64, StageError>,
    ) -> Result<Chosen, StageError> {
        let settings = settings(score);
        let Way::Of(way, _) = &score.way else {
            return Err(StageError::Mismatch(format!(
                "`{}` leaves nothing open",
                score.label
            )));
        };
        let first = SEARCH + place as u64 * ROOM;
        let stored: Vec<Metric> = stretch(self.snapshot, self.run.id, 0, &(first..first + ROOM))?;
        let is_chosen = |row: &&Metric| MetricName::of(row) == Some(MetricName::ChosenAuroc);
        if let Some(row) = stored.iter().find(is_chosen) {
            return self.named(score, row.score.as_deref().unwrap_or_default());
        }
        if settings.len() > 100 {
            let (label, count) = (&score.label, settings.len());
            self.ctx
                .progress
                .note(&format!("`{label}`: {count} settings are tried"));
        }
        let mut tried = stored.into_iter().peekable();
        let (mut count, mut best): (u64, Option<(f64, String)>) = (0, None);
        let mut reason = None;
        for values in settings {
            self.ctx.check_interrupt()?;
            let spec = ScoreSpec::Tuned(Tuned {
                name: score.label.clone(),
                values: values.clone(),
            });
            let label = spec.to_string();
            self.ctx.progress.detail(&label);
            let auroc = match tried.next_if(|row| row.score.as_ref() == Some(&label)) {
                Some(row) => row.value,
                None => match self.of_setting(*way, &values, auroc) {
                    Ok(value) => {
                        self.put(MetricName::SearchAuroc, first + count, &label, value)?;
                        value
                    }
                    Err(error @ StageError::Mismatch(_)) => {
                        reason = Some(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            count += 1;
            if best.as_ref().is_none_or(|(known, _)| auroc > *known) {
                best = Some((auroc, label));
            }
        }
        let Some((auroc, label)) = best else {
            let nothing = || StageError::Mismatch("there is no setting to try".into());
            return Err(reason.unwrap_or_else(nothing));
        };
        if let Some(reason) = reason {
            self.ctx.progress.note(&format!(
                "`{}`: {count} settings tried; of others: {reason}",
                score.label
            ));
        }
        self.put(MetricName::ChosenAuroc, first + count, &label, auroc)?;
        self.named(score, &label)
    }

    fn put(&self, name: MetricName, index: u64, label: &str, value: f64) -> Result<(), StageError> {
        let row = Metric {
            score: Some(label.to_owned()),
            ..name.row(index, value)
        };
        Ok(self.ctx.store.put(self.run.id, &[row])?)
    }

    /// The AUROC of one setting.
    fn of_setting(
        &self,
        way: Entry,
        setting: &BTreeMap<String, f64>,
        auroc: &dyn Fn(&Values) -> Result<f64, StageError>,
    ) -> Result<f64, StageError> {
        let values = way.values(&given(setting));
        let values = values.map_err(|error| StageError::Mismatch(format!("{setting:?}: {error}")))?;
        auroc(&values)
    }

    /// The score with the values that a label has, under its own name.
    fn named(&self, score: &Chosen, label: &str) -> Result<Chosen, StageError> {
        let spec = label.parse::<ScoreSpec>().map_err(StageError::Mismatch)?;
        let chosen = Chosen::of(&spec).map_err(StageError::Mismatch)?;
        Ok(Chosen {
            label: score.label.clone(),
            ..chosen
        })
    }
}

/// Says what a search chose for each score, of the metrics of an evaluation: `knn:k=50`.
pub fn choices(metrics: &[Metric]) -> Vec<(String, f64)> {
    let chosen = metrics
        .iter()
        .filter(|row| MetricName::of(row) == Some(MetricName::ChosenAuroc));
    chosen
        .filter_map(|row| Some((row.score.clone()?, row.value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_do_not_go_together_are_not_tried() {
        let pairs = |name: &str| settings(&Chosen::of(&name.parse().unwrap()).unwrap());
        // OpenOOD's pairs of 60, 65, .., 95 and 99.
        let tried = pairs("adascale_a");
        assert_eq!(tried.len(), 36);
        assert!(tried.iter().all(|setting| setting["low"] < setting["high"]));
        assert!(
            tried
                .iter()
                .any(|setting| (setting["low"], setting["high"]) == (80.0, 85.0))
        );
        assert!(pairs("adascale_a:low=60").is_empty());
    }
}
