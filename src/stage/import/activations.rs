//! Activations of another program's classifier: features, logits or both, and the true classes, an image a
//! row.

use std::path::Path;

use arrow::array::{Array as _, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type};
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
    /// The files of the arrays, where each has its own.
    pub arrays: Option<Arrays<'a>>,
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
    let content = || Content::at(path).map_err(ExchangeError::io(path));
    let (features, logits, labels, head) = match &of.arrays {
        Some(arrays) => of_files(arrays)?,
        None if Records::is_content(content()?) => of_table(path)?,
        None => of_arrays(path)?,
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

/// Reads files of one array each.
fn of_files(arrays: &Arrays<'_>) -> Result<Parts, StageError> {
    let matrix = |path: Option<&Path>| match path {
        Some(path) => {
            let file = ArrayFile::open(path)?;
            matrix_of(path, &file, only(path, &file)?)
        }
        None => Ok(Matrix::default()),
    };
    let (features, logits) = (matrix(arrays.features)?, matrix(arrays.logits)?);
    let labels = arrays.labels.map(|path| {
        let file = ArrayFile::open(path)?;
        classes(path, &file, only(path, &file)?)
    });
    let head = match (arrays.weight, arrays.bias) {
        (Some(weight), Some(bias)) => {
            let files = [ArrayFile::open(weight)?, ArrayFile::open(bias)?];
            let (w, b) = (only(weight, &files[0])?, only(bias, &files[1])?);
            Some(head([(weight, &files[0], w), (bias, &files[1], b)])?)
        }
        (Some(path), None) | (None, Some(path)) => {
            let (path, message) = (
                path.to_owned(),
                "weight and bias of the last layer belong together".to_owned(),
            );
            return Err(StageError::File { path, message });
        }
        (None, None) => None,
    };
    Ok((features, logits, labels.transpose()?, head))
}

/// The one array of a file.
fn only<'f>(path: &Path, file: &'f ArrayFile) -> Result<&'f Array, StageError> {
    match file.arrays() {
        [array] => Ok(array),
        arrays => {
            let what = "there should be one array and no other";
            let (path, members) = (path.to_owned(), arrays.iter().map(Array::in_words).collect());
            Err(ExchangeError::Members { path, what, members }.into())
        }
    }
}

/// Reads `[images, numbers]`.
fn matrix_of(path: &Path, file: &ArrayFile, array: &Array) -> Result<Matrix, StageError> {
    match array.shape.as_slice() {
        &[rows, width] => Ok(Matrix {
            values: numbers(path, file, array, rows * width)?,
            width,
        }),
        _ => Err(StageError::File {
            path: path.to_owned(),
            message: format!("{} is not [images, numbers]", array.in_words()),
        }),
    }
}

fn of_arrays(path: &Path) -> Result<Parts, StageError> {
    let file = ArrayFile::open(path)?;
    let members = |what: &'static str| {
        let members = file.arrays().iter().map(Array::in_words).collect();
        let path = path.to_owned();
        StageError::from(ExchangeError::Members { path, what, members })
    };
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    // The array of one of these names; none is passed over because it is not as it should be.
    let called = |names: &[&str]| -> Result<Option<&Array>, StageError> {
        let all: Vec<&Array> = file
            .arrays()
            .iter()
            .filter(|array| is_called(array, names))
            .collect();
        match all.as_slice() {
            [] => Ok(None),
            [array] => Ok(Some(array)),
            [a, b, ..] => {
                let (a, b) = (a.in_words(), b.in_words());
                Err(wrong(format!(
                    "{a} and {b} are names of one thing: leave one of them out"
                )))
            }
        }
    };
    let of_floats = |names: &[&str]| match called(names)? {
        Some(array) if !array.is_of_floats() => {
            let array = array.in_words();
            Err(wrong(format!("{array} does not hold floating-point numbers")))
        }
        array => Ok(array),
    };
    let matrix = |array: Option<&Array>| -> Result<Matrix, StageError> {
        array.map_or_else(|| Ok(Matrix::default()), |array| matrix_of(path, &file, array))
    };
    let (features, logits) = (of_floats(&FEATURES)?, of_floats(&LOGITS)?);
    if features.or(logits).is_none() {
        return Err(members(
            "there is no array of features (`features`) or logits (`logits`)",
        ));
    }
    let labels = called(&LABELS)?
        .map(|array| classes(path, &file, array))
        .transpose()?;
    let head = match (of_floats(&WEIGHT)?, of_floats(&BIAS)?) {
        (Some(weight), Some(bias)) => Some(head([(path, &file, weight), (path, &file, bias)])?),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(members(
                "weight and bias of the last layer belong together (a layer without has a bias of zeros)",
            ));
        }
    };
    Ok((matrix(features)?, matrix(logits)?, labels, head))
}

