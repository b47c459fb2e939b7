//! Distances to the k-th nearest image in a classifier's features, as `select` stores and a report draws
//! them.

use dream_schema::RunId;

use super::StageError;
use crate::ood::Observed;
use crate::ood::score::{self, Fitted, Reference, ScoreError};

/// Images to which distances are measured.
pub(super) struct Nearest {
    knn: Box<dyn Fitted>,
    width: usize,
}

impl Nearest {
    /// Takes the images of `run` by their `features`, `[n, width]`; distances are to the `k`-th nearest of
    /// them, from 1.
    ///
    /// # Errors
    /// Fewer images than `k`, a `k` of 0; features that are no such rows.
    pub fn of(run: RunId, features: &[f32], width: usize, k: usize) -> Result<Self, StageError> {
        let fitted = || {
            let train = Some(Observed::of_features(features, width)?);
            let validation = None;
            score::knn(k, &Reference { train, validation })
        };
        let knn = fitted().map_err(mismatch(run))?;
        Ok(Self { knn, width })
    }

    /// Returns the distance of each of the `queries` of a run, `[n, width]`; of features divided by their
    /// norm, so 0 to 2.
    ///
    /// # Errors
    /// Features that are no such rows.
    pub fn distances(&self, run: RunId, queries: &[f32]) -> Result<Vec<f32>, StageError> {
        let scores = Observed::of_features(queries, self.width).and_then(|rows| self.knn.score(&rows));
        let scores = scores.map_err(mismatch(run))?;
        // The score is minus the square.
        Ok(scores.into_iter().map(|score| (-score).max(0.0).sqrt()).collect())
    }
}

fn mismatch(run: RunId) -> impl Fn(ScoreError) -> StageError {
    move |error| StageError::Mismatch(format!("features of run {run}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_between_directions() {
        let run: RunId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        // East, north and west; lengths do not count.
        let images = [1.0, 0.0, 0.0, 3.0, -0.5, 0.0];
        let third = Nearest::of(run, &images, 2, 3).unwrap();
        let found = third.distances(run, &[2.0, 0.0, 0.0, 7.0, 0.0, -1.0]).unwrap();
        // The farthest of east is west, of north one beside it, of south north.
        assert_eq!(found, [2.0, 2.0_f32.sqrt(), 2.0]);
        let nearest = Nearest::of(run, &images, 2, 1).unwrap();
        assert_eq!(nearest.distances(run, &[9.0, 0.0]).unwrap(), [0.0]);
        let error = nearest.distances(run, &[1.0, 0.0, 0.0]).unwrap_err().to_string();
        assert!(error.contains("features of run 0123456789abcdef"), "{error}");
        assert!(Nearest::of(run, &images, 2, 4).is_err());
    }
}
