//! A column of an answer as one piece of memory that NumPy takes as it is, or as a list.

use std::ffi::c_int;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::MutableBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use dream_ood::Kind;
use pyo3::IntoPyObjectExt as _;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::of_kind;

/// Memory with values of one type, which whoever holds it may change.
#[pyclass(module = "dream_ood._native")]
pub struct Memory {
    bytes: MutableBuffer,
}

impl Memory {
    /// Returns memory with a copy of these numbers.
    pub fn of<T: ArrowNativeType>(numbers: &[T]) -> Self {
        let mut bytes = MutableBuffer::new(size_of_val(numbers));
        bytes.extend_from_slice(numbers);
        Self { bytes }
    }
}

#[pymethods]
impl Memory {
    unsafe fn __getbuffer__(
        mut slf: PyRefMut<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("there is no view to fill"));
        }
        let (start, length) = (slf.bytes.as_mut_ptr(), slf.bytes.len() as ffi::Py_ssize_t);
        // SAFETY: the view holds a reference to this object, whose memory is never moved or cut.
        match unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start.cast(), length, 0, flags) } {
            0 => Ok(()),
            _ => Err(PyErr::fetch(slf.py())),
        }
    }
}

/// Values of a column.
#[derive(IntoPyObject)]
pub enum Values {
    /// Memory, the NumPy type of what is in it, and its shape.
    Memory(Py<Memory>, &'static str, Vec<usize>),
    /// Objects, one a row.
    #[pyo3(transparent)]
    Objects(Vec<Py<PyAny>>),
}

/// A column as it grows.
pub struct Column {
    name: String,
    kind: Shape,
    bytes: MutableBuffer,
    rows: usize,
    objects: Vec<ArrayRef>,
    /// What stands for a whole number that is missing.
    missing: Option<i64>,
}

/// How a column's values lie in memory.
enum Shape {
    /// Numbers, of this NumPy type.
    Numbers(&'static str, DataType),
    /// Vectors of so many numbers, once one is known.
    Vectors(Option<usize>),
    /// Texts or bytes.
    Objects,
}

impl Column {
    pub fn of(field: &Field) -> PyResult<Self> {
        let kind = match field.data_type() {
            DataType::Int32 => Shape::Numbers("i4", DataType::Int32),
            DataType::Int8
            | DataType::Int16
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::Int64 => Shape::Numbers("i8", DataType::Int64),
            DataType::UInt64 => Shape::Numbers("u8", DataType::UInt64),
            DataType::Float32 => Shape::Numbers("f4", DataType::Float32),
            DataType::Float16 | DataType::Float64 => Shape::Numbers("f8", DataType::Float64),
            DataType::Timestamp(_, _) => {
                Shape::Numbers("M8[us]", DataType::Timestamp(TimeUnit::Microsecond, None))
            }
            DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item)
                if *item.data_type() == DataType::Float32 =>
            {
                Shape::Vectors(None)
            }
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::Boolean
            | DataType::Null => Shape::Objects,
            other => {
                let name = field.name();
                let words =
                    format!("the column `{name}` of {other} is no array of NumPy's; take it by pyarrow");
                return Err(of_kind(Kind::Unsupported, words));
            }
        };
        Ok(Self {
            name: field.name().clone(),
            kind,
            bytes: MutableBuffer::new(0),
            rows: 0,
            objects: Vec::new(),
            missing: None,
        })
    }

    /// Puts a number of 64 bits where one is missing.
    pub fn with_missing(self, missing: i64) -> Self {
        Self {
            missing: Some(missing),
            ..self
        }
    }

