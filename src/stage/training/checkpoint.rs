//! Checkpoints of a training: written with the metrics since the last one, and read to go on or to use the
//! network.

use dream_schema::{Artifact, Checkpoint, Metric, Run, RunId};

use super::Trainer;
use crate::nn::{self, Sgd, State};
use crate::stage::{Context, StageError};
use crate::store::{Readable, Store};
use crate::words::words;

words! {
    /// What a row of the table `checkpoints` holds.
    pub enum CheckpointName {
        /// The network that is used, where it is not the last: a row of its own for one of the states.
        Best = "best",
        /// The last layer alone, beside activations.
        Head = "head",
        /// The state of a network.
        Model = "model",
        /// The state of the optimizer beside it.
        Optimizer = "optimizer",
    }
}

impl CheckpointName {
    /// Says whether a row is of this name.
    pub fn is_of(self, row: &Checkpoint) -> bool {
        row.name == self.name()
    }

    /// The place of the state after `epochs` epochs, 1 or more, among the run's rows. States fill the places
    /// from 2 on in pairs, so that a third of an epoch would take a range of its own, above all of them.
    fn place(self, epochs: usize) -> u64 {
        match self {
            Self::Best | Self::Head => 0,
            Self::Model => 2 * epochs as u64,
            Self::Optimizer => 2 * epochs as u64 + 1,
        }
    }
}

impl Trainer<'_> {
    /// Commits the state after `epochs` epochs, and the metrics since the last one.
    pub(super) fn save(&self, epochs: usize, sgd: &Sgd, metrics: &[Metric]) -> Result<(), StageError> {
        let mut state = self.network.tensors().state_dict()?;
        state.extend(
            self.extra
                .iter()
                .map(|(name, var)| (name.clone(), var.as_tensor().clone())),
        );
        let model = nn::to_safetensors(&state)?;
        let optimizer = nn::to_safetensors(&sgd.state_dict()?)?;
        let mut batch = self.ctx.store.batch(self.run.id);
        let rows: Vec<Checkpoint> = [
            (CheckpointName::Model, model),
            (CheckpointName::Optimizer, optimizer),
        ]
        .into_iter()
        .map(|(name, bytes)| Checkpoint {
            class_id: None,
            class_name: None,
            index: name.place(epochs),
            name: name.name().into(),
            epoch: epochs as i32,
            format: "safetensors".into(),
            size: bytes.len() as i64,
            blake3: blake3::hash(&bytes).to_hex().to_string(),
            blob: batch.blob(bytes),
        })
        .collect();
        batch.add(&rows)?.add(metrics)?.commit()?;
        Ok(())
    }

    /// Loads the last checkpoint, if there is one, and returns how many epochs it has seen.
    pub(super) fn resume(&self, sgd: &mut Sgd) -> Result<usize, StageError> {
        let rows: Vec<Checkpoint> = self.ctx.store.rows(self.run.id, None)?;
        let Some(row) = last(&rows) else { return Ok(0) };
        self.load(state(self.ctx, row)?)?;
        let epochs = row.epoch;
        let optimizer = rows
            .iter()
            .find(|c| CheckpointName::Optimizer.is_of(c) && c.epoch == epochs);
        if let Some(row) = optimizer {
            sgd.load_state_dict(&state(self.ctx, row)?)?;
        }
        Ok(epochs as usize)
    }

    fn load(&self, mut state: State) -> Result<(), StageError> {
        for (name, var) in &self.extra {
            let missing =
                || StageError::Mismatch(format!("the checkpoint of run {} has no `{name}`", self.run.id));
            var.set(&state.remove(name).ok_or_else(missing)?)?;
        }
        Ok(self.network.tensors().load_state_dict(&state)?)
    }

    /// Says in a row of its own that the checkpoint after `epochs` epochs is the one to use, adds `metrics`,
    /// and loads it.
    pub(super) fn conclude(&self, epochs: usize, metrics: &[Metric]) -> Result<(), StageError> {
        let rows: Vec<Checkpoint> = self.ctx.store.rows(self.run.id, None)?;
        let best = rows
            .iter()
            .find(|c| CheckpointName::Model.is_of(c) && c.epoch as usize == epochs);
        let missing = || StageError::Mismatch(format!("run {} has no checkpoint {epochs}", self.run.id));
        let best = best.ok_or_else(missing)?;
        let row = Checkpoint {
            index: CheckpointName::Best.place(epochs),
            name: CheckpointName::Best.name().into(),
            ..best.clone()
        };
        self.ctx
            .store
            .batch(self.run.id)
            .add(&[row])?
            .add(metrics)?
            .commit()?;
        self.load(state(self.ctx, best)?)
    }
}

/// The last checkpoint of a network.
fn last(rows: &[Checkpoint]) -> Option<&Checkpoint> {
    rows.iter()
        .filter(|c| CheckpointName::Model.is_of(c))
        .max_by_key(|c| c.index())
}

fn state(ctx: &Context<'_>, row: &Checkpoint) -> Result<State, StageError> {
    Ok(nn::from_safetensors(
        &ctx.store.blob(&row.blob)?,
        ctx.engine.device(),
    )?)
}

/// Returns the checkpoint of a training that its network is taken from: the best on the validation images if
/// there are any, else the last; none if it has no checkpoint yet.
///
/// # Errors
/// If the disk fails or the rows are corrupt.
pub fn used_row(store: &Store, run: RunId) -> Result<Option<Checkpoint>, StageError> {
    let rows: Vec<Checkpoint> = store.rows(run, None)?;
    let best = rows.iter().find(|c| CheckpointName::Best.is_of(c));
    Ok(best.or_else(|| last(&rows)).cloned())
}

/// Returns the state of [`used_row`].
pub(in crate::stage) fn used_model(ctx: &Context<'_>, run: &Run) -> Result<Option<State>, StageError> {
    let row = used_row(ctx.store, run.id)?;
    row.map(|row| state(ctx, &row)).transpose()
}
