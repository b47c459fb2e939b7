//! Activations of another program's classifier: features, logits or both, and the true classes, an image a
//! row.

mod arrays;
mod check;
mod table;

use std::ops::Range;
use std::path::Path;

use dream_schema::Activation;
use dream_schema::value::Numbers;

use crate::content::Content;
use crate::exchange::ExchangeError;
use crate::exchange::records::Records;
use crate::nn::State;
use crate::ood;
use crate::stage::StageError;
use check::{check_finite, check_fit, check_head};

/// What activations are of.
#[derive(Clone, Copy, Debug)]
pub struct ActivationsOf<'a> {
    /// The data set.
    pub dataset: &'a str,
    /// Its split.
    pub split: &'a str,
    /// The files of the arrays, where each has its own.
    pub arrays: Option<Arrays<'a>>,
    /// Which network they are of, where that is said.
    pub network: Option<NetworkOf<'a>>,
}

/// A network of another program: those of one name differ by the seed of their training alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkOf<'a> {
    /// What tables call it.
    pub name: &'a str,
    /// The seed of its training.
    pub seed: u64,
}

/// Files that hold one array each, as `numpy.save` writes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrays<'a> {
    /// `[images, width]`.
    pub features: Option<&'a Path>,
    /// `[images, classes]`.
    pub logits: Option<&'a Path>,
    /// The true classes, `[images]`.
    pub labels: Option<&'a Path>,
    /// The last layer's weights, `[classes, width]`.
    pub weight: Option<&'a Path>,
    /// Its bias, `[classes]`.
    pub bias: Option<&'a Path>,
}

impl<'a> Arrays<'a> {
    /// Those that there are, by name.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &'a Path)> {
        let all = [
            ("features", self.features),
            ("logits", self.logits),
            ("labels", self.labels),
            ("weight", self.weight),
            ("bias", self.bias),
        ];
        all.into_iter().filter_map(|(name, path)| Some((name, path?)))
    }
}

/// Activations as they stand in a file.
pub(super) struct Read<'a> {
    of: ActivationsOf<'a>,
    features: Matrix,
    logits: Matrix,
    /// The true class of each image, none of one that is not known; empty where the file has none.
    labels: Vec<Option<i32>>,
    /// Where each image is in the file, in the order of their numbers, which come first.
    order: Vec<(i64, usize)>,
    /// The last layer, `fc.weight` and `fc.bias`, where the file has it.
    pub head: Option<State>,
    /// What is to be told of how they were read.
    pub told: Vec<String>,
}

impl Read<'_> {
    /// The number of images.
    pub fn count(&self) -> usize {
        self.order.len()
    }

    /// Returns the rows at these places, so that no more of them are held at once.
    ///
    /// # Errors
    /// If there is no largest logit.
    pub fn rows(&self, places: Range<usize>) -> Result<Vec<Activation>, StageError> {
        let row = |index: usize| {
            let (sample, row) = self.order[index];
            let logits = self.logits.row(row);
            let predicted = match logits.len() {
                0 => None,
                classes => ood::predictions(logits, classes)?
                    .first()
                    .map(|class| *class as i32),
            };
            Ok(Activation {
                class_id: None,
                class_name: None,
                index: index as u64,
                dataset: self.of.dataset.to_owned(),
                split: self.of.split.to_owned(),
                sample,
                label: self.labels.get(row).copied().flatten(),
                predicted,
                logits: Numbers(logits.to_vec()),
                features: Numbers(self.features.row(row).to_vec()),
                outlier_logit: None,
            })
        };
        places.map(row).collect()
    }
}

/// A matrix `[rows, width]`.
#[derive(Default)]
struct Matrix {
    values: Vec<f32>,
    width: usize,
}

impl Matrix {
    fn rows(&self) -> Option<usize> {
        (self.width > 0).then(|| self.values.len() / self.width)
    }

