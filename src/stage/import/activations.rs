//! Activations of another program's classifier: features, logits or both, and the true classes, an image a
//! row.

use std::path::Path;

use arrow::array::{Array as _, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type};
use dream_schema::Activation;
use dream_schema::value::Numbers;

use crate::content::Content;
use crate::exchange::records::Records;
use crate::exchange::{Array, ArrayFile, ExchangeError};
use crate::nn::State;
use crate::ood;
use crate::stage::StageError;

/// How features, logits and true classes are called; `feat_list` and `label_list` by OpenOOD.
const FEATURES: [&str; 7] = [
    "features",
    "feature",
    "feats",
    "feat",
    "feat_list",
    "penultimate",
    "embeddings",
];
const LOGITS: [&str; 4] = ["logits", "logit", "outputs", "output"];
const LABELS: [&str; 7] = ["labels", "label", "label_list", "targets", "target", "gt", "y"];
/// How the last layer is called.
const WEIGHT: [&str; 5] = [
    "fc.weight",
    "head.weight",
    "classifier.weight",
    "linear.weight",
    "weight",
];
const BIAS: [&str; 5] = ["fc.bias", "head.bias", "classifier.bias", "linear.bias", "bias"];
/// Rows that are read at once.
const PART: usize = 4096;

/// What activations are of.
#[derive(Clone, Copy, Debug)]
pub struct ActivationsOf<'a> {
    /// The data set.
    pub dataset: &'a str,
    /// Its split.
    pub split: &'a str,
}

/// Activations as they stand in a file.
pub(super) struct Read {
    pub rows: Vec<Activation>,
    /// The last layer, `fc.weight` and `fc.bias`, where the file has it.
    pub head: Option<State>,
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
pub(super) fn read(path: &Path, of: ActivationsOf<'_>) -> Result<Read, StageError> {
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let content = Content::at(path).map_err(ExchangeError::io(path))?;
    let (features, logits, labels, head) = match Records::is_content(content) {
        true => of_table(path)?,
        false => of_arrays(path)?,
    };
    let counts = [features.rows(), logits.rows(), labels.as_ref().map(Vec::len)];
    let Some(count) = features.rows().or(logits.rows()).filter(|count| *count > 0) else {
        return Err(wrong("there is no row of features or logits in it".into()));
    };
    if counts.into_iter().flatten().any(|other| other != count) {
        let words = ["features", "logits", "labels"].into_iter().zip(counts);
        let words = words.filter_map(|(what, n)| Some(format!("{} {what}", n?)));
        let found = words.collect::<Vec<_>>().join(", ");
        return Err(wrong(format!("it has {found}: one of each an image is needed")));
    }
    for (what, matrix) in [("feature", &features), ("logit", &logits)] {
        if let Some(place) = matrix.values.iter().position(|value| !value.is_finite()) {
            let (row, column) = (place / matrix.width, place % matrix.width);
            let value = matrix.values[place];
            return Err(wrong(format!("{what} {column} of row {row} is {value}")));
        }
    }
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
            sample: sample as i64,
            label: label.map(class).transpose()?,
            predicted,
            logits: Numbers(logits.row(sample).to_vec()),
            features: Numbers(features.row(sample).to_vec()),
            outlier_logit: None,
        })
    };
    let rows = (0..count).map(row).collect::<Result<_, StageError>>()?;
    Ok(Read { rows, head })
}

type Parts = (Matrix, Matrix, Option<Vec<i64>>, Option<State>);

fn of_arrays(path: &Path) -> Result<Parts, StageError> {
    let file = ArrayFile::open(path)?;
    let called = |names: &[&str]| {
        let floats = file.arrays().iter().filter(|array| array.is_of_floats());
        floats
            .into_iter()
            .find(|array| names.contains(&array.name.as_str()))
    };
    let matrix = |array: Option<&Array>| -> Result<Matrix, StageError> {
        let Some(array) = array else {
            return Ok(Matrix::default());
        };
        match array.shape.as_slice() {
            &[rows, width] => Ok(Matrix {
                values: numbers(path, &file, array, rows * width)?,
                width,
            }),
            _ => Err(StageError::File {
                path: path.to_owned(),
                message: format!("{} is not [images, numbers]", array.in_words()),
            }),
        }
    };
    let (features, logits) = (called(&FEATURES), called(&LOGITS));
    let Some(any) = features.or(logits) else {
        let what = "there is no array of features (`features`) or logits (`logits`)";
        let members = file.arrays().iter().map(Array::in_words).collect();
        let path = path.to_owned();
        return Err(ExchangeError::Members { path, what, members }.into());
    };
    let rows = any.shape.first().copied().unwrap_or_default();
    let labels = file.column(&LABELS, rows)?.map(|(_, labels)| labels);
    let head = match (called(&WEIGHT), called(&BIAS)) {
        (Some(weight), Some(bias)) => Some(head(path, &file, weight, bias)?),
        (None, _) | (_, None) => None,
    };
    Ok((matrix(features)?, matrix(logits)?, labels, head))
}

