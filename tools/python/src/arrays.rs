//! Arrays of NumPy as numbers of ours. They are copied: Python may change an array while it is read here
//! without the interpreter's lock.

use pyo3::buffer::{Element, PyBuffer};
use pyo3::prelude::*;

/// Numbers, row after row, and the width of a row.
pub type Matrix = (Vec<f32>, usize);

/// Returns the numbers of a C-contiguous array `[rows, width]` of float32.
pub fn matrix(array: &Bound<'_, PyAny>) -> PyResult<Matrix> {
    let buffer = PyBuffer::<f32>::get(array)?;
    let width = buffer.shape().last().copied().unwrap_or(0);
    Ok((buffer.to_vec(array.py())?, width))
}

/// Returns the numbers of an array.
pub fn numbers<T: Element>(array: &Bound<'_, PyAny>) -> PyResult<Vec<T>> {
    PyBuffer::<T>::get(array)?.to_vec(array.py())
}