    fn row(&self, row: usize) -> &[f32] {
        match self.width {
            0 => &[],
            width => &self.values[row * width..][..width],
        }
    }
}

/// Reads the activations in a file. A negative label is that of an image without one.
///
/// # Errors
/// Neither features nor logits, numbers of rows that differ, a number that is not finite.
pub(super) fn read<'a>(path: &Path, of: ActivationsOf<'a>) -> Result<Read<'a>, StageError> {
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let content = || Content::at(path).map_err(ExchangeError::io(path));
    let Parts {
        features,
        logits,
        labels,
        samples,
        head,
        unread,
    } = match &of.arrays {
        Some(arrays) => arrays::of_files(arrays)?,
        None if Records::is_content(content()?) => table::read(path, of)?,
        None => arrays::of_one_file(path)?,
    };
    if let Some(head) = &head {
        check_finite(path, head)?;
        check_head(path, head, &features, &logits)?;
    }
    let counts = [features.rows(), logits.rows(), labels.as_ref().map(Vec::len)];
    let Some(count) = features.rows().or(logits.rows()).filter(|count| *count > 0) else {
        return Err(wrong("there is no row of features or logits in it".into()));
    };
    if counts.into_iter().flatten().any(|other| other != count) {
        let words = ["features", "logits", "labels"].into_iter().zip(counts);
        let words = words.filter_map(|(what, n)| Some(format!("{} {what}", n?)));
        let found = words.collect::<Vec<_>>().join(", ");
        return Err(wrong(format!(
            "there are {found}: one of each an image is needed"
        )));
    }
    let own = of.arrays.unwrap_or_default();
    for (what, matrix, own) in [
        ("feature", &features, own.features),
        ("logit", &logits, own.logits),
    ] {
        if let Some(place) = matrix.values.iter().position(|value| !value.is_finite()) {
            let (row, column) = (place / matrix.width, place % matrix.width);
            let value = matrix.values[place];
            return Err(StageError::File {
                path: own.unwrap_or(path).to_owned(),
                message: format!("{what} {column} of row {row} is {value} (numbers are kept as f32)"),
            });
        }
    }
    if let Some(head) = head.as_ref().filter(|_| features.width > 0 && logits.width > 0) {
        check_fit(path, head, &features, &logits)?;
    }
    let samples = super::table::samples(path, samples, count)?;
    let class = |(row, label): (usize, &i64)| match *label {
        ..0 => Ok(None),
        label => i32::try_from(label)
            .map(Some)
            .map_err(|_| wrong(format!("row {row} has the class {label}"))),
    };
    let numbered = labels.iter().flatten().enumerate();
    let classes: Vec<Option<i32>> = numbered.map(class).collect::<Result<_, _>>()?;
    let mut order: Vec<(i64, usize)> = samples.into_iter().zip(0..).collect();
    order.sort_unstable();
    let beyond = (labels.iter().flatten()).find(|label| logits.width > 0 && **label >= logits.width as i64);
    let told = beyond.map(|label| {
        let classes = logits.width;
        format!(
            "the label {label} is none of the {classes} classes that have logits: labels are other classes'"
        )
    });
    let unlabelled = classes.iter().filter(|label| label.is_none()).count();
    let some = (1..classes.len()).contains(&unlabelled);
    let without =
        some.then(|| format!("{unlabelled} of {count} images have no label: it is negative, null or NaN"));
    Ok(Read {
        of,
        features,
        logits,
        labels: classes,
        order,
        head,
        told: unread.into_iter().chain(told).chain(without).collect(),
    })
}

/// The arrays of a file.
#[derive(Default)]
struct Parts {
    features: Matrix,
    logits: Matrix,
    labels: Option<Vec<i64>>,
    samples: Option<Vec<i64>>,
    head: Option<State>,
    /// What is told of arrays or columns that are not read.
    unread: Option<String>,
}

#[cfg(test)]
mod tests;
