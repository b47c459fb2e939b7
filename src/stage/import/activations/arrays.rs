//! Activations in files of arrays: all in one, by their names, or each in its own.

use std::path::Path;

use candle_core::{Device, Tensor};

use super::super::names::{CLASS_IDS, FEATURES, LABELS, LOGITS, SAMPLES, labels, unread_arrays};
use super::{Arrays, Matrix, Parts};
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
        Ok::<_, StageError>(file.classes(only(path, &file)?)?)
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
    Ok(Parts {
        features,
        logits,
        labels: labels.transpose()?,
        samples: None,
        head,
        unread: None,
    })
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
        // As pooling leaves it.
        &[_, width] | &[_, width, 1, 1] => Ok(Matrix {
            values: file.values(array)?,
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
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let members = |what: &str| {
        let found: Vec<String> = file.arrays().iter().map(Array::in_words).collect();
        wrong(format!("{what}; there are {}", found.join(", ")))
    };
    let of_floats = |names: &[&str]| match file.called(names)? {
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
    let classes = |names: &[&str]| file.called(names)?.map(|array| file.classes(array)).transpose();
    let labels = labels(classes)?;
    let head = match (of_floats(&WEIGHT)?, of_floats(&BIAS)?) {
        (Some(weight), Some(bias)) => Some(head([(path, &file, weight), (path, &file, bias)])?),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(members(
                "weight and bias of the last layer belong together (a layer without has a bias of zeros)",
            ));
        }
    };
    let samples = classes(&SAMPLES)?;
    let rows = features.or(logits).and_then(|array| array.shape.first());
    let read: [&[&str]; 7] = [&FEATURES, &LOGITS, &LABELS, &CLASS_IDS, &SAMPLES, &WEIGHT, &BIAS];
    Ok(Parts {
        unread: rows.and_then(|rows| unread_arrays(&file, *rows, &read)),
        features: matrix(features)?,
        logits: matrix(logits)?,
        labels,
        samples,
        head,
    })
}

/// The last layer under the names that ours has.
fn head([weight, bias]: [(&Path, &ArrayFile, &Array); 2]) -> Result<State, StageError> {
    let tensor = |(_, file, array): (&Path, &ArrayFile, &Array)| -> Result<Tensor, StageError> {
        let (values, shape) = (file.values(array)?, array.shape.as_slice());
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
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
