//! Imagined pictures that `select` rated by the classifier of an evaluation.

use std::collections::BTreeSet;

use dream_schema::{Rating, Run, RunId, Status};

use crate::stage::{Input, Role, StageError, evaluate, observe, params, select};
use crate::store::{Readable, Store};

/// Pictures, rated.
#[derive(Clone, Debug)]
pub(super) struct Rated {
    /// The `select` run.
    pub run: Run,
    /// The pictures.
    pub pictures: Run,
    /// The training images, as the classifier sees them.
    pub train: RunId,
    /// Which of them, from the nearest, the distance is to.
    pub k: usize,
}

impl Rated {
    /// Returns the distances, all of them whether chosen or not.
    pub fn distances(&self, store: &Store) -> Result<Vec<f32>, StageError> {
        let rows: Vec<Rating> = store.rows(self.run.id, None)?;
        Ok(rows.iter().map(|row| row.knn_distance).collect())
    }
}

/// Returns what pictures the classifier of an evaluation rated, those of one run and one `k` once: bounds
/// change no distance. The same training images and `k` stand beside each other.
///
/// # Errors
/// If the store cannot be read.
pub(super) fn rated(store: &Store, evaluation: &Run) -> Result<Vec<Rated>, StageError> {
    let runs = store.runs()?;
    // A store may lack what its runs read.
    let find = |id: Option<RunId>| id.and_then(|id| runs.iter().find(|run| run.id == id));
    let observed = |run: &&Run| run.spec.stage == observe::NAME && run.status == Status::Finished;
    let Some(id) = find(Role::Id.input_of(evaluation)).filter(observed) else {
        return Ok(Vec::new());
    };
    let known = |run: &Run, role: &Role| Input::Stored(run.id).known(store, role, &[observe::NAME]);
    let own = known(id, &Role::Id)?;
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    let finished = |run: &&Run| run.spec.stage == select::NAME && run.status == Status::Finished;
    for run in runs.iter().filter(finished) {
        let train = find(Role::Train.input_of(run)).filter(observed);
        let (Some(train), Some(pictures)) = (train, find(Role::Pictures.input_of(run))) else {
            continue;
        };
        let k = params::<select::Params>(run)?.k;
        if evaluate::same_classifier(&own, &*known(train, &Role::Train)?)?
            && seen.insert((train.id, k, pictures.id))
        {
            all.push(Rated {
                run: run.clone(),
                pictures: pictures.clone(),
                train: train.id,
                k,
            });
        }
    }
    all.sort_by_key(|rated| (rated.train, rated.k));
    Ok(all)
}