    pub fn add(&mut self, values: &ArrayRef) -> PyResult<()> {
        let name = &self.name;
        let refused = |what: String| of_kind(Kind::Refused, format!("the column `{name}` {what}"));
        match &mut self.kind {
            Shape::Objects => self.objects.push(values.clone()),
            Shape::Numbers(_, kind) => {
                let values = cast(values, kind).map_err(|error| refused(error.to_string()))?;
                let no_nulls = || {
                    let what = "has rows without a value; choose them by `where`, or take it by pyarrow";
                    refused(what.into())
                };
                let bytes = &mut self.bytes;
                match kind {
                    DataType::Float32 => add(bytes, values.as_primitive::<Float32Type>(), Some(f32::NAN)),
                    DataType::Float64 => add(bytes, values.as_primitive::<Float64Type>(), Some(f64::NAN)),
                    DataType::Int32 => add(bytes, values.as_primitive::<Int32Type>(), None),
                    DataType::UInt64 => add(bytes, values.as_primitive::<UInt64Type>(), None),
                    // What NumPy calls NaT.
                    DataType::Timestamp(_, _) => add(
                        bytes,
                        values.as_primitive::<TimestampMicrosecondType>(),
                        Some(i64::MIN),
                    ),
                    _ => add(bytes, values.as_primitive::<Int64Type>(), self.missing),
                }
                .ok_or_else(no_nulls)?;
            }
            Shape::Vectors(width) => {
                if values.null_count() > 0 {
                    return Err(refused(
                        "has rows without a vector; choose others by `where`".into(),
                    ));
                }
                let mut same = |own: usize| match *width.get_or_insert(own) == own {
                    true => Ok(()),
                    false => {
                        let first = width.unwrap_or_default();
                        Err(refused(format!("has vectors of {first} and of {own} numbers")))
                    }
                };
                if let Some(vectors) = values.as_fixed_size_list_opt() {
                    same(vectors.value_length() as usize)?;
                    self.bytes
                        .extend_from_slice(vectors.values().as_primitive::<Float32Type>().values());
                } else {
                    let lists = cast(values, &vectors()).map_err(|error| refused(error.to_string()))?;
                    for vector in lists.as_list::<i64>().iter().flatten() {
                        same(vector.len())?;
                        self.bytes
                            .extend_from_slice(vector.as_primitive::<Float32Type>().values());
                    }
                }
            }
        }
        self.rows += values.len();
        Ok(())
    }

    pub fn values(self, py: Python<'_>) -> PyResult<Values> {
        let (dtype, shape) = match self.kind {
            Shape::Objects => return objects(py, &self.objects).map(Values::Objects),
            Shape::Numbers(dtype, _) => (dtype, vec![self.rows]),
            Shape::Vectors(width) => ("f4", vec![self.rows, width.unwrap_or_default()]),
        };
        let memory = Py::new(py, Memory { bytes: self.bytes })?;
        Ok(Values::Memory(memory, dtype, shape))
    }
}

/// Adds numbers; where there is none `missing`, and nothing if there is no number for that.
fn add<T: ArrowPrimitiveType>(
    bytes: &mut MutableBuffer,
    values: &arrow::array::PrimitiveArray<T>,
    missing: Option<T::Native>,
) -> Option<()>
where
    T::Native: ArrowNativeType,
{
    if values.null_count() == 0 {
        bytes.extend_from_slice(values.values());
        return Some(());
    }
    let missing = missing?;
    for value in values {
        bytes.push(value.unwrap_or(missing));
    }
    Some(())
}

/// Vectors of any length.
fn vectors() -> DataType {
    DataType::LargeList(Field::new_list_field(DataType::Float32, true).into())
}

/// Returns values as objects: text, bytes, booleans, and None where there is none.
fn objects(py: Python<'_>, arrays: &[ArrayRef]) -> PyResult<Vec<Py<PyAny>>> {
    let mut objects = Vec::new();
    for array in arrays {
        let refused = |error: arrow::error::ArrowError| of_kind(Kind::Internal, error.to_string());
        match array.data_type() {
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                let bytes = cast(array, &DataType::Binary).map_err(refused)?;
                for value in bytes.as_binary::<i32>() {
                    objects.push(value.map(|bytes| PyBytes::new(py, bytes)).into_py_any(py)?);
                }
            }
            DataType::Boolean => {
                for value in array.as_boolean() {
                    objects.push(value.into_py_any(py)?);
                }
            }
            _ => {
                let texts = cast(array, &DataType::Utf8).map_err(refused)?;
                for value in texts.as_string::<i32>() {
                    objects.push(value.into_py_any(py)?);
                }
            }
        }
    }
    Ok(objects)
}