/// Whether an array has one of these names, by itself or as the last part of its own.
fn is_called(array: &Array, names: &[&str]) -> bool {
    let name = array.name.to_lowercase();
    let last = name.rsplit(['.', '/']).next().unwrap_or_default();
    // Every layer of a state dict has a weight.
    names.contains(&name.as_str()) || !matches!(last, "weight" | "bias") && names.contains(&last)
}

/// Reads the true classes, `[images]` or `[images, 1]`: integers, or whole numbers among which NaN is none.
fn classes(path: &Path, file: &ArrayFile, array: &Array) -> Result<Vec<i64>, StageError> {
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let (&[rows] | &[rows, 1]) = array.shape.as_slice() else {
        let array = array.in_words();
        return Err(wrong(format!(
            "{array} is not a class number for each image, [images]"
        )));
    };
    if array.is_of_floats() {
        let values = numbers(path, file, array, rows)?;
        let class = |(row, value): (usize, f32)| {
            whole(f64::from(value)).ok_or_else(|| {
                let array = array.in_words();
                wrong(format!("{array}: row {row} is {value}, which is no class number"))
            })
        };
        return values.into_iter().enumerate().map(class).collect();
    }
    match file.integers(array)? {
        Some(integers) => Ok(integers),
        None => {
            let array = array.in_words();
            Err(wrong(format!("{array} does not hold class numbers")))
        }
    }
}

/// The class that a number is; NaN, as tables with missing numbers have it, is none.
fn whole(value: f64) -> Option<i64> {
    match value {
        value if value.is_nan() => Some(-1),
        value if value.fract() == 0.0 && value.abs() < 1e15 => Some(value as i64),
        _ => None,
    }
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
fn head([weight, bias]: [(&Path, &ArrayFile, &Array); 2]) -> Result<State, StageError> {
    let tensor =
        |(path, file, array): (&Path, &ArrayFile, &Array)| -> Result<candle_core::Tensor, StageError> {
            let values = numbers(path, file, array, array.shape.iter().product())?;
            Ok(candle_core::Tensor::from_vec(
                values,
                array.shape.as_slice(),
                &candle_core::Device::Cpu,
            )?)
        };
    let wrong = |what: &str| StageError::File {
        path: weight.0.to_owned(),
        message: format!("{} and {} {what}", weight.2.in_words(), bias.2.in_words()),
    };
    let (&[classes, _], &[biases]) = (weight.2.shape.as_slice(), bias.2.shape.as_slice()) else {
        return Err(wrong("are no linear layer"));
    };
    if classes != biases {
        return Err(wrong("do not fit together"));
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
            let labels: &mut Vec<i64> = labels.get_or_insert_with(Vec::new);
            add_classes(path, column, labels)?;
        }
    }
    Ok((features, logits, labels, None))
}

/// Adds the true classes of a column: integers, or whole numbers; null and NaN are none.
fn add_classes(path: &Path, column: &ArrayRef, labels: &mut Vec<i64>) -> Result<(), StageError> {
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let kind = column.data_type();
    if kind.is_floating() {
        let numbers = cast(column, &DataType::Float64).map_err(ExchangeError::from)?;
        for value in numbers.as_primitive::<Float64Type>() {
            let (row, value) = (labels.len(), value.unwrap_or(f64::NAN));
            let label = whole(value);
            labels
                .push(label.ok_or_else(|| wrong(format!("row {row} has the class {value}, which is none")))?);
        }
        return Ok(());
    }
    let integers = cast(column, &DataType::Int64);
    let integers = integers.map_err(|_| wrong(format!("the classes are {kind}, not class numbers")))?;
    let lost = (0..column.len()).find(|row| integers.is_null(*row) && !column.is_null(*row));
    if let Some(row) = lost {
        let row = labels.len() + row;
        return Err(wrong(format!(
            "the class of row {row} is no class number ({kind})"
        )));
    }
    let given = integers.as_primitive::<Int64Type>().iter();
    labels.extend(given.map(|label| label.unwrap_or(-1)));
    Ok(())
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

#[cfg(test)]
mod tests;
