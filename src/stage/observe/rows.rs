//! Activations as rows.

use std::borrow::Cow;

use arrow::datatypes::Int32Type;
use dream_schema::columns::Columns;
use dream_schema::value::Numbers;
use dream_schema::{Activation, Checkpoint, RunId, Table};

use super::{Dtype, Params};
use crate::nn::{self, State};
use crate::ood;
use crate::stage::detect::Detector;
use crate::stage::pictures::Pictures;
use crate::stage::training::CheckpointName;
use crate::stage::{Context, ImageSource, Source, StageError};
use crate::store::{Projection, Readable, Store};

/// What the rows of a run share.
pub(super) struct Rows<'a> {
    source: &'a ImageSource,
    split: &'a str,
    detector: &'a Detector,
    dtype: Dtype,
    /// Classes of the images, where the set has those of the classifier.
    labels: Option<Cow<'a, [u32]>>,
}

impl<'a> Rows<'a> {
    /// # Errors
    /// A label that is no class.
    pub fn new(
        source: &'a ImageSource,
        params: &'a Params,
        detector: &'a Detector,
        images: &'a Pictures<'_>,
    ) -> Result<Self, StageError> {
        let classes = detector.classes();
        if params.numbered {
            source.check_classes(classes, "the classifier")?;
        }
        let same = params.numbered || source.classes() == classes;
        let labels = match params.matched {
            false => images.labels().filter(|_| same).map(Cow::from),
            true => {
                let places = source.places_among(classes)?;
                let place = |label: &u32| places.get(*label as usize).copied().unwrap_or(u32::MAX);
                let labels = images.labels();
                labels.map(|labels| labels.iter().map(place).collect::<Vec<_>>().into())
            }
        };
        let beyond = |label: &&u32| **label as usize >= classes.len();
        if let Some(label) = labels.as_ref().and_then(|labels| labels.iter().find(beyond)) {
            let (name, count) = (source.name(), classes.len());
            return Err(StageError::Mismatch(format!(
                "the image set `{name}` has the label {label}, but the classifier {count} classes"
            )));
        }
        Ok(Self {
            source,
            split: &params.split,
            detector,
            dtype: params.dtype,
            labels,
        })
    }

    /// Returns the rows of `samples`: `shown` is `[samples, feature_len + outputs]`.
    ///
    /// # Errors
    /// A number that is not finite.
    pub fn of(&self, samples: &[u32], shown: &[f32]) -> Result<Vec<Activation>, StageError> {
        let (classes, split) = (self.detector.classes(), self.detector.feature_len());
        let rows = samples
            .iter()
            .zip(shown.chunks_exact(split + self.detector.outputs()));
        rows.map(|(sample, shown)| {
            let stored = self.dtype.round(shown);
            if let Some(place) = stored.iter().position(|number| !number.is_finite()) {
                let (name, what, number) = (self.source.name(), self.split, shown[place]);
                let beyond = match number.is_finite() {
                    true => format!(", which {} does not hold", self.dtype.name()),
                    false => String::new(),
                };
                return Err(StageError::Mismatch(format!(
                    "the classifier gives {number} for image {sample} of `{name}`, split {what}{beyond}"
                )));
            }
            let (features, outputs) = stored.split_at(split);
            let (logits, extra) = outputs.split_at(classes.len());
            let label = self.labels.as_ref().map(|labels| labels[*sample as usize]);
            Ok(Activation {
                class_id: label,
                class_name: label.map(|label| classes[label as usize].clone()),
                index: u64::from(*sample),
                dataset: self.source.name().to_owned(),
                split: self.split.to_owned(),
                sample: i64::from(*sample),
                label: label.map(|label| label as i32),
                predicted: ood::predictions(logits, classes.len())?
                    .first()
                    .map(|p| *p as i32),
                logits: Numbers(logits.to_vec()),
                features: Numbers(features.to_vec()),
                outlier_logit: extra.first().copied(),
            })
        })
        .collect()
    }
}

/// Stores the last layer (`fc.weight`, `fc.bias`), which some scores read, as a checkpoint.
pub(in crate::stage) fn put_head(ctx: &Context<'_>, run: RunId, head: &State) -> Result<(), StageError> {
    let bytes = nn::to_safetensors(head)?;
    let mut batch = ctx.store.batch(run);
    let row = Checkpoint {
        class_id: None,
        class_name: None,
        index: 0,
        name: CheckpointName::Head.name().to_owned(),
        epoch: 0,
        format: "safetensors".to_owned(),
        size: bytes.len() as i64,
        blake3: blake3::hash(&bytes).to_hex().to_string(),
        blob: batch.blob(bytes),
    };
    Ok(batch.add(&[row])?.commit()?)
}

/// Returns the share of the images whose class is found, if they have classes.
pub(super) fn accuracy(store: &Store, run: RunId) -> Result<Option<f64>, StageError> {
    let (mut right, mut all) = (0_u64, 0_u64);
    for rows in store.blocks(Table::Activations, Some(run), None, &Projection::Narrow)? {
        let (_, rows) = rows?;
        let columns = Columns::new(Table::Activations, &rows);
        let labels = columns.optional_numbers::<Int32Type>("label")?;
        let predicted = columns.optional_numbers::<Int32Type>("predicted")?;
        let known = labels.iter().zip(predicted).filter(|(label, _)| label.is_some());
        for (label, predicted) in known {
            all += 1;
            right += u64::from(*label == predicted);
        }
    }
    Ok((all > 0).then(|| right as f64 / all as f64))
}