fn numbers(path: &Path, file: &ArrayFile, array: &Array, count: usize) -> Result<Vec<f32>, StageError> {
    let mut source = file.numbers(array)?;
    let mut values = Vec::new();
    while values.len() < count {
        let start = values.len();
        values.resize(count.min(start + PART * PART), 0.0);
        source
            .fill(&mut values[start..])
            .map_err(ExchangeError::io(path))?;
    }
    Ok(values)
}

/// The last layer under the names that ours has.
fn head(path: &Path, file: &ArrayFile, weight: &Array, bias: &Array) -> Result<State, StageError> {
    let tensor = |array: &Array| -> Result<candle_core::Tensor, StageError> {
        let values = numbers(path, file, array, array.shape.iter().product())?;
        Ok(candle_core::Tensor::from_vec(
            values,
            array.shape.as_slice(),
            &candle_core::Device::Cpu,
        )?)
    };
    let (Some([classes, _]), &[biases]) = (weight.shape.first_chunk::<2>(), bias.shape.as_slice()) else {
        let message = format!(
            "{} and {} are no linear layer",
            weight.in_words(),
            bias.in_words()
        );
        return Err(StageError::File {
            path: path.to_owned(),
            message,
        });
    };
    if *classes != biases {
        let message = format!(
            "{} and {} do not fit together",
            weight.in_words(),
            bias.in_words()
        );
        return Err(StageError::File {
            path: path.to_owned(),
            message,
        });
    }
    Ok(State::from([
        ("fc.weight".to_owned(), tensor(weight)?),
        ("fc.bias".to_owned(), tensor(bias)?),
    ]))
}

fn of_table(path: &Path) -> Result<Parts, StageError> {
    let (mut features, mut logits, mut labels) = (Matrix::default(), Matrix::default(), None);
    for batch in Records::open(path)? {
        let batch = batch?;
        lists(path, &batch, &FEATURES, &mut features)?;
        lists(path, &batch, &LOGITS, &mut logits)?;
        if let Some(column) = LABELS.iter().find_map(|name| batch.column_by_name(name)) {
            let column = cast(column, &DataType::Int64).map_err(ExchangeError::from)?;
            let given = column
                .as_primitive::<Int64Type>()
                .iter()
                .map(|label| label.unwrap_or(-1));
            labels.get_or_insert_with(Vec::new).extend(given);
        }
    }
    Ok((features, logits, labels, None))
}

/// Adds the lists of the first column of one of these names.
fn lists(path: &Path, batch: &RecordBatch, names: &[&str], matrix: &mut Matrix) -> Result<(), StageError> {
    let Some((name, column)) = names
        .iter()
        .find_map(|name| Some((*name, batch.column_by_name(name)?)))
    else {
        return Ok(());
    };
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let item = Field::new("item", DataType::Float32, true);
    let lists = cast(column, &DataType::List(item.into()))
        .map_err(|_| wrong(format!("the column `{name}` holds no lists of numbers")))?;
    for (row, list) in lists.as_list::<i32>().iter().enumerate() {
        let list = list.ok_or_else(|| wrong(format!("`{name}` of row {row} is null")))?;
        let list = list.as_primitive::<Float32Type>();
        if list.null_count() > 0 {
            return Err(wrong(format!("a number in `{name}` of row {row} is null")));
        }
        if list.is_empty() && matrix.width == 0 {
            continue;
        }
        if matrix.width == 0 {
            matrix.width = list.len();
        }
        if list.len() != matrix.width || list.is_empty() {
            let (found, width) = (list.len(), matrix.width);
            return Err(wrong(format!(
                "`{name}` of row {row} has {found} numbers, others {width}"
            )));
        }
        matrix.values.extend_from_slice(list.values());
    }
    Ok(())
}
