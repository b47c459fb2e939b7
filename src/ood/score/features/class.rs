//! The mean features of each class.

use crate::ood::observed::{Observed, Rows};
use crate::ood::score::ScoreError;
use crate::ood::score::linear::{class_means, mean};
use crate::ood::score::softmax::argmax;

/// The mean features of some training pictures of each class; of all training pictures where a class has none
/// of those.
pub(in crate::ood::score) struct Means(Vec<Vec<f64>>);

impl Means {
    /// Of the pictures that were predicted as the class.
    pub(in crate::ood::score) fn of_predicted(train: &Observed<'_>) -> Result<Self, ScoreError> {
        let (features, logits) = (train.features()?, train.logits()?);
        let predicted: Vec<u32> = logits.iter().map(|row| argmax(row) as u32).collect();
        Ok(Self::of(
            features,
            class_means(features, &predicted, logits.width()),
        ))
    }

    /// Of the pictures of the class that were predicted as it.
    pub(in crate::ood::score) fn of_right(train: &Observed<'_>) -> Result<Self, ScoreError> {
        let (features, logits, labels) = (train.features()?, train.logits()?, train.labels()?);
        // The others get a class of their own, which is dropped.
        let other = logits.width() as u32;
        let right = |(row, label): (&[f32], &u32)| {
            if argmax(row) == *label as usize {
                *label
            } else {
                other
            }
        };
        let kept: Vec<u32> = logits.iter().zip(labels).map(right).collect();
        let mut means = class_means(features, &kept, logits.width());
        means.truncate(logits.width());
        Ok(Self::of(features, means))
    }

    fn of(features: Rows<'_>, means: Vec<Option<Vec<f64>>>) -> Self {
        let all = mean(features);
        Self(
            means
                .into_iter()
                .map(|own| own.unwrap_or_else(|| all.clone()))
                .collect(),
        )
    }

    pub(in crate::ood::score) fn classes(&self) -> usize {
        self.0.len()
    }

    pub(in crate::ood::score) fn width(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    pub(in crate::ood::score) fn of_class(&self, class: usize) -> &[f64] {
        &self.0[class]
    }
}
