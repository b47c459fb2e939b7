//! Activations of another program's classifier: features, logits or both, and the true classes, an image a
//! row.

mod arrays;
mod table;

use std::path::Path;

use dream_schema::Activation;
use dream_schema::value::Numbers;

use crate::content::Content;
use crate::exchange::ExchangeError;
use crate::exchange::records::Records;
use crate::nn::State;
use crate::ood;
use crate::stage::StageError;

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
pub(super) struct Read {
    pub rows: Vec<Activation>,
    /// The last layer, `fc.weight` and `fc.bias`, where the file has it.
    pub head: Option<State>,
    /// What is to be told of how they were read.
    pub told: Vec<String>,
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

/// Rows whose logits are held against the last layer's.
const HELD_AGAINST: usize = 64;
/// How far a logit may be from the last layer's, as a share of the largest one: activations may have been
/// kept in 16 bits.
const FAR: f32 = 0.02;

/// Refuses a last layer that does not give the logits of the features: scores that read it would be of
/// another network.
fn check_fit(path: &Path, head: &State, features: &Matrix, logits: &Matrix) -> Result<(), StageError> {
    let (Some(weight), Some(bias)) = (head.get("fc.weight"), head.get("fc.bias")) else {
        return Ok(());
    };
    let (weight, bias) = (weight.to_vec2::<f32>()?, bias.to_vec1::<f32>()?);
    for row in 0..features.rows().unwrap_or(0).min(HELD_AGAINST) {
        let (feature, logit) = (features.row(row), logits.row(row));
        let largest = logit.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
        for (class, (weight, bias)) in weight.iter().zip(&bias).enumerate() {
            let product: f32 = weight.iter().zip(feature).map(|(w, h)| w * h).sum();
            let (given, found) = (logit[class], product + bias);
            if (given - found).abs() > FAR * largest {
                let message = format!(
                    "logit {class} of row {row} is {given}, but the last layer gives {found}: it is another \
                     network's, or takes other features; without the layer they are imported"
                );
                let path = path.to_owned();
                return Err(StageError::File { path, message });
            }
        }
    }
    Ok(())
}

/// Reads the activations in a file. A negative label is that of an image without one.
///
/// # Errors
/// Neither features nor logits, numbers of rows that differ, a number that is not finite.
pub(super) fn read(path: &Path, of: ActivationsOf<'_>) -> Result<Read, StageError> {
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
        None if Records::is_content(content()?) => table::read(path)?,
        None => arrays::of_one_file(path)?,
    };
    if let Some(head) = &head {
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
    let row = |sample: usize| {
        let predicted = match logits.width {
            0 => None,
            classes => ood::predictions(logits.row(sample), classes)?
                .first()
                .map(|class| *class as i32),
        };
        let label = labels
            .as_ref()
            .map(|labels| labels[sample])
            .filter(|label| *label >= 0);
        let class = |label: i64| {
            i32::try_from(label).map_err(|_| wrong(format!("row {sample} has the class {label}")))
        };
        Ok(Activation {
            class_id: None,
            class_name: None,
            index: sample as u64,
            dataset: of.dataset.to_owned(),
            split: of.split.to_owned(),
            sample: samples[sample],
            label: label.map(class).transpose()?,
            predicted,
            logits: Numbers(logits.row(sample).to_vec()),
            features: Numbers(features.row(sample).to_vec()),
            outlier_logit: None,
        })
    };
    let mut rows = (0..count).map(row).collect::<Result<Vec<_>, StageError>>()?;
    rows.sort_by_key(|row| row.sample);
    (0..).zip(&mut rows).for_each(|(index, row)| row.index = index);
    let beyond = (labels.iter().flatten()).find(|label| logits.width > 0 && **label >= logits.width as i64);
    let told = beyond.map(|label| {
        let classes = logits.width;
        format!(
            "the label {label} is none of the {classes} classes that have logits: labels are other classes'"
        )
    });
    Ok(Read {
        rows,
        head,
        told: unread.into_iter().chain(told).collect(),
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

/// Refuses a last layer of another width than the features, or of other classes than the logits.
fn check_head(path: &Path, head: &State, features: &Matrix, logits: &Matrix) -> Result<(), StageError> {
    let Some([classes, width]) = head
        .get("fc.weight")
        .and_then(|weight| weight.dims().first_chunk::<2>())
    else {
        return Ok(());
    };
    let pairs = [
        (features.width, *width, "features", "takes"),
        (logits.width, *classes, "logits", "gives"),
    ];
    for (own, of_head, what, does) in pairs {
        if own > 0 && own != of_head {
            let path = path.to_owned();
            let message = format!("an image has {own} {what}, but the last layer {does} {of_head}");
            return Err(StageError::File { path, message });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
