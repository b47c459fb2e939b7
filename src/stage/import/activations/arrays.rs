//! Activations in files of arrays: all in one, by their names, or each in its own.

use std::path::Path;

use super::{Arrays, FEATURES, LABELS, LOGITS, Matrix, Parts, whole};
use crate::exchange::{Array, ArrayFile, ExchangeError};
use crate::nn::State;
use crate::stage::StageError;

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

/// Reads files of one array each.
pub(super) fn of_files(arrays: &Arrays<'_>) -> Result<Parts, StageError> {
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

/// Reads a file of several arrays, by their names.
pub(super) fn of_one_file(path: &Path) -> Result<Parts, StageError> {
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
